"""What arrived: stored before it is acknowledged, remembered for de-duplication, decided once.

received ──> queued        a turn was made of it
    ├──────> answered      it was a command
    ├──────> refused       somebody was told why not
    ├──────> ignored       nobody needed to be told (reason says why)
    └──────> quarantined   it could not be read; kept as it is
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from hermesd.address import AdapterKey, Address
from hermesd.database import Tx
from hermesd.message import RawEvent
from hermesd.ports import TranscriptEntry

#: the next number of the one sequence that orders what is shown in a place, in both directions; triggers advance it
NEXT_LINE = "(SELECT value + 1 FROM line)"
_STORE = (
    "INSERT INTO inbound(line, platform, bot_id, event_id, raw, received_at, chat_id, thread_id) "
    f"VALUES ({NEXT_LINE}, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(platform, bot_id, event_id) DO NOTHING"
)
_CURSOR_GET = "SELECT value FROM cursor WHERE platform = ? AND bot_id = ?"
_CURSOR_SET = (
    "INSERT INTO cursor(platform, bot_id, value, updated_at) VALUES (?, ?, ?, ?) "
    "ON CONFLICT(platform, bot_id) DO UPDATE SET value = excluded.value, updated_at = excluded.updated_at"
)
_LEFT = (
    "SELECT seq, event_id, raw, received_at, attempts, chat_id, thread_id FROM inbound "
    "WHERE state = 'received' AND platform = ? AND bot_id = ? ORDER BY seq"
)
_COUNT_ATTEMPT = "UPDATE inbound SET attempts = attempts + 1 WHERE seq = ? AND state = 'received'"
_DECIDE = (
    "UPDATE OR IGNORE inbound SET state = ?, reason = ?, message_key = ?, chat_id = coalesce(?, chat_id), "
    "thread_id = coalesce(?, thread_id) WHERE seq = ? AND state = 'received'"
)
_DECIDE_REPEAT = "UPDATE inbound SET state = 'ignored', reason = 'repeat' WHERE seq = ? AND state = 'received'"
_KNOWN_MESSAGE = "SELECT seq FROM inbound WHERE platform = ? AND bot_id = ? AND message_key = ?"
_TRANSCRIPT = """
SELECT line, at, direction, id, text, raw FROM (
    SELECT line, received_at AS at, 'in' AS direction, event_id AS id, '' AS text, raw
      FROM inbound WHERE platform = :platform AND bot_id = :bot AND chat_id = :chat AND thread_id IS :thread
       AND line > :after AND raw IS NOT NULL
    UNION ALL
    SELECT line, created_at, 'out', id, text, NULL
      FROM delivery WHERE platform = :platform AND bot_id = :bot AND chat_id = :chat AND thread_id IS :thread
       AND line > :after AND state != 'failed'
) ORDER BY line {order} LIMIT :limit
"""
_TRANSCRIPT_NEWEST = _TRANSCRIPT.format(order="DESC")
_TRANSCRIPT_AFTER = _TRANSCRIPT.format(order="ASC")
_QUARANTINED = "SELECT count(*) FROM inbound WHERE state = 'quarantined'"
_FORGET_RAW = "UPDATE inbound SET raw = NULL WHERE received_at < ? AND state != 'received' AND raw IS NOT NULL"
_PURGE = "DELETE FROM inbound WHERE received_at < ? AND state NOT IN ('received', 'quarantined')"


class InboundState(StrEnum):
    """Where a stored event stands."""

    RECEIVED = "received"
    QUEUED = "queued"
    ANSWERED = "answered"
    REFUSED = "refused"
    IGNORED = "ignored"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Stored:
    """One event on disk that nobody decided about yet."""

    seq: int
    key: AdapterKey
    event: RawEvent
    #: Unix seconds
    received_at: float
    #: times that deciding about it was begun and is not known to have ended
    attempts: int = 0
    #: taken up from disk, not fresh from the platform
    again: bool = False


def store(tx: Tx, key: AdapterKey, events: Sequence[RawEvent], cursor: str | None, *, at: float) -> tuple[Stored, ...]:
    """Write new events and the cursor; repeats of known event ids are left out of the result."""
    fresh = []
    for event in events:
        raw = json.dumps(event.raw, separators=(",", ":"))
        chat, thread = (event.place.chat_id, event.place.thread_id) if event.place else (None, None)
        done = tx.execute(_STORE, (key.platform, key.bot_id, event.event_id, raw, at, chat, thread))
        if done.rowcount:
            fresh.append(Stored(int(done.lastrowid or 0), key, event, at))
    if cursor is not None:
        tx.execute(_CURSOR_SET, (key.platform, key.bot_id, cursor, at))
    return tuple(fresh)


def cursor(tx: Tx, key: AdapterKey) -> str | None:
    """The last stored cursor of one bot."""
    row = tx.execute(_CURSOR_GET, (key.platform, key.bot_id)).fetchone()
    return None if row is None else str(row[0])


def left_over(tx: Tx, key: AdapterKey) -> tuple[Stored, ...]:
    """Events of one bot that no boot has decided about, oldest first."""
    rows = tx.execute(_LEFT, (key.platform, key.bot_id))
    return tuple(
        Stored(seq, key, RawEvent(event_id, json.loads(raw), _place(key, chat, thread)), at, n, again=True)
        for seq, event_id, raw, at, n, chat, thread in rows
    )


def _place(key: AdapterKey, chat: str | None, thread: str | None) -> Address | None:
    return None if chat is None else Address(key, chat, thread)


def count_attempt(tx: Tx, seqs: Sequence[int]) -> None:
    """Record that deciding about these events begins now."""
    tx.executemany(_COUNT_ATTEMPT, [(seq,) for seq in seqs])


def decide(
    tx: Tx,
    seq: int,
    state: InboundState,
    *,
    reason: str = "",
    message_key: str | None = None,
    address: Address | None = None,
) -> bool:
    """Leave `received`, once. False when the same platform message was decided before under another event id."""
    chat, thread = (address.chat_id, address.thread_id) if address else (None, None)
    if tx.execute(_DECIDE, (state.value, reason, message_key, chat, thread, seq)).rowcount:
        return True
    tx.execute(_DECIDE_REPEAT, (seq,))
    return False


def knows_message(tx: Tx, key: AdapterKey, message_key: str) -> bool:
    """Whether this platform message was already decided."""
    return tx.execute(_KNOWN_MESSAGE, (key.platform, key.bot_id, message_key)).fetchone() is not None


def transcript(tx: Tx, address: Address, *, after: str | None, limit: int) -> list[TranscriptEntry]:
    """Both directions of one place, oldest first; see `ports.AdapterHost.transcript`."""
    place: dict[str, Any] = {
        "platform": address.adapter.platform,
        "bot": address.adapter.bot_id,
        "chat": address.chat_id,
        "thread": address.thread_id,
        "after": int(after or 0),
        "limit": limit,
    }
    if after is not None:
        return [_entry(row) for row in tx.execute(_TRANSCRIPT_AFTER, place)]
    return [_entry(row) for row in tx.execute(_TRANSCRIPT_NEWEST, place)][::-1]


def _entry(row: tuple[int, float, Any, str, str, str | None]) -> TranscriptEntry:
    line, at, direction, identity, text, raw = row
    payload: Mapping[str, Any] | None = json.loads(raw) if raw else None
    return TranscriptEntry(str(line), direction, identity, text, payload, at)


def quarantined(tx: Tx) -> int:
    """How many events could not be read and are kept for an operator."""
    return int(tx.execute(_QUARANTINED).fetchone()[0])


def purge(tx: Tx, *, raw_before: float, rows_before: float) -> None:
    """Forget contents older than one moment and identities older than another (both Unix seconds)."""
    tx.execute(_FORGET_RAW, (raw_before,))
    tx.execute(_PURGE, (rows_before,))
