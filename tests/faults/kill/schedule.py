"""What is said and when the process dies, from one seed: the same list for the daemon and for the control."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

BOTS = ("alpha", "beta")
CHATS = ("-1", "-2", "-3")
USERS = ("111", "222")
#: named points, and how far into a life the kill may lie
POINTS = (
    ("commit.before", 24),
    ("commit.after", 24),
    ("ingest.before", 2),
    ("ingest.after", 2),
    ("model.before", 4),
    ("model.after", 4),
    ("tool.before", 2),
    ("tool.after", 2),
    ("send.before", 4),
    ("send.after", 4),
)
#: moments at which the platform's side of a send kills its client
MOMENTS = ("send.received", "send.kept")


@dataclass(frozen=True, slots=True)
class Wish:
    """A message somebody writes."""

    bot: str
    chat: str
    user: str
    tool: bool


@dataclass(frozen=True, slots=True)
class Life:
    """One start and one kill."""

    #: written before the process starts, and once it polls
    before: tuple[Wish, ...]
    during: tuple[Wish, ...]
    #: `point` (kills itself at the n-th passage), `moment` (of the n-th send at the platform), `boot` (so many seconds
    #: after the fork), `time` (so many after the first poll)
    kind: str
    point: str = ""
    nth: int = 0
    seconds: float = 0.0


def lives(seed: int, count: int) -> Iterator[Life]:
    """`count` lives; the first ones die at each step of the first migration."""
    dice = random.Random(seed)
    for number in range(count):
        before = tuple(_wish(dice) for _ in range(dice.randint(0, 3)))
        during = tuple(_wish(dice) for _ in range(dice.randint(1, 2)))
        if number < 6:
            step = ("0", "5", "20", "before_commit", "after_commit", "after_commit")[number]
            yield Life(before, during, "point", f"migration.1.{step}", 1 + number // 5)
            continue
        kind = dice.choices(("point", "moment", "time", "boot"), (60, 15, 20, 5))[0]
        if kind == "point":
            point, most = dice.choice(POINTS)
            yield Life(before, during, kind, point, dice.randint(1, most))
        elif kind == "moment":
            yield Life(before, during, kind, dice.choice(MOMENTS), dice.randint(1, 3))
        else:
            yield Life(before, during, kind, seconds=dice.uniform(0.0, 0.06))


def _wish(dice: random.Random) -> Wish:
    return Wish(dice.choice(BOTS), dice.choice(CHATS), dice.choice(USERS), dice.random() < 0.25)
