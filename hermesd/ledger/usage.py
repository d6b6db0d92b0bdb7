"""What was spent, per day and scope, with room reserved before it is spent."""

from dataclasses import dataclass

from hermesd.database import Tx
from hermesd.ports import Usage

_GET = "SELECT turns, tokens, money, warned FROM usage WHERE day = ? AND scope = ? AND subject = ?"
_HELD = (
    "SELECT coalesce(sum(turns), 0), coalesce(sum(tokens), 0), coalesce(sum(money), 0) FROM reservation "
    "WHERE day = ? AND scope = ? AND subject = ?"
)
_HOLD = (
    "INSERT OR REPLACE INTO reservation(turn_id, day, scope, subject, turns, tokens, money) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_HOLDS = "SELECT day, scope, subject FROM reservation WHERE turn_id = ?"
_RELEASE = "DELETE FROM reservation WHERE turn_id = ?"
_ADD = (
    "INSERT INTO usage(day, scope, subject, turns, tokens, money) VALUES {rows} "
    "ON CONFLICT(day, scope, subject) DO UPDATE SET turns = turns + excluded.turns, tokens = tokens + "
    "excluded.tokens, money = money + excluded.money"
)
_WARN = "UPDATE usage SET warned = 1 WHERE day = ? AND scope = ? AND subject = ? AND warned = 0"
_STALE = (
    "SELECT DISTINCT r.turn_id, t.tokens_in, t.tokens_out, t.money, t.state = 'queued' "
    "FROM reservation r JOIN turn t ON t.id = r.turn_id WHERE t.boot < ?"
)
_PURGE = "DELETE FROM usage WHERE day < ?"


@dataclass(frozen=True, slots=True)
class Spent:
    """Turns, tokens and money; used for what is counted, held and allowed."""

    turns: int = 0
    tokens: int = 0
    #: US dollars
    money: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.turns + other.turns, self.tokens + other.tokens, self.money + other.money)


@dataclass(frozen=True, slots=True)
class Window:
    """One counter: a day, a kind of subject, and the subject."""

    #: ISO date, UTC
    day: str
    #: `user`, `chat`, `profile` or `day`
    scope: str
    subject: str


def counted(tx: Tx, window: Window) -> tuple[Spent, bool]:
    """What was settled in this window, and whether the warning was given."""
    row = tx.execute(_GET, (window.day, window.scope, window.subject)).fetchone()
    return (Spent(), False) if row is None else (Spent(row[0], row[1], row[2]), bool(row[3]))


def held(tx: Tx, window: Window) -> Spent:
    """What running turns have reserved in this window."""
    return Spent(*tx.execute(_HELD, (window.day, window.scope, window.subject)).fetchone())


def hold(tx: Tx, turn_id: str, windows: tuple[Window, ...], amount: Spent) -> None:
    """Reserve an amount in every window a turn counts in."""
    for w in windows:
        tx.execute(_HOLD, (turn_id, w.day, w.scope, w.subject, amount.turns, amount.tokens, amount.money))


def settle(tx: Tx, turn_id: str, windows: tuple[Window, ...], usage: Usage, *, turns: int = 1) -> None:
    """Replace a turn's reservation by what it really used."""
    tx.execute(_RELEASE, (turn_id,))
    if windows:
        rows = ", ".join(["(?, ?, ?, ?, ?, ?)"] * len(windows))
        values = [v for w in windows for v in (w.day, w.scope, w.subject, turns, usage.tokens, usage.money)]
        tx.execute(_ADD.format(rows=rows), values)


def release(tx: Tx, turn_id: str) -> None:
    """Give a reservation back: the turn never ran."""
    tx.execute(_RELEASE, (turn_id,))


def settle_dead(tx: Tx, *, boot: int) -> int:
    """At boot: what dead boots had reserved becomes what their turns are known to have used.

    A turn that runs again is counted as a turn when that run ends.
    """
    stale = tx.execute(_STALE, (boot,)).fetchall()
    for turn_id, tokens_in, tokens_out, money, again in stale:
        windows = tuple(Window(*row) for row in tx.execute(_HOLDS, (turn_id,)))
        settle(tx, turn_id, windows, Usage(tokens_in, tokens_out, 0, money), turns=0 if again else 1)
    return len(stale)


def warn_once(tx: Tx, window: Window) -> bool:
    """Whether the warning for this window is to be given now."""
    return tx.execute(_WARN, (window.day, window.scope, window.subject)).rowcount == 1


def purge(tx: Tx, *, before_day: str) -> None:
    tx.execute(_PURGE, (before_day,))
