"""What must be sent: one row a part, written with the outcome it belongs to.

pending ──> attempting ──> sent
  │             ├──> pending     nothing left this machine, or the platform asked to wait
  │             ├──> ambiguous   it may have arrived
  │             ├──> failed      the platform will not take it (reason says why)
  │             └──> parked      its bot or place is gone for now
  └──> parked
ambiguous ──> attempting, parked
parked ──> pending

A part that was ambiguous once stays `doubtful`, whatever becomes of it: every later copy carries a visible mark.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from hermesd.address import AdapterKey, Address
from hermesd.database import Tx
from hermesd.ledger.inbound import NEXT_LINE

_COLUMNS = (
    "seq, id, turn_id, platform, bot_id, guild, chat_id, thread_id, part, parts, text, reply_to, state, reason, "
    "attempts, next_at, receipt, doubtful"
)
_INSERT = (
    "INSERT INTO delivery(line, id, turn_id, platform, bot_id, guild, chat_id, thread_id, part, parts, text, reply_to, "
    f"state, attempts, boot, created_at, updated_at) VALUES ({NEXT_LINE}{', ?' * 16})"
)
_MOVE = (
    "UPDATE delivery SET state = ?, reason = ?, attempts = attempts + ?, next_at = ?, receipt = coalesce(?, receipt), "
    "doubtful = max(doubtful, ?), boot = ?, updated_at = ? WHERE id = ? AND state IN ({sources})"
)
_OPEN = f"SELECT {_COLUMNS} FROM delivery WHERE state IN ('pending', 'attempting', 'ambiguous') ORDER BY seq"
_CRASHED = (
    "UPDATE delivery SET state = 'ambiguous', reason = 'crash', doubtful = 1 WHERE state = 'attempting' AND boot < ?"
)
_REKEY = (
    "UPDATE delivery SET chat_id = ? WHERE platform = ? AND bot_id = ? AND chat_id = ? "
    "AND state IN ('pending', 'attempting', 'ambiguous', 'parked')"
)
_PARK_BOT = (
    "UPDATE delivery SET state = 'parked', reason = ? WHERE platform = ? AND bot_id = ? "
    "AND state IN ('pending', 'ambiguous')"
)
_PARKED = f"SELECT {_COLUMNS} FROM delivery WHERE state = 'parked' AND platform = ? AND bot_id = ? ORDER BY seq"
_UNPARK = "UPDATE delivery SET state = 'pending', reason = '', next_at = 0 WHERE state = 'parked' AND id = ?"
_COUNTS = "SELECT state, count(*) FROM delivery WHERE state IN ('pending', 'parked', 'ambiguous') GROUP BY state"
_PURGE = "DELETE FROM delivery WHERE updated_at < ? AND state IN ('sent', 'failed')"


class DeliveryState(StrEnum):
    """Where one part stands."""

    PENDING = "pending"
    ATTEMPTING = "attempting"
    SENT = "sent"
    AMBIGUOUS = "ambiguous"
    FAILED = "failed"
    PARKED = "parked"


#: which states a part may leave for which others; the picture above is drawn from it and a test compares them
TRANSITIONS: dict[DeliveryState, frozenset[DeliveryState]] = {
    DeliveryState.PENDING: frozenset({DeliveryState.ATTEMPTING, DeliveryState.PARKED}),
    DeliveryState.ATTEMPTING: frozenset(
        {
            DeliveryState.SENT,
            DeliveryState.PENDING,
            DeliveryState.AMBIGUOUS,
            DeliveryState.FAILED,
            DeliveryState.PARKED,
        }
    ),
    DeliveryState.AMBIGUOUS: frozenset({DeliveryState.ATTEMPTING, DeliveryState.PARKED}),
    DeliveryState.PARKED: frozenset({DeliveryState.PENDING}),
    DeliveryState.SENT: frozenset(),
    DeliveryState.FAILED: frozenset(),
}
_SOURCES = {
    target: ", ".join(f"'{state}'" for state, targets in TRANSITIONS.items() if target in targets)
    for target in DeliveryState
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One part of one reply."""

    seq: int
    id: str
    turn_id: str | None
    address: Address
    #: 1-based among `of`
    part: int
    of: int
    #: Markdown source
    text: str
    reply_to: str | None
    state: DeliveryState
    reason: str = ""
    #: sends that were begun
    attempts: int = 0
    #: Unix seconds; not before
    next_at: float = 0.0
    receipt: str | None = None
    #: an earlier send of it may have arrived
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A part that has no row yet."""

    id: str
    address: Address
    part: int
    of: int
    text: str
    reply_to: str | None = None


def insert(
    tx: Tx, drafts: Sequence[Draft], *, turn_id: str | None, boot: int, at: float, begin_first: bool = False
) -> tuple[Delivery, ...]:
    """Write the parts of one reply; `begin_first` stores the first as already being attempted."""
    rows = []
    for draft in drafts:
        begun = begin_first and draft is drafts[0]
        state = DeliveryState.ATTEMPTING if begun else DeliveryState.PENDING
        key, a = draft.address.adapter, draft.address
        values = (
            draft.id, turn_id, key.platform, key.bot_id, a.guild, a.chat_id, a.thread_id, draft.part,
            draft.of, draft.text, draft.reply_to, state.value, int(begun), boot, at, at,
        )  # fmt: skip
        seq = int(tx.execute(_INSERT, values).lastrowid or 0)
        rows.append(
            Delivery(
                seq, draft.id, turn_id, a, draft.part, draft.of, draft.text, draft.reply_to, state, attempts=int(begun)
            )
        )
    return tuple(rows)


def move(
    tx: Tx,
    delivery_id: str,
    state: DeliveryState,
    *,
    boot: int,
    at: float,
    reason: str = "",
    next_at: float = 0.0,
    receipt: str | None = None,
) -> bool:
    """Change state if the picture allows it from where the row stands; False when it does not."""
    begun, doubtful = int(state is DeliveryState.ATTEMPTING), int(state is DeliveryState.AMBIGUOUS)
    values = (state.value, reason, begun, next_at, receipt, doubtful, boot, at, delivery_id)
    return tx.execute(_MOVE.format(sources=_SOURCES[state]), values).rowcount == 1


def recover(tx: Tx, *, boot: int) -> int:
    """At boot: a send that an earlier boot had begun may have arrived. Returns how many."""
    return tx.execute(_CRASHED, (boot,)).rowcount


def open_rows(tx: Tx) -> tuple[Delivery, ...]:
    """Everything that still has to go out, oldest first."""
    return tuple(_row(row) for row in tx.execute(_OPEN))


def rekey(tx: Tx, key: AdapterKey, old_chat: str, new_chat: str) -> int:
    """Send what waits for a migrated chat to its new id."""
    return tx.execute(_REKEY, (new_chat, key.platform, key.bot_id, old_chat)).rowcount


def park_bot(tx: Tx, key: AdapterKey, reason: str) -> int:
    """Set aside what waits for a bot that was taken out of the configuration."""
    return tx.execute(_PARK_BOT, (reason, key.platform, key.bot_id)).rowcount


def unpark_bot(tx: Tx, key: AdapterKey) -> tuple[Delivery, ...]:
    """Take up again what was set aside for one bot, oldest first."""
    rows = tuple(_row(row) for row in tx.execute(_PARKED, (key.platform, key.bot_id)))
    tx.executemany(_UNPARK, [(row.id,) for row in rows])
    return tuple(replace(row, state=DeliveryState.PENDING, reason="", next_at=0.0) for row in rows)


def counts(tx: Tx) -> dict[str, int]:
    """How many parts are pending, parked and ambiguous."""
    return {"pending": 0, "parked": 0, "ambiguous": 0} | dict(tx.execute(_COUNTS).fetchall())


def purge(tx: Tx, *, before: float) -> None:
    """Forget what was sent or failed before that moment (Unix seconds)."""
    tx.execute(_PURGE, (before,))


def _row(row: tuple[Any, ...]) -> Delivery:
    (
        seq, id_, turn_id, platform, bot_id, guild, chat, thread, part, of, text, reply_to, state, reason, n, at,
        receipt, doubtful,
    ) = row  # fmt: skip
    address = Address(AdapterKey(platform, bot_id), chat, thread, guild)
    return Delivery(
        seq, id_, turn_id, address, part, of, text, reply_to, DeliveryState(state), reason, n, at, receipt,
        bool(doubtful),
    )  # fmt: skip
