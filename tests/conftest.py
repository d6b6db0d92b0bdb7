"""A whole house over a scripted platform and a scripted model, with a clock that tests move."""

import asyncio
import gc
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest
import yaml

from hermesd.adapter.registry import Bot
from hermesd.address import AdapterKey
from hermesd.daemon import life as daemon_life
from hermesd.daemon.house import Ground, House
from hermesd.daemon.life import Life
from hermesd.database import Tx
from hermesd.ledger import turn as turns
from hermesd.logs import Logging
from hermesd.message import RawEvent
from hermesd.ports import BotState, EngineReply, EngineRequest, Row, ToolGate, Usage
from hermesd.reload import Reloader
from hermesd.settings import Environment
from hermesd.testing.clock import ManualClock
from hermesd.testing.scripted import Platform, ScriptedAdapter

T = TypeVar("T")
Answers = Callable[[str, EngineRequest, ToolGate], Awaitable[str]]

_OPEN = """
SELECT (SELECT count(*) FROM inbound WHERE state = 'received')
     + (SELECT count(*) FROM turn WHERE state IN ('queued', 'running'))
     + (SELECT count(*) FROM delivery WHERE state IN ('pending', 'attempting', 'ambiguous'))
"""


@dataclass
class Models:
    """Every profile's engine; `answers(profile, request, gate)` decides what it says."""

    answers: Answers | None = None
    asked: list[tuple[str, EngineRequest]] = field(default_factory=list)
    usage: Usage = field(default_factory=lambda: Usage(10, 5, 1))
    #: profile -> why its engine cannot be had
    missing: dict[str, Exception] = field(default_factory=dict)

    def factory(self, **_: Any) -> "Models":
        return self

    def build(self, profile: str, model: Any, secrets: Mapping[str, str]) -> "_Engine":
        if profile in self.missing:
            raise self.missing[profile]
        return _Engine(self, profile)

    async def warm(self) -> None:
        """Nothing is loaded."""

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class _Engine:
    models: Models
    profile: str
    label: str = "scripted:v1"

    async def run(
        self, request: EngineRequest, gate: ToolGate, *, spent: Callable[[Usage], Awaitable[None]] | None = None
    ) -> EngineReply:
        self.models.asked.append((self.profile, request))
        if spent is not None:
            await spent(self.models.usage)
        text = f"{self.profile}: {request.prompt}"
        if self.models.answers is not None:
            text = await self.models.answers(self.profile, request, gate)
        return EngineReply(text, (Row("assistant", text),), self.models.usage, self.label)

    async def summarise(self, rows: Sequence[Row], *, seconds: float) -> str:
        return f"{len(rows)} rows"


class _Observed(Life):
    def _build(self, ground: Ground) -> tuple[House, Reloader]:
        house, reloader = super()._build(ground)
        self.observer.ground, self.observer.house, self.observer.reloader = ground, house, reloader
        return house, reloader

    observer: "Daemon"


@dataclass
class Daemon:
    """One life of the daemon in the loop of a test."""

    home: "Home"
    ground: Ground = field(init=False)
    house: House = field(init=False)
    reloader: Reloader = field(init=False)
    life: Life = field(init=False)
    written: io.StringIO = field(default_factory=io.StringIO)

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.written.getvalue().splitlines()]

    def actions(self) -> list[str]:
        return [line.get("action", "") for line in self.log]

    def bot(self, bot_id: str = "main") -> ScriptedAdapter:
        return self.home.platform.bots[AdapterKey("scripted", bot_id)]

    async def says(self, text: str = "", *, to: str = "main", **fields: Any) -> RawEvent:
        """A person writes; the event is stored when this returns."""
        event = self.home.platform.event(text, **fields)
        await self.bot(to).receive(event)
        return event

    async def asks(self, text: str, **fields: Any) -> str:
        """A person writes; the next text that arrives anywhere."""
        many = len(self.home.platform.sent)
        await self.says(text, **fields)
        return (await self.home.platform.arrived(many + 1))[many]

    async def read(self, work: Callable[[Tx], T]) -> T:
        return await self.ground.ledger.read(work)

    async def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return await self.read(lambda tx: tx.execute(sql, values).fetchall())

    async def until(self, sql: str, wanted: Any, *values: Any) -> None:
        """Return once the first column of the first row is as wanted; each look is a trip to the database thread."""
        while True:
            found = await self.rows(sql, *values)
            if found and found[0][0] == wanted:
                return

    async def settled(self) -> None:
        """Return once nothing waits to be decided, to run or to be sent."""
        await self.until(_OPEN, 0)
        while self.house.lanes.total:
            await self.rows("SELECT 1")

    async def decided(self) -> None:
        """Return once every stored event has been decided."""
        await self.until("SELECT count(*) FROM inbound WHERE state = 'received'", 0)
        await self.house.intake.settled()

    async def queued(self) -> tuple[turns.Turn, ...]:
        return await self.read(turns.queued)

    async def state(self, bot_id: str, state: BotState) -> Bot:
        """The bot, once it is in that state."""
        while True:
            changed = self.house.fleet.changed
            bot = self.house.bots.get(AdapterKey("scripted", bot_id))
            if bot is not None and bot.state is state:
                return bot
            await changed.wait()


