"""The open databases of all profiles: opened when asked for, at most so many, never closed under anybody's hands."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from anyio import CancelScope, create_task_group
from anyio.abc import TaskGroup

from hermesd.clock import Clock
from hermesd.database import Database
from hermesd.errors import HermesdError, ProfileUnavailable, StateError
from hermesd.ports import Log
from hermesd.profile.home import Home
from hermesd.session import MIGRATIONS, SessionStore

#: KiB of page cache of one open profile database
_CACHE = 128


@dataclass(slots=True, eq=False)
class _Volume:
    home: Home
    #: how many callers work with it right now
    leases: int = 0
    store: SessionStore | None = None
    failure: HermesdError | None = None
    #: which file is open: device and inode
    file: tuple[int, int] | None = None
    #: set when `store` or `failure` is
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    #: set to have it closed, after the last lease
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    #: set while nobody holds a lease
    free: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class Shelf:
    """Leases profile databases; inside `async with shelf.running()`."""

    def __init__(
        self, *, log: Log, clock: Clock, limit: int = 64, crash: Callable[[str], None] = lambda point: None
    ) -> None:
        self._log = log
        self._clock = clock
        self._limit = limit
        self._crash = crash
        #: least recently used first
        self._volumes: OrderedDict[str, _Volume] = OrderedDict()
        #: profile → why its database stays closed until the next reload
        self._quarantine: dict[str, StateError] = {}
        self._tasks: TaskGroup | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Own the open databases; on leaving, all are closed, each after its last lease."""
        failure: BaseException | None = None
        async with create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield
            except BaseException as error:  # noqa: BLE001 - raised again below, outside the group, as itself
                failure = error
            self._tasks = None
            for volume in self._volumes.values():
                volume.leave.set()
        if failure is not None:
            raise failure

    @property
    def opened(self) -> int:
        """How many databases are open or being opened or closed."""
        return len(self._volumes)

    def quarantined(self) -> dict[str, str]:
        """Profiles whose database stays closed, and why."""
        return {name: str(error) for name, error in self._quarantine.items()}

    def forgive(self, name: str | None = None) -> None:
        """Try this profile's database (or everybody's) again: somebody may have repaired it."""
        for one in [name] if name is not None else list(self._quarantine):
            self._quarantine.pop(one, None)

    def retire(self, name: str) -> None:
        """Close this profile's database after its last lease: the profile is gone."""
        if (volume := self._volumes.get(name)) is not None:
            volume.leave.set()

    @asynccontextmanager
    async def lease(self, home: Home) -> AsyncIterator[SessionStore]:
        """This profile's conversations; the database stays open at least as long as the block.

        Raises ProfileUnavailable while it cannot be opened; a damaged one stays closed until `forgive`.
        """
        volume = await self._take(home)
        try:
            await volume.ready.wait()
            if volume.store is None:
                raise self._refusal(home.name, volume.failure)
            try:
                yield volume.store
            except StateError as error:
                if not error.message.startswith(str(home.database)):
                    raise
                self._condemn(volume, error)
                raise self._refusal(home.name, error) from error
        finally:
            volume.leases -= 1
            if volume.leases == 0:
                volume.free.set()
            self._shrink()

    async def _take(self, home: Home) -> _Volume:
        while True:
            if (error := self._quarantine.get(home.name)) is not None:
                raise self._refusal(home.name, error)
            volume = self._volumes.get(home.name)
            if volume is not None and volume.file not in (None, _file(home)):
                # somebody moved the home away, or put another one there: what is written now would be lost
                volume.leave.set()
            # whoever holds a lease may take another one even while it is about to close, else it would wait for itself
            if volume is None or volume.leases or not volume.leave.is_set():
                break
            # two connections to one file are never open at once: wait until the closing one is gone
            await volume.gone.wait()
        if volume is None:
            if self._tasks is None:
                raise ProfileUnavailable(
                    f"profile {home.name} is closed", hint="the daemon is stopping; try again soon"
                )
            volume = self._volumes[home.name] = _Volume(home)
            self._tasks.start_soon(self._hold, volume, name=f"profile database {home.name}")
        volume.leases += 1
        volume.free.clear()
        self._volumes.move_to_end(home.name)
        self._shrink()
        return volume

    async def _hold(self, volume: _Volume) -> None:
        # whoever still holds a lease when the daemon ends finishes first
        with CancelScope(shield=True):
            try:
                async with Database.opened(
                    volume.home.database,
                    MIGRATIONS,
                    log=self._log.bind(profile=volume.home.name),
                    clock=self._clock,
                    cache_kib=_CACHE,
                    crash=self._crash,
                ) as database:
                    volume.store = SessionStore(database, self._clock)
                    volume.file = _file(volume.home)
                    volume.ready.set()
                    await volume.leave.wait()
                    await volume.free.wait()
            except HermesdError as error:
                self._condemn(volume, error)
            finally:
                volume.leave.set()
                volume.ready.set()
                del self._volumes[volume.home.name]
                volume.gone.set()

    def _condemn(self, volume: _Volume, error: HermesdError) -> None:
        volume.failure = error
        volume.leave.set()
        if isinstance(error, StateError) and volume.home.name not in self._quarantine:
            self._quarantine[volume.home.name] = error
            self._log.error(
                "a profile's database stays closed until it is repaired and the configuration reloaded",
                action="profile.quarantine",
                profile=volume.home.name,
                detail=str(error),
            )

    def _shrink(self) -> None:
        staying = sum(not volume.leave.is_set() for volume in self._volumes.values())
        for volume in self._volumes.values():
            if staying <= self._limit:
                return
            if volume.leases == 0 and not volume.leave.is_set():
                volume.leave.set()
                staying -= 1

    def _refusal(self, name: str, error: HermesdError | None) -> ProfileUnavailable:
        # the person in the chat learns what is wrong, the log has the file and the next step
        what = "is damaged" if isinstance(error, StateError) else "cannot be opened now"
        return ProfileUnavailable(
            f"profile {name} is not available: its conversation database {what}",
            hint="your message is kept; whoever runs this bot finds the next step in the log",
        )


def _file(home: Home) -> tuple[int, int] | None:
    try:
        found = home.database.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
