"""Every bot of this process, keyed (platform, bot_id), with the state an operator sees."""

import asyncio
from collections.abc import Callable, Iterator, Mapping

from hermesd.address import AdapterKey
from hermesd.clock import Clock
from hermesd.ports import Adapter, BotSettings, BotState

#: states in which a send is worth trying
SENDABLE = frozenset({BotState.UP, BotState.DEGRADED, BotState.CONFLICT})


class Bot:
    """One bot: its settings, its adapter, and how it is doing. Owned by its supervisor."""

    def __init__(self, key: AdapterKey, settings: BotSettings, fingerprint: str, clock: Clock) -> None:
        self.key = key
        self.settings = settings
        #: changes when the settings or the secrets behind them change
        self.fingerprint = fingerprint
        self.adapter: Adapter | None = None
        self.state = BotState.STARTING
        self.detail = ""
        self.fix = ""
        #: Unix seconds of the last change of state
        self.since = clock.now()
        #: times the adapter ended and was started again
        self.restarts = 0
        self._clock = clock
        self._sendable = asyncio.Event()
        self._gone = False
        self.on_change: Callable[[Bot], None] = lambda bot: None

    def report(self, state: BotState, detail: str = "", fix: str = "") -> None:
        """Change the visible state."""
        if (state, detail) == (self.state, self.detail):
            return
        if state is not self.state:
            self.since = self._clock.now()
        self.state, self.detail, self.fix = state, detail, fix
        if state in SENDABLE and self.adapter is not None:
            self._sendable.set()
        elif not self._gone:
            self._sendable.clear()
        self.on_change(self)

    def detach(self) -> Adapter | None:
        """Take the adapter away; whoever wants to send waits for the next one."""
        adapter, self.adapter = self.adapter, None
        if not self._gone:
            self._sendable.clear()
        return adapter

    @property
    def sendable(self) -> bool:
        return self._sendable.is_set() and not self._gone

    async def until_sendable(self) -> Adapter | None:
        """Wait until a send is worth trying, and give the adapter to try it with; None when the bot has left."""
        while not self._gone:
            await self._sendable.wait()
            # who was woken runs a little later: the adapter may be gone again by then
            if self._sendable.is_set() and self.adapter is not None and not self._gone:
                return self.adapter
        return None

    def leave(self) -> None:
        """The bot is no longer configured: let go whoever waits for it."""
        self._gone = True
        self._sendable.set()


class AdapterRegistry(Mapping[AdapterKey, Bot]):
    """The bots that are configured now."""

    def __init__(self) -> None:
        self._bots: dict[AdapterKey, Bot] = {}

    def __getitem__(self, key: AdapterKey) -> Bot:
        return self._bots[key]

    def __iter__(self) -> Iterator[AdapterKey]:
        return iter(self._bots)

    def __len__(self) -> int:
        return len(self._bots)

    def add(self, bot: Bot) -> None:
        self._bots[bot.key] = bot

    def remove(self, key: AdapterKey) -> Bot | None:
        return self._bots.pop(key, None)

    def of_platform(self, platform: str) -> tuple[AdapterKey, ...]:
        return tuple(key for key in self._bots if key.platform == platform)
