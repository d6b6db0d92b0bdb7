"""The daemon in the loop of a test: the real `Life`, with its inside in view."""

import asyncio
import gc
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio import to_thread

from hermesd import control
from hermesd.adapter.loading import plugins
from hermesd.adapter.registry import Bot
from hermesd.address import AdapterKey
from hermesd.clock import Clock
from hermesd.daemon.house import Ground, House
from hermesd.daemon.life import Life
from hermesd.daemon.state import held
from hermesd.database import Tx
from hermesd.errors import HermesdError
from hermesd.logs import Logging
from hermesd.ports import BotState, OffersLinks
from hermesd.reload import Reloader
from hermesd.settings import Environment
from hermesd.testing.daemon.chat import WebChat
from hermesd.testing.daemon.notices import Notices
from hermesd.testing.daemon.process import GUARD
from hermesd.testing.telegram.signal import Signal

if TYPE_CHECKING:
    from hermesd.testing.daemon.installation import Installation

T = TypeVar("T")

_OPEN = """
SELECT (SELECT count(*) FROM inbound WHERE state = 'received')
     + (SELECT count(*) FROM turn WHERE state IN ('queued', 'running'))
     + (SELECT count(*) FROM delivery WHERE state IN ('pending', 'attempting', 'ambiguous'))
"""


class Daemon:
    """One running daemon."""

    def __init__(self, installation: "Installation", clock: Clock, notices: Notices) -> None:
        self.installation = installation
        self.notices = notices
        self.ground: Ground
        self.house: House
        self.reloader: Reloader
        #: set once it would tell whoever started it that it is up
        self.ready = anyio.Event()
        self._ended = anyio.Event()
        #: commits of any database so far
        self._commits = 0
        self._committed = Signal()
        self._written = io.StringIO()
        self._loop = asyncio.get_running_loop()
        self.life = _Observed(
            installation.config,
            installation.state,
            Environment(
                hermesd_config=installation.config,
                hermesd_state=installation.state,
                notify_socket=str(notices.path),
            ),
            clock,
            Logging.on(clock, self._written, form="json"),
            plugins(),
            lambda ready: self.ready.set(),
            self._at,
        )
        self.life.observer = self

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of its log so far; at most one a second of each kind."""
        return [json.loads(line) for line in self._written.getvalue().splitlines()]

    async def call(self, name: str, **args: Any) -> Any:
        """Ask over the control socket, as the command line does."""
        path = self.installation.state / "control.sock"
        return await to_thread.run_sync(partial(control.call, path, name, **args))

    async def reload(self) -> dict[str, Any]:
        """`hermesd reload`: the report."""
        return dict(await self.call("reload"))

    async def hangup(self) -> str:
        """SIGHUP; what systemd is told once the reload is over."""
        count = len(self.notices.ready)
        os.kill(os.getpid(), signal.SIGHUP)
        with anyio.fail_after(GUARD):
            return (await self.notices.wait_ready(count + 1)).status

    async def read(self, work: Callable[[Tx], T]) -> T:
        """Look into the ledger."""
        return await self.ground.ledger.read(work)

    async def until(self, work: Callable[[Tx], T]) -> T:
        """The first true answer of `work`, asked again after each commit."""
        with anyio.fail_after(GUARD):
            while True:
                seen = self._commits
                if found := await self.read(work):
                    return found
                await self._committed.until(partial(self._moved_on, seen))

    async def settled(self) -> None:
        """Return once nothing waits to be decided, to run, to be filed or to be sent."""
        await self.until(lambda tx: tx.execute(_OPEN).fetchone() == (0,))
        while self.house.lanes.total:
            await self.read(_nothing)  # a turn is over a moment after its last commit

    async def bot(self, key: str, state: BotState) -> Bot:
        """The bot (`telegram/main`), once it is in that state."""
        with anyio.fail_after(GUARD):
            while True:
                changed = self.house.fleet.changed
                found = [bot for bot in self.house.bots.values() if str(bot.key) == key and bot.state is state]
                if found:
                    return found[0]
                await changed.wait()

    def chat(self, bot_id: str = "local") -> WebChat:
        """A person at one of the web chats."""
        adapter: object = self.house.bots[AdapterKey("web", bot_id)].adapter
        links = adapter.links() if isinstance(adapter, OffersLinks) else ()
        return WebChat(links[0])

    async def stop(self) -> None:
        """SIGTERM, and the drain to its end."""
        if not self._ended.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
        with anyio.fail_after(GUARD):
            await self._ended.wait()

    async def live(self) -> None:
        """One life, from the lock to the end of the drain."""
        try:
            with held(self.installation.state):
                await self.life.run()
        finally:
            self._ended.set()

    def standing(self, ground: Ground, house: House, reloader: Reloader) -> None:
        """Called by the life once its house is built, before anything runs."""
        self.ground, self.house, self.reloader = ground, house, reloader
        for toolset, tools in self.installation.tools.items():
            house.runner.tools.registry.register(toolset, *tools)

    def _at(self, point: str) -> None:
        # called on a database's thread
        if point == "commit.after":
            self._loop.call_soon_threadsafe(self._commit)

    def _commit(self) -> None:
        self._commits += 1
        self._committed.notify()

    def _moved_on(self, seen: int) -> bool:
        return self._commits != seen


class _Observed(Life):
    """A life that shows its house."""

    observer: Daemon

    def _build(self, ground: Ground) -> tuple[House, Reloader]:
        house, reloader = super()._build(ground)
        self.observer.standing(ground, house, reloader)
        return house, reloader


@asynccontextmanager
async def running(installation: "Installation", clock: Clock) -> AsyncIterator[Daemon]:
    """See `Installation.running`. Raises what keeps the daemon from starting, and what ends it early."""
    failure: BaseException | None = None
    async with Notices(installation.root / "notify").listening() as notices:
        daemon = Daemon(installation, clock, notices)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(daemon.live, name="daemon")
                try:
                    with anyio.fail_after(GUARD):
                        await daemon.ready.wait()
                        await notices.wait_ready(1)
                    yield daemon
                except Exception as error:  # noqa: BLE001  # raised again below, outside the group, as itself
                    failure = error
                with anyio.CancelScope(shield=True):
                    await daemon.stop()
        except* HermesdError as refused:
            failure = failure or refused.exceptions[0]
        finally:
            # a start freezes what it loaded; the test process goes on
            gc.unfreeze()
    if failure is not None:
        raise failure


def _nothing(tx: Tx) -> None:
    return None
