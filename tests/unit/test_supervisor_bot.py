"""One bot at a time: started, watched, started again, and never in another's way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import pytest

from hermesd.adapter import supervisor
from hermesd.adapter.registry import AdapterRegistry, Bot
from hermesd.adapter.supervisor import WAITS, pause_before, supervise, verdict
from hermesd.address import AdapterKey
from hermesd.errors import Conflict, PlatformError, RateLimited, SecretUnavailable, Unauthorized, Unreachable
from hermesd.ports import Adapter, BotState
from hermesd.testing.clock import ManualClock
from hermesd.testing.host import MemoryHost, MemoryLog
from hermesd.testing.scripted import Platform, ScriptedAdapter, ScriptedSettings

KEY = AdapterKey("scripted", "main")


@dataclass
class Story:
    """A supervised bot whose n-th connection goes as written."""

    connects: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    states: list[BotState] = field(default_factory=list)
    clock: ManualClock = field(default_factory=ManualClock)
    log: MemoryLog = field(default_factory=MemoryLog)
    platform: Platform = field(default_factory=Platform)
    adapters: list[ScriptedAdapter] = field(default_factory=list)
    bot: Bot = field(init=False)

    def __post_init__(self) -> None:
        self.bot = Bot(KEY, ScriptedSettings(platform="scripted", bot_id="main"), "f", self.clock)
        self.bot.on_change = self._changed
        self.platform.on_connect = self._connect

    def _changed(self, bot: Bot) -> None:
        self.states.append(bot.state)
        self.platform.moved()

    async def _connect(self, key: AdapterKey) -> None:
        if self.connects:
            await self.connects.pop(0)()

    def build(self) -> Adapter:
        host = MemoryHost(KEY, clock=self.clock)
        host.report = lambda state, detail="", fix="": self.bot.report(state, detail, fix)  # type: ignore[method-assign]
        self.adapters.append(ScriptedAdapter(KEY, self.platform, host))
        return self.adapters[-1]

    async def until(self, state: BotState) -> None:
        await self.platform.until(lambda: self.bot.state is state)

    @asynccontextmanager
    async def supervised(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(supervise, self.bot, self.build, self.clock, self.log)
            with anyio.fail_after(10):
                yield
            tasks.cancel_scope.cancel()


def fails(error: Exception) -> Callable[[], Awaitable[None]]:
    async def connect() -> None:
        raise error

    return connect


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Unauthorized("401"), BotState.UNAUTHORIZED),
        (SecretUnavailable("no token"), BotState.UNAUTHORIZED),
        (Conflict("409"), BotState.CONFLICT),
        (Unreachable("away"), BotState.DEGRADED),
        (PlatformError("x"), BotState.DEGRADED),
        (KeyError("x"), BotState.DEGRADED),
    ],
)
async def test_every_end_shows_and_heals(error: Exception, state: BotState) -> None:
    """A connection that ends so: the state says it, the adapter is closed, then the bot is up again (OPS-01)."""
    story = Story([fails(error)])
    async with story.supervised():
        await story.until(state)
        assert story.bot.adapter is None
        assert not story.bot.sendable
        assert story.platform.closed == 1
        await anyio.wait_all_tasks_blocked()
        await story.clock.advance(WAITS[state][0])
        await story.until(BotState.UP)
        assert story.bot.sendable
        assert len(story.adapters) == 2
        assert story.bot.restarts == 1


def test_an_unknown_mistake_shows_its_kind_and_not_its_words() -> None:
    """What an adapter's own exception says may hold a secret: people see its type only (ISO-05)."""
    state, detail, fix = verdict(KeyError("123:SECRET"))
    assert state is BotState.DEGRADED
    assert "KeyError" in detail
    assert "SECRET" not in detail + fix


def test_waits_grow_to_their_most_and_spread() -> None:
    """Each failure in a row doubles the wait up to its most; jitter takes at most a quarter away (OPS-01)."""
    for state, (first, most) in WAITS.items():
        assert pause_before(state, 1, jitter=1.0) == first
        assert pause_before(state, 50, jitter=1.0) == most
        assert pause_before(state, 50, jitter=0.0) == most * 0.75
        waits = [pause_before(state, n, jitter=1.0) for n in range(1, 12)]
        assert waits == sorted(waits)


