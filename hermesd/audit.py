"""The append-only record of decisions: each row carries the hash of the one before it.

What `verify` finds: a changed row, a row taken out of the middle, rows in another order, a row slipped in, and (with
an anchor kept elsewhere, such as a copy of an earlier `head`) rows cut off the end or a history rewritten as a whole.
What it cannot find without an anchor: a cut at the very end, or a rewrite by somebody who recomputes every hash.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermesd.database import Tx

SCHEMA = """
CREATE TABLE audit(
    id          INTEGER PRIMARY KEY,
    at          REAL NOT NULL,
    kind        TEXT NOT NULL,
    actor       TEXT NOT NULL,
    subject     TEXT NOT NULL,
    target      TEXT NOT NULL,
    rule        TEXT NOT NULL,
    approval_id TEXT,
    turn_id     TEXT,
    detail      TEXT NOT NULL,
    prev_hash   BLOB NOT NULL,
    hash        BLOB NOT NULL
);
CREATE INDEX audit_turn ON audit(turn_id) WHERE turn_id IS NOT NULL;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_never_cut BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_only_grows_at_the_end BEFORE INSERT ON audit
    WHEN NEW.id <= (SELECT max(id) FROM audit)
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
"""

_COLUMNS = "id, at, kind, actor, subject, target, rule, approval_id, turn_id, detail, prev_hash, hash"
_HEAD = "SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1"
_APPEND = f"INSERT INTO audit({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_TAIL = f"SELECT {_COLUMNS} FROM audit WHERE id > ? AND (? IS NULL OR kind = ?) ORDER BY id DESC LIMIT ?"
_ALL = f"SELECT {_COLUMNS} FROM audit ORDER BY id"

_NOTHING = bytes(32)
_encode = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One decision, as it stands in the log."""

    #: 1, 2, 3 … without a gap
    id: int
    #: Unix seconds
    at: float
    #: `noun.verb`, e.g. `turn.refused`
    kind: str
    #: who did it: a user, `operator`, `hermesd`
    actor: str
    #: what it was done to
    subject: str
    #: whom or where it concerns
    target: str
    #: the rule or route that decided
    rule: str
    approval_id: str | None
    turn_id: str | None
    detail: Mapping[str, Any]
    prev_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Anchor:
    """The end of the log at some moment, kept somewhere else: proves later that nothing before it was cut."""

    id: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Verification:
    """What a walk over the whole log found."""

    ok: bool
    #: rows that hold
    count: int
    #: id of the first row that does not hold
    first_bad: int | None = None
    why: str = ""


def append(
    tx: Tx,
    *,
    at: float,
    kind: str,
    actor: str = "hermesd",
    subject: str = "",
    target: str = "",
    rule: str = "",
    approval_id: str | None = None,
    turn_id: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Add one event at the end; `at` is Unix seconds, `detail` plain JSON without secrets."""
    last = tx.execute(_HEAD).fetchone()
    number, previous = (last[0] + 1, last[1]) if last is not None else (1, _NOTHING)
    body = _encode(detail) if detail else "{}"
    texts = (_storable(actor), _storable(subject), _storable(target), _storable(rule))
    row = (number, float(at), kind, *texts, approval_id, turn_id, body)
    digest = _hash(row, previous)
    tx.execute(_APPEND, (*row, previous, digest))
    return AuditEvent(number, float(at), kind, *texts, approval_id, turn_id, detail or {}, previous, digest)


def _storable(text: str) -> str:
    # SQLite takes UTF-8 only; a lone surrogate in somebody's name becomes its escape
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _hash(row: tuple[Any, ...], previous: bytes) -> bytes:
    # a JSON array of the columns: no two different rows share an encoding, and a column's type is part of it
    return hashlib.sha256(previous + _encode(row).encode()).digest()


def head(tx: Tx) -> Anchor | None:
    """The end of the log now; None while it is empty."""
    last = tx.execute(_HEAD).fetchone()
    return None if last is None else Anchor(int(last[0]), bytes(last[1]))


def tail(tx: Tx, limit: int = 50, *, after: int = 0, kind: str | None = None) -> tuple[AuditEvent, ...]:
    """The newest events, oldest first; only those with an id above `after`, only of one kind where given."""
    rows = tx.execute(_TAIL, (after, kind, kind, limit)).fetchall()
    return tuple(_event(row) for row in reversed(rows))


def _event(row: tuple[Any, ...]) -> AuditEvent:
    values = (*row[:9], json.loads(row[9]), bytes(row[10]), bytes(row[11]))
    return AuditEvent(*values)


def verify(tx: Tx, anchor: Anchor | None = None) -> Verification:
    """Walk the whole log, one row in memory at a time; with an anchor, also prove that its row is still there."""
    count, previous, anchored = 0, _NOTHING, anchor is None
    for row in _rows(tx):
        why = _fault(row, count + 1, previous)
        if not why and anchor is not None and row[0] == anchor.id:
            anchored = bytes(row[11]) == anchor.hash
            why = "" if anchored else "differs from the anchor: the log up to here was rewritten"
        if why:
            return Verification(ok=False, count=count, first_bad=row[0], why=why)
        count, previous = count + 1, row[11]
    if anchor is not None and not anchored:
        return Verification(
            ok=False, count=count, first_bad=count + 1, why=f"the log ends before {anchor.id}: rows were cut off"
        )
    return Verification(ok=True, count=count)


def verify_file(ledger: Path, anchor: Anchor | None = None) -> Verification:
    """The same over a file, on a connection of its own that only reads. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{ledger.resolve().as_uri()}?mode=ro", uri=True)) as tx:
        return verify(tx, anchor)


def _rows(tx: Tx) -> Iterator[tuple[Any, ...]]:
    yield from tx.execute(_ALL)


def _fault(row: tuple[Any, ...], expected: int, previous: bytes) -> str:
    if row[0] != expected:
        return f"expected row {expected} here: rows were taken out or renumbered"
    if row[10] != previous:
        return "does not follow the row before it: rows were replaced or reordered"
    try:
        return "" if _hash(row[:10], previous) == row[11] else "was changed after it was written"
    except (TypeError, ValueError):
        return "holds values that were never written"