@dataclass
class Home:
    """The files of one installation over a scripted platform."""

    root: Path
    platform: Platform = field(default_factory=Platform)
    models: Models = field(default_factory=Models)
    clock: ManualClock = field(default_factory=ManualClock)
    #: what `save` writes; every life saves it first
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.state.joinpath("profiles").mkdir(mode=0o700, parents=True)
        self.settings |= {"default_profile": "default", "drain_seconds": 2.0, "bots": [], "routes": {}, "limits": {}}
        self.bot("main")
        self.profile("default")

    @property
    def state(self) -> Path:
        return self.root / "s"

    @property
    def config(self) -> Path:
        return self.root / "hermesd.yaml"

    def bot(self, bot_id: str, *, variant: str = "", **access: Any) -> None:
        """Add a bot, or give it other settings; everybody may talk unless written otherwise, `boss` administers."""
        rights = {"allow": "everyone", "admins": ["boss"], **access}
        entry = {"platform": "scripted", "bot_id": bot_id, "variant": variant, "access": rights}
        others = [bot for bot in self.settings["bots"] if bot["bot_id"] != bot_id]
        self.settings["bots"] = [*others, entry]

    def profile(self, name: str, **config: Any) -> Path:
        place = self.state / "profiles" / name
        place.mkdir(mode=0o700, exist_ok=True)
        (place / "config.yaml").write_text(yaml.safe_dump(config) if config else "", encoding="utf-8")
        return place

    def route(self, chat: str, profile: str, thread: str | None = None) -> None:
        to: Any = profile if thread is None else {thread: profile}
        place = self.settings["routes"].setdefault("scripted", {})
        place[chat] = {**place.get(chat, {}), **to} if thread is not None else to

    def save(self) -> None:
        self.config.write_text(yaml.safe_dump(self.settings), encoding="utf-8")

    def running(self) -> AbstractAsyncContextManager[Daemon]:
        """A life: ends in order when the block ends, unless `crashing` ended it before."""
        return _running(self, orderly=True)

    def crashing(self) -> AbstractAsyncContextManager[Daemon]:
        """A life that ends without a word when the block ends: nothing is drained, nothing signed off."""
        return _running(self, orderly=False)


@asynccontextmanager
async def _running(home: Home, *, orderly: bool) -> AsyncIterator[Daemon]:
    home.save()
    daemon, ready = Daemon(home), asyncio.Event()
    environment = Environment(hermesd_config=home.config, hermesd_state=home.state)
    life = _Observed(
        home.config, home.state, environment, home.clock, Logging.on(home.clock, daemon.written, form="json"),
        {"scripted": home.platform.plugin}, lambda _: ready.set(),
    )  # fmt: skip
    life.observer = daemon
    daemon.life = life
    failure: BaseException | None = None
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(life.run, name="daemon")
            try:
                with anyio.fail_after(30):
                    await ready.wait()
                    yield daemon
            except Exception as error:  # noqa: BLE001  # raised again below, outside the group, as itself
                failure = error
            if orderly:
                life._asked_to_stop()
            else:
                tasks.cancel_scope.cancel()
    finally:
        gc.unfreeze()
    if failure is not None:
        raise failure


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An installation with the bot `main`, the profile `default`, and no route."""
    found = Home(tmp_path)
    monkeypatch.setattr(daemon_life, "EngineFactory", partial(Models.factory, found.models))
    return found
