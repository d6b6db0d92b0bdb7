"""The one door to one SQLite file: callers hand in work, one writer task commits many callers' work at once.

    async with Database.opened(path, MIGRATIONS, log=log, clock=clock) as db:
        await db.write(lambda tx: tx.execute("INSERT …", …).lastrowid)

A unit of work runs on the database thread inside a transaction; it may run more than once (after a refusal of the
disk, or when a neighbour in the same commit failed), so it must not touch anything but the transaction it is given.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

import aiosqlite
from anyio import CancelScope, create_task_group

from hermesd.clock import Clock
from hermesd.database.batch import Unit, commit
from hermesd.database.fault import DatabaseHealth, HealthState, describe, passing, translate, unavailable
from hermesd.database.file import open_file
from hermesd.database.migration import Migration, Tx
from hermesd.errors import LedgerUnavailable
from hermesd.ports.log import Log

T = TypeVar("T")

#: units in one commit: bounds how long one transaction holds the thread
_BATCH = 256
_BACK_OFF = 0.05
_BACK_OFF_MOST = 2.0


class _Connection(aiosqlite.Connection):
    async def connect(self) -> None:
        """Start the thread and open the file; when that fails, the thread is gone too."""
        try:
            await self
        except BaseException:
            # its last act is to tell the loop so, and the loop may be about to close
            self._thread.join()
            raise

    async def run(self, work: Callable[[Tx], T]) -> T:
        """One hop to the connection's thread and back."""
        hop: Callable[..., Awaitable[T]] = self._execute
        return await hop(work, self._conn)


