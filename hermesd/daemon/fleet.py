"""The running bots: started, stopped and restarted one by one, the others untouched."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from hermesd.adapter.host import Host
from hermesd.adapter.registry import AdapterRegistry, Bot
from hermesd.adapter.supervisor import close, supervise
from hermesd.address import AdapterKey
from hermesd.clock import Clock
from hermesd.errors import LedgerUnavailable, SecretUnavailable
from hermesd.ports import Adapter, AdapterPlugin, BotSettings, BotState, Log, SecretRef

#: seconds a bot gets to stop before its restart goes on without it
STOP_SECONDS = 10.0
#: seconds between two tries to take up left-overs while the ledger cannot be read
TAKE_UP_SECONDS = 2.0


@dataclass(slots=True)
class _Berth:
    bot: Bot
    scope: anyio.CancelScope
    ended: anyio.Event


@dataclass(frozen=True, slots=True)
class FleetChange:
    """What one application of the configuration did to the bots."""

    started: tuple[AdapterKey, ...] = ()
    stopped: tuple[AdapterKey, ...] = ()
    restarted: tuple[AdapterKey, ...] = ()


@dataclass(slots=True)
class Fleet:
    """Owns one supervisor task per configured bot."""

    registry: AdapterRegistry
    plugins: Mapping[str, AdapterPlugin]
    #: the host of one bot
    host: Callable[[Bot], Host]
    read_secret: Callable[[SecretRef], str]
    menu: Sequence[tuple[str, str]]
    #: called once a bot has an adapter again: what waits to be decided, what is parked
    take_up: Callable[[AdapterKey], Awaitable[None]]
    #: called when a bot left the configuration
    part: Callable[[AdapterKey], Awaitable[None]]
    clock: Clock
    log: Log
    #: set, and replaced, at each change of a bot's state
    changed: anyio.Event = field(default_factory=anyio.Event)
    _berths: dict[AdapterKey, _Berth] = field(default_factory=dict)
    _tasks: TaskGroup | None = None
    _draining: bool = False

    async def run(self) -> None:
        """Keep the bots running until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            for key in self.registry:
                self._launch(self.registry[key])
            await anyio.sleep_forever()

    async def apply(self, bots: Sequence[BotSettings]) -> FleetChange:
        """Bring the running bots in line with the configuration; unchanged ones are not touched."""
        wanted = {AdapterKey(bot.platform, bot.bot_id): bot for bot in bots if bot.enabled}
        stopped = tuple(key for key in self.registry if key not in wanted)
        for key in stopped:
            await self._remove(key)
        started, restarted = [], []
        for key, settings in wanted.items():
            fingerprint = self.fingerprint(settings)
            known = self.registry.get(key)
            if known is None:
                started.append(key)
                self.registry.add(Bot(key, settings, fingerprint, self.clock))
                self._launch(self.registry[key])
            elif known.fingerprint != fingerprint:
                restarted.append(key)
                await self._halt(key)
                known.settings, known.fingerprint = settings, fingerprint
                self._launch(known)
            else:
                known.settings = settings
        return FleetChange(tuple(started), stopped, tuple(restarted))

    async def stop_intake(self) -> None:
        """Begin the drain: no bot receives any more; all can still send until `close`."""
        self._draining = True
        async with anyio.create_task_group() as tasks:
            for key in list(self._berths):
                tasks.start_soon(self._halt, key, name=f"halt:{key}")

    async def close(self) -> None:
        """End the drain: let go of every connection."""
        async with anyio.create_task_group() as tasks:
            for bot in self.registry.values():
                tasks.start_soon(self._dismiss, bot, name=f"close:{bot.key}")

    def fingerprint(self, settings: BotSettings) -> str:
        """Changes with anything that needs a new connection: settings and the secrets behind them, not who may talk."""
        plain = settings.model_dump_json(exclude={"access"})
        secrets = "".join(f"{name}={self._secret(ref)};" for name, ref in _references(settings))
        return hashlib.sha256(f"{plain}|{secrets}".encode()).hexdigest()

    def _secret(self, ref: SecretRef) -> str:
        try:
            return hashlib.sha256(self.read_secret(ref).encode()).hexdigest()
        except SecretUnavailable:
            return "missing"

    # --- one bot ---------------------------------------------------------------------------------------------------

    def _launch(self, bot: Bot) -> None:
        if self._tasks is None or self._draining:
            return
        berth = self._berths[bot.key] = _Berth(bot, anyio.CancelScope(), anyio.Event())
        bot.on_change = self._changed
        self._tasks.start_soon(self._sail, berth, name=f"bot:{bot.key}")

    async def _sail(self, berth: _Berth) -> None:
        bot = berth.bot
        try:
            with berth.scope:
                await supervise(bot, lambda: self._build(bot), self.clock, self.log)
        finally:
            # one that would not stop in time was replaced: what is there now is not its own
            if not self._draining and self._berths.get(bot.key, berth) is berth:
                await self._dismiss(bot)
            berth.ended.set()

    async def _dismiss(self, bot: Bot) -> None:
        bot.report(BotState.STOPPED)
        await close(bot, self.log)

    def _build(self, bot: Bot) -> Adapter:
        adapter = self.plugins[bot.key.platform].build(bot.settings, self.host(bot))
        if self._tasks is not None:
            self._tasks.start_soon(self._take_up, bot.key, name=f"take-up:{bot.key}")
        return adapter

    async def _take_up(self, key: AdapterKey) -> None:
        while True:
            try:
                await self.take_up(key)
            except LedgerUnavailable as error:
                self.log.warning("left-overs wait", action="bot.take_up", bot=str(key), detail=error.message)
                await self.clock.sleep(TAKE_UP_SECONDS)
            else:
                return

    def _changed(self, bot: Bot) -> None:
        self.changed.set()
        self.changed = anyio.Event()
        self.log.info("bot state", action="bot.state", bot=str(bot.key), state=str(bot.state), detail=bot.detail)
        if bot.state is BotState.UP and bot.adapter is not None and self._tasks is not None:
            self._tasks.start_soon(self._publish_menu, bot.adapter, name=f"menu:{bot.key}")

    async def _publish_menu(self, adapter: Adapter) -> None:
        try:
            await adapter.commands(self.menu)
        except Exception as error:  # noqa: BLE001  # a menu is decoration; without it the bot still answers
            self.log.warning("menu not set", action="bot.menu", bot=str(adapter.key), error=type(error).__name__)

    async def _halt(self, key: AdapterKey) -> None:
        berth = self._berths.pop(key, None)
        if berth is None:
            return
        berth.scope.cancel()
        with anyio.move_on_after(STOP_SECONDS):
            await berth.ended.wait()

    async def _remove(self, key: AdapterKey) -> None:
        await self._halt(key)
        bot = self.registry.remove(key)
        if bot is not None:
            bot.leave()
        await self.part(key)


def _references(settings: BotSettings) -> list[tuple[str, SecretRef]]:
    values = ((name, getattr(settings, name)) for name in type(settings).model_fields)
    return [(name, value) for name, value in values if isinstance(value, SecretRef)]
