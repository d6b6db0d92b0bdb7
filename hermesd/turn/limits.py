"""Spending limits per day: reserved before a turn by what turns have cost so far, settled after it by what it cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from hermesd.address import Address
from hermesd.database import Tx
from hermesd.ledger import usage
from hermesd.ledger.turn import Turn
from hermesd.ledger.usage import Spent, Window
from hermesd.ports import Usage

#: share of a limit at which the person is warned, once a day
WARN_AT = 0.8
#: what a turn is taken to need until it is known
ESTIMATE = Spent(1, 4_000, 0.0)
_NAMES = {"user": "your", "chat": "this chat's", "profile": "this profile's", "day": "today's overall"}


@dataclass(frozen=True, slots=True)
class Allowance:
    """The most a scope may use in one day; None is no limit."""

    turns: int | None = None
    tokens: int | None = None
    #: US dollars
    money: float | None = None

    def share(self, spent: Spent) -> float:
        """The largest used share of the limits that are set: 1.0 is exactly at a limit."""
        pairs = ((spent.turns, self.turns), (spent.tokens, self.tokens), (spent.money, self.money))
        return max((used / most if most else float(used > 0) for used, most in pairs if most is not None), default=0.0)


#: scope (`user`, `chat`, `profile`, `day`) -> what it may use
Allowances = Mapping[str, Allowance]


def day_of(at: float) -> str:
    """The UTC day a moment (Unix seconds) counts in."""
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def windows_of(turn: Turn, day: str) -> tuple[Window, ...]:
    """Every counter this turn is counted in."""
    place = Address(turn.address.adapter, turn.address.chat_id)
    return (
        Window(day, "user", f"{turn.address.adapter}:{turn.user_id}"),
        Window(day, "chat", str(place)),
        Window(day, "profile", turn.profile),
        Window(day, "day", "all"),
    )


def reserve(tx: Tx, turn: Turn, allowances: Allowances, *, day: str) -> str | None:
    """Hold room for one turn in every limited window, or say kindly which limit is used up."""
    limited = [window for window in windows_of(turn, day) if window.scope in allowances]
    expected = ESTIMATE
    for window in limited:
        counted = usage.counted(tx, window)[0]
        if allowances[window.scope].share(counted + usage.held(tx, window)) >= 1.0:
            return f"That was {_NAMES[window.scope]} limit for today. It starts again at 00:00 UTC; /usage shows it."
        expected = _larger(expected, counted)
    if limited:
        usage.hold(tx, turn.id, tuple(limited), expected)
    return None


def _larger(expected: Spent, counted: Spent) -> Spent:
    # a turn is taken to cost what the day's turns have cost on average, once there are any
    many = max(counted.turns, 1)
    return Spent(1, max(expected.tokens, counted.tokens // many), max(expected.money, counted.money / many))


def settle(tx: Tx, turn: Turn, spent: Usage, allowances: Allowances, *, day: str) -> str | None:
    """Count what a turn used; returns the warning to show when a limit is now nearly used up."""
    windows = windows_of(turn, day)
    usage.settle(tx, turn.id, windows, spent)
    for window in windows:
        if window.scope not in allowances:
            continue
        share = allowances[window.scope].share(usage.counted(tx, window)[0])
        if share >= WARN_AT and usage.warn_once(tx, window):
            return f"({min(share, 1):.0%} of {_NAMES[window.scope]} limit for today is used; /usage shows it.)"
    return None


def over(tx: Tx, turn: Turn, so_far: Usage, allowances: Allowances, *, day: str) -> bool:
    """Whether a running turn's own use has taken a limit it shares to its end."""
    for window in windows_of(turn, day):
        if window.scope in allowances:
            counted = usage.counted(tx, window)[0] + Spent(0, so_far.tokens, so_far.money)
            allowed = allowances[window.scope]
            if Allowance(None, allowed.tokens, allowed.money).share(counted) > 1.0:
                return True
    return False