class Database:
    """One file, one connection, one thread, one writer task. Use it inside `async with Database.opened(…)`."""

    def __init__(
        self,
        path: Path,
        connection: _Connection,
        *,
        log: Log,
        clock: Clock,
        on_health: Callable[[DatabaseHealth], None] | None,
        crash: Callable[[str], None],
    ) -> None:
        self.path = path
        self._connection = connection
        self._log = log
        self._clock = clock
        self._on_health = on_health
        self._crash = crash
        self._health = DatabaseHealth("ok", clock.now())
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Unit] = deque()
        #: set while the writer has nothing to do
        self._idle: asyncio.Future[None] | None = None
        #: set while the writer waits for the disk to recover
        self._pause: CancelScope | None = None
        self._closing = False

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        path: Path,
        migrations: Sequence[Migration],
        *,
        log: Log,
        clock: Clock,
        cache_kib: int = 2000,
        on_health: Callable[[DatabaseHealth], None] | None = None,
        crash: Callable[[str], None] = lambda point: None,
    ) -> AsyncIterator[Self]:
        """Open, check and migrate the file; on leaving, commit what is queued, checkpoint and close.

        `on_health` is called on the loop with each change. `crash` is called with the names of points at which
        tests kill the process. Raises StateError (not ours, too new, damaged) or LedgerUnavailable (locked, full).
        """
        connector = partial(open_file, path, migrations, cache_kib=cache_kib, monotonic=clock.monotonic, crash=crash)
        connection = _Connection(connector, iter_chunk_size=64)
        with CancelScope(shield=True):
            await connection.connect()
        db = cls(path, connection, log=log, clock=clock, on_health=on_health, crash=crash)
        failure: BaseException | None = None
        try:
            async with create_task_group() as tasks:
                tasks.start_soon(db._serve, name=f"database {path.name}")
                try:
                    yield db
                except BaseException as error:  # noqa: BLE001 - raised again below, outside the group, as itself
                    failure = error
                db._stop()
        finally:
            db._stop()
            with CancelScope(shield=True):
                await db._close()
        if failure is not None:
            raise failure

    @property
    def health(self) -> DatabaseHealth:
        """How the file takes writes right now."""
        return self._health

    async def write(self, work: Callable[[Tx], T], *, give_up: float | None = None) -> T:
        """Run `work` in a transaction and return its result once it is durable.

        While the disk refuses, the caller waits: for ever, or `give_up` seconds; then LedgerUnavailable is raised and
        nothing is known to be stored. An exception of `work` takes back its changes and is raised here. A cancelled
        caller's work is stored as a whole or not at all.
        """
        if self._closing:
            raise LedgerUnavailable(f"{self.path} is closed", hint="the daemon is stopping; start it again")
        future: asyncio.Future[T] = self._loop.create_future()
        if give_up is None:
            self._queue.append(Unit(work, future))
        else:
            self._queue.append(Unit(work, future, self._clock.monotonic() + give_up))
            if self._pause is not None:
                self._pause.cancel()
        if (idle := self._idle) is not None:
            self._idle = None
            idle.set_result(None)
        return await future

    async def read(self, work: Callable[[Tx], T]) -> T:
        """Run `work` between transactions; it sees everything committed so far and must not write.

        Raises LedgerUnavailable when the disk refuses, StateError when the file is damaged.
        """
        try:
            return await self._connection.run(partial(_read, work))
        except sqlite3.Error as error:
            raise translate(str(self.path), error) from error

    # -- the writer ---------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        # only `_stop` ends the writer: a cancelled owner must not leave callers of a running commit without an answer
        with CancelScope(shield=True):
            try:
                while await self._work_waits():
                    await self._commit(self._take())
            finally:
                self._fail(self._queue, LedgerUnavailable(f"{self.path} is closed"))

    async def _work_waits(self) -> bool:
        if not self._queue and not self._closing:
            self._idle = self._loop.create_future()
            await self._idle
        return bool(self._queue)

    def _take(self) -> list[Unit]:
        queue = self._queue
        count = min(len(queue), _BATCH)
        return [unit for unit in (queue.popleft() for _ in range(count)) if not unit.future.done()]

    async def _commit(self, units: list[Unit]) -> None:
        back_off = _BACK_OFF
        while units:
            error = await self._attempt(units)
            self._answer(units)
            units = [unit for unit in units if not unit.future.done()]
            if error is None:
                return
            state = passing(error)
            if state is None:
                self._fail(units, translate(str(self.path), error))
                return
            self._note(state, error)
            units += self._take()
            self._give_up(units, error, state)
            units = [unit for unit in units if not unit.future.done()]
            if units:
                await self._wait(back_off, units)
                back_off = min(back_off * 2, _BACK_OFF_MOST)

    async def _attempt(self, units: Sequence[Unit]) -> BaseException | None:
        try:
            await self._connection.run(partial(commit, units=units, crash=self._crash))
        except Exception as error:  # noqa: BLE001 - the caller decides: wait for the disk, or hand it to whoever asked
            return error
        if self._health.state != "ok":
            self._note("ok", None)
        return None

    def _answer(self, units: Sequence[Unit]) -> None:
        for unit in units:
            if not unit.done or unit.future.done():
                continue
            if unit.error is None:
                unit.future.set_result(unit.result)
            else:
                self._fail((unit,), translate(str(self.path), unit.error))

    def _fail(self, units: Sequence[Unit] | deque[Unit], error: BaseException) -> None:
        if isinstance(error, StopIteration):
            # a future cannot carry this one
            error = RuntimeError("the work read past the last row")
        for unit in units:
            if not unit.future.done():
                unit.future.set_exception(error)

    def _give_up(self, units: Sequence[Unit], error: BaseException, state: HealthState) -> None:
        now = self._clock.monotonic()
        late = [unit for unit in units if self._closing or (unit.deadline is not None and unit.deadline <= now)]
        if late and isinstance(error, sqlite3.Error):
            self._fail(late, unavailable(str(self.path), error, state))

    async def _wait(self, seconds: float, units: Sequence[Unit]) -> None:
        now = self._clock.monotonic()
        nearest = min((unit.deadline for unit in units if unit.deadline is not None), default=now + seconds)
        with CancelScope() as self._pause:
            await self._clock.sleep(max(0.0, min(seconds, nearest - now)))
        self._pause = None

    def _note(self, state: HealthState, error: BaseException | None) -> None:
        if state == self._health.state:
            return
        detail = describe(error) if isinstance(error, sqlite3.Error) else ""
        self._health = DatabaseHealth(state, self._clock.now(), detail)
        say = self._log.info if state == "ok" else self._log.warning
        say(
            "the database takes writes again" if state == "ok" else "the database refuses writes; work waits",
            action="database.health",
            file=str(self.path),
            state=state,
            detail=detail,
        )
        if self._on_health is not None:
            self._on_health(self._health)

    # -- the end ------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        self._closing = True
        if self._pause is not None:
            self._pause.cancel()
        if (idle := self._idle) is not None:
            self._idle = None
            idle.set_result(None)

    async def _close(self) -> None:
        try:
            await self._connection.run(_checkpoint)
        except sqlite3.Error as error:
            self._log.warning(
                "the last checkpoint did not run; the next start repeats it",
                action="database.close",
                file=str(self.path),
                detail=describe(error),
            )
        finally:
            await self._connection.close()


def _read(work: Callable[[Tx], T], tx: Tx) -> T:
    changes = tx.total_changes
    result = work(tx)
    if tx.total_changes != changes or tx.in_transaction:
        raise RuntimeError(f"{work!r} writes, but was handed to read()")
    return result


def _checkpoint(tx: Tx) -> Any:
    return tx.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
