"""SIGKILL of the whole thing: `python -m hermesd run` with two Telegram bots, genuine SDKs, real sockets."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
import verdict
from processes import Service, service, world
from town import BOTS, CHATS, USERS, Town

pytestmark = [pytest.mark.kill, pytest.mark.timeout(7200)]

HERE = Path(__file__).parent
BARE = HERE.parent.parent / "bench" / "bare.py"
#: `make soak` asks for more
KILLS = max(20, int(os.environ.get("HERMESD_KILLS", "200")) // 10)
POINTS = (
    ("commit.before", 14),
    ("commit.after", 14),
    ("ingest.before", 1),
    ("ingest.after", 1),
    ("model.before", 3),
    ("model.after", 3),
    ("tool.before", 2),
    ("tool.after", 2),
    ("send.before", 3),
    ("send.after", 3),
)


@dataclass(frozen=True, slots=True)
class Life:
    """One start and one kill."""

    #: (bot, chat, user, uses the tool) of who writes before the start, and once it is ready
    before: tuple[tuple[str, int, int, bool], ...]
    during: tuple[tuple[str, int, int, bool], ...]
    #: `point` (the n-th passage), `sent` (once n more messages stand in the chats), `boot` (seconds after the start)
    kind: str
    point: str = ""
    nth: int = 1
    seconds: float = 0.0


def lives(seed: int, count: int) -> Iterator[Life]:
    """The schedule, the same for the daemon and for the control."""
    dice = random.Random(seed)

    def wishes(most: int) -> tuple[tuple[str, int, int, bool], ...]:
        somebody = (dice.choice(tuple(BOTS)), dice.choice(CHATS), dice.choice(USERS))
        others = [
            (dice.choice(tuple(BOTS)), dice.choice(CHATS), dice.choice(USERS), dice.random() < 0.3) for _ in range(most)
        ]
        return ((*somebody, False), *others)

    for _ in range(count):
        before, during = wishes(dice.randint(1, 3)), wishes(dice.randint(0, 1))
        kind = dice.choices(("point", "sent", "boot"), (60, 30, 10))[0]
        point, most = dice.choice(POINTS)
        yield Life(before, during, kind, point, dice.randint(1, most if kind == "point" else 3), dice.uniform(0.3, 2.0))


async def live(town: Town, life: Life, *, naive: bool) -> str:
    """Start, let people write, kill; returns what killed it."""
    for bot, chat, user, tool in life.before:
        await town.say(bot, chat, user, tool=tool)
    sent = await town.sent()
    async with service(town.folder, *_command(town, life, naive=naive), env=town.env) as running:
        talking = asyncio.ensure_future(_talk(town, running, life, sent[-1]["serial"] if sent else 0, naive=naive))
        ended = asyncio.ensure_future(running.ended())
        boot = life.seconds if life.kind == "boot" else None
        await asyncio.wait((talking, ended), return_when=asyncio.FIRST_COMPLETED, timeout=boot)
        itself, finished = ended.done(), talking.done() and talking.exception() is None
        running.signal(signal.SIGKILL)
        code = await ended
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
    assert code == -signal.SIGKILL, f"a life ended with {code}: see {town.folder / 'log'}"
    return life.point if itself else talking.result() if finished else "boot"


async def _talk(town: Town, running: Service, life: Life, serial: int, *, naive: bool) -> str:
    """Returns when it is time to kill."""
    if not naive:
        await running.until("READY=1")
    for bot, chat, user, tool in life.during:
        await town.say(bot, chat, user, tool=tool)
    if life.kind == "sent" or naive:
        wanted = life.nth if life.kind == "sent" else 1
        await town.world.remote.sent(after=serial, count=wanted, wait=10)
        return "sent"
    await town.answered([question.key for question in town.questions], 6.0)
    return "idle"


def _command(town: Town, life: Life, *, naive: bool) -> tuple[str, ...]:
    if naive:
        tokens = [f"--token={token}" for token in BOTS.values()]
        return (str(BARE), "--telegram", town.world.telegram, "--openai", town.world.openai, "--at-once", "1", *tokens)
    if life.kind == "point":
        return (str(HERE / "full.py"), life.point, str(life.nth), *town.arguments)
    return ("-m", "hermesd", *town.arguments)


async def test_kills_of_the_real_daemon_lose_and_double_nothing(tmp_path: Path) -> None:
    """After the kills everybody has one answer, by the right bot in the right place, in order, no copy unmarked."""
    kills: Counter[str] = Counter()
    async with world() as outside:
        town = Town(tmp_path, outside)
        await town.build()
        for life in lives(7, KILLS):
            kills[await live(town, life, naive=False)] += 1
        last = [await town.say(bot, chat, user) for bot, chat, user in product(BOTS, CHATS, USERS)]
        async with service(tmp_path, "-m", "hermesd", *town.arguments, env=town.env) as running:
            assert await town.answered(last), f"the last life answers nothing: see {tmp_path / 'log'}"
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
        answers, wrong = await town.answers(), await town.broken()
    sys.stdout.write(f"{kills.total()} kills {dict(kills)}, {len(town.questions)} messages, "
                     f"{verdict.states(town.state)}, {sum(a.marked for a in answers)} marked copies\n")  # fmt: skip
    assert kills.total() == KILLS
    assert verdict.seen(town.questions, answers) == []
    assert wrong == []
    assert verdict.stored(town.state) == []


async def test_the_stock_shape_loses_under_the_same_kills(tmp_path: Path) -> None:
    """The same people and kills against python-telegram-bot's own way of polling lose messages."""
    async with world() as outside:
        town = Town(tmp_path, outside)
        await town.build()
        for life in lives(7, 5):
            await live(town, life, naive=True)
        last = [await town.say(bot, CHATS[0], USERS[0]) for bot in BOTS]
        async with service(tmp_path, *_command(town, next(lives(7, 1)), naive=True)):
            ends = [f"answer {town.numbers[key]}" for key in last]
            await _posted(town, ends)
        texts = [str(item["message"]["text"]) for item in await town.sent()]
    gone = [n for n in town.numbers.values() if not any(f'SAY "answer {n}"' in text for text in texts)]
    sys.stdout.write(f"control: 5 kills, {len(town.questions)} messages, {len(gone)} lost\n")
    assert len(gone) > 0


async def _posted(town: Town, texts: list[str]) -> None:
    while True:
        sent = await town.sent()
        said = "\n".join(str(item["message"]["text"]) for item in sent)
        if all(text in said for text in texts):
            return
        await town.world.remote.sent(after=sent[-1]["serial"] if sent else 0, count=1, wait=5)