async def test_a_limit_at_the_start_is_waited_for() -> None:
    """429 with retry_after 30 on connecting: nothing is tried before (DLV-03)."""
    story = Story([fails(RateLimited("slow down", retry_after=30.0))])
    async with story.supervised():
        await story.until(BotState.DEGRADED)
        await anyio.wait_all_tasks_blocked()
        await story.clock.advance(29.0)
        assert len(story.adapters) == 1
        await story.clock.advance(1.0)
        await story.until(BotState.UP)


async def test_a_connect_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """No sign of life in time: cancelled, shown, tried again; once up, the same time is no limit (OPS-01)."""
    monkeypatch.setattr(supervisor, "CONNECT_SECONDS", 0.05)
    hanging = asyncio.Event()
    story = Story([hanging.wait])  # type: ignore[list-item]
    async with story.supervised():
        await story.until(BotState.DEGRADED)
        assert "no connection within" in story.bot.detail
        await anyio.wait_all_tasks_blocked()
        await story.clock.advance(1.0)
        await story.until(BotState.UP)
        await asyncio.to_thread(hanging.is_set)
        with anyio.move_on_after(0.2):
            await story.until(BotState.DEGRADED)
        assert story.bot.state is BotState.UP


async def test_a_token_that_stays_refused_is_not_hidden_by_retries() -> None:
    """While a bot is unauthorized each retry leaves that state visible until it is really up."""
    story = Story([fails(Unauthorized("401")), fails(Unauthorized("401"))])
    async with story.supervised():
        await story.until(BotState.UNAUTHORIZED)
        for wait in (60.0, 120.0):
            await anyio.wait_all_tasks_blocked()
            await story.clock.advance(wait)
        await story.until(BotState.UP)
    assert story.states == [BotState.UNAUTHORIZED, BotState.UP]


async def test_an_adapter_that_will_not_close_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """close hangs or fails: the bot is started again all the same (OPS-01)."""
    monkeypatch.setattr(supervisor, "CLOSE_SECONDS", 0.05)
    hang = asyncio.Event()

    async def never(self: ScriptedAdapter) -> None:
        await hang.wait()

    monkeypatch.setattr(ScriptedAdapter, "close", never)
    story = Story([fails(KeyError("x"))])
    async with story.supervised():
        await story.until(BotState.DEGRADED)
        await story.clock.until_lying_down()
        await story.clock.advance(1.0)
        await story.until(BotState.UP)
    assert "adapter not closed" in [line[1] for line in story.log.lines]


async def test_whoever_waits_to_send_gets_the_new_adapter_or_learns_that_the_bot_left() -> None:
    """Through failure and restart a waiting sender gets the adapter that is up; when the bot leaves, None (RT-06)."""
    story = Story([fails(KeyError("x"))])
    async with story.supervised():
        await story.until(BotState.DEGRADED)
        waiting = asyncio.create_task(story.bot.until_sendable())
        await anyio.wait_all_tasks_blocked()
        assert not waiting.done()
        await story.clock.advance(1.0)
        assert await waiting is story.adapters[-1]
        story.bot.report(BotState.STARTING)
        late = asyncio.create_task(story.bot.until_sendable())
        await anyio.wait_all_tasks_blocked()
        story.bot.leave()
        assert await late is None
        assert await story.bot.until_sendable() is None
        assert not story.bot.sendable


def test_the_registry_is_keyed_by_platform_and_bot() -> None:
    """Two bots of one platform, one id on two platforms: three bots (criterion of the request)."""
    registry, clock = AdapterRegistry(), ManualClock()
    keys = [AdapterKey("telegram", "a"), AdapterKey("telegram", "b"), AdapterKey("web", "a")]
    for key in keys:
        registry.add(Bot(key, ScriptedSettings(platform=key.platform, bot_id=key.bot_id), "f", clock))
    assert list(registry) == keys
    assert registry.of_platform("telegram") == (keys[0], keys[1])
    assert registry.remove(keys[0]) is not None
    assert registry.remove(keys[0]) is None
    assert len(registry) == 2
