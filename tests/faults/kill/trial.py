"""Runs one schedule of lives and kills, then one clean life, against the wire platform."""

import asyncio
import signal
from collections import Counter
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from schedule import BOTS, CHATS, USERS, Life, Wish, lives
from verdict import Answer, Question
from wire_platform import Said, WirePlatform
from zygote import Order, Running, Zygote

#: the clock's step from life to life: ten crashes within five minutes would be a crash loop
STEP = 31.0
CONFIG = """\
default_profile: default
drain_seconds: 5
bots:
{bots}
"""
BOT = '  - {{platform: wire, bot_id: {bot}, socket: "{socket}", access: {{allow: everyone, require_mention: false}}}}'


@dataclass(slots=True)
class Trial:
    """One state directory, one platform, many lives."""

    home: Path
    zygote: Zygote
    seed: int
    naive: bool = False
    #: lives that ended by SIGKILL, by what ended them
    kills: Counter[str] = field(default_factory=Counter)
    #: lives that ended some other way: (exit code)
    odd: list[int] = field(default_factory=list)
    _clock: float = 0.0
    _lives: int = 0

    def __post_init__(self) -> None:
        home = self.state / "profiles" / "default"
        home.mkdir(parents=True, mode=0o700)
        (home / "config.yaml").write_text("model: {provider: 'null', default: echo}\n")
        self.config.write_text(CONFIG.format(bots="\n".join(BOT.format(bot=b, socket=self.socket) for b in BOTS)))

    @property
    def state(self) -> Path:
        return self.home / "state"

    @property
    def config(self) -> Path:
        return self.home / "hermesd.yaml"

    @property
    def socket(self) -> Path:
        return self.home / "wire.sock"

    @property
    def effects(self) -> list[str]:
        """The text of each use of the counting tool."""
        file = self.home / "effects"
        return [line.partition(" ")[2] for line in file.read_text().splitlines()] if file.exists() else []

    async def run(self, count: int) -> WirePlatform:
        """`count` kills, then a life that may finish. Returns the platform with everything that was said."""
        platform = WirePlatform(self.socket)
        async with platform:
            for life in lives(self.seed, count):
                await self._live(platform, life)
            await self._finish(platform)
        return platform

    async def _live(self, platform: WirePlatform, life: Life) -> None:
        _say(platform, life.before)
        running = await self.zygote.start(self._order(life.point if life.kind == "point" else "", life.nth))
        loop, moments = asyncio.get_running_loop(), Counter[str]()
        polled = asyncio.Event()

        def on_send(moment: str) -> None:
            moments[moment] += 1
            if life.kind == "moment" and moment == life.point and moments[moment] == life.nth:
                self._kill(running, moment)

        def on_poll() -> None:
            if not polled.is_set():
                polled.set()
                _say(platform, life.during)
                if life.kind == "time":
                    loop.call_later(life.seconds, self._kill, running, "time")

        platform.on_send, platform.on_poll = on_send, on_poll
        if life.kind == "boot":
            loop.call_later(life.seconds, self._kill, running, "boot")
        await self._until_dead(platform, running, polled, life)

    async def _until_dead(self, platform: WirePlatform, running: Running, polled: asyncio.Event, life: Life) -> None:
        offered = platform.waiting

        async def idle() -> None:
            await polled.wait()
            if self.naive:  # what an earlier life lost is not waited for
                await platform.answered(offered | platform.waiting)
            else:
                await platform.all_answered()

        waiting = asyncio.ensure_future(idle())
        # a send in doubt waits its second before it is tried again: such a life is ended before that
        await asyncio.wait((waiting, running.ended), return_when=asyncio.FIRST_COMPLETED, timeout=0.8)
        self._kill(running, "idle" if waiting.done() else "patience")
        waiting.cancel()
        code = await running.ended
        platform.on_send, platform.on_poll = lambda moment: None, lambda: None
        if code != -signal.SIGKILL:
            self.odd.append(code)
            raise AssertionError(f"a life ended with {code}: see {self.home / 'log'}")
        self.kills[running.killed_by or life.point] += 1

    async def _finish(self, platform: WirePlatform) -> None:
        # first in, first out: once these are answered, nothing said before them is still on its way
        first = len(platform.said)
        for bot, chat, user in product(BOTS, CHATS, USERS):
            platform.says(bot, chat, user, "the end")
        running = await self.zygote.start(self._order("", 0))
        ending = asyncio.ensure_future(platform.answered({said.key for said in platform.said[first:]}))
        await asyncio.wait((ending, running.ended), return_when=asyncio.FIRST_COMPLETED, timeout=60)
        assert ending.done(), f"the last life answers nothing: see {self.home / 'log'}"
        running.kill(signal.SIGTERM)
        code = await running.ended
        assert self.naive or code == 0, f"the last life ended with {code}: see {self.home / 'log'}"

    def _kill(self, running: Running, why: str) -> None:
        if not running.ended.done() and not running.killed_by:
            running.killed_by = why
            running.kill()

    def _order(self, point: str, nth: int) -> Order:
        self._clock += STEP
        self._lives += 1
        return Order(
            str(self.config), str(self.state), str(self.socket), str(self.home / "effects"), str(self.home / "log"),
            BOTS, self._clock, self.naive, point, nth,
        )  # fmt: skip


def _say(platform: WirePlatform, wishes: tuple[Wish, ...]) -> None:
    for wish in wishes:
        number = len(platform.said) + 1
        text = f"use the tool for {number}" if wish.tool else f"message {number}"
        platform.says(wish.bot, wish.chat, wish.user, text)


def questions(platform: WirePlatform) -> list[Question]:
    """What was asked."""
    return [Question(said.key, said.lane, _place(said), said.text) for said in platform.said]


def answers(platform: WirePlatform) -> list[Answer]:
    """What was answered, in order."""
    return [Answer.of((sent.bot, sent.chat), sent.text, sent.reply_to) for sent in platform.sent]


def _place(said: Said) -> tuple[str, str]:
    return said.bot, said.chat
