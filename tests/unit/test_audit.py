"""The audit log: cheap to write, impossible to change unnoticed."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd import audit
from hermesd.clock import SystemClock
from hermesd.database import Database, Migration, Tx


class Silent:
    def bind(self, **values: Any) -> Any:
        return self

    def debug(self, event: str, **values: Any) -> None: ...

    info = warning = error = debug


@pytest.fixture
def tx() -> Iterator[Tx]:
    """An audit log with twenty events."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        made.executescript(audit.SCHEMA)
        for n in range(20):
            audit.append(made, at=1000.0 + n, kind="turn.admitted", actor=f"u{n}", turn_id=f"t{n}", detail={"n": n})
        yield made


def tamper(tx: Tx, sql: str) -> None:
    # an attacker with the file does not ask the triggers
    for (name,) in tx.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        tx.execute(f"DROP TRIGGER {name}")
    tx.execute(sql)


async def test_the_schema_is_a_migration_and_appends_share_a_commit(tmp_path: Path) -> None:
    """In a real database, events of many callers form one unbroken chain."""
    steps = (Migration(1, audit.SCHEMA),)
    async with Database.opened(tmp_path / "l.db", steps, log=Silent(), clock=SystemClock()) as db:
        for n in range(10):
            event = await db.write(lambda tx, n=n: audit.append(tx, at=float(n), kind="k", subject=f"s{n}"))
        assert event.id == 10
        assert (await db.read(audit.verify)) == audit.Verification(ok=True, count=10)
        assert await db.read(lambda tx: audit.tail(tx, 1)) == (event,)


def test_what_was_appended_is_read_back_equal(tx: Tx) -> None:
    """tail() gives the newest events, oldest first, as append() returned them; by kind and after an id."""
    event = audit.append(
        tx,
        at=7,
        kind="handoff.refused",
        actor="a",
        subject="b",
        target="c",
        rule="d",
        approval_id="e",
        detail={"ü": [1]},
    )
    assert audit.tail(tx, 1) == (event,)
    assert [one.id for one in audit.tail(tx, 3)] == [19, 20, 21]
    assert [one.id for one in audit.tail(tx, 50, after=18)] == [19, 20, 21]
    assert audit.tail(tx, kind="handoff.refused") == (event,)


REST = "0, kind, actor, subject, target, rule, NULL, NULL, '{}', prev_hash, hash"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET actor = 'someone else' WHERE id = 7",
        "DELETE FROM audit WHERE id = 7",
        "DELETE FROM audit",
        f"INSERT INTO audit SELECT 7, {REST} FROM audit WHERE id = 8",
        f"INSERT OR REPLACE INTO audit SELECT id, {REST} FROM audit WHERE id = 20",
    ],
)
def test_statements_cannot_change_the_log(tx: Tx, sql: str) -> None:
    """No statement of ours can rewrite, cut or back-date the log, even by mistake."""
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        tx.execute(sql)
    assert audit.verify(tx) == audit.Verification(ok=True, count=20)


COLUMNS = ["at", "kind", "actor", "subject", "target", "rule", "approval_id", "turn_id", "detail", "prev_hash", "hash"]


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("value", ["'x'", "x'00'", "NULL", "1.5", "'{}'"])
def test_any_edit_of_any_column_is_found(tx: Tx, column: str, value: str) -> None:
    """Whatever an attacker writes into one field of one row, verify names that row (HND-14)."""
    before = tx.execute("SELECT * FROM audit WHERE id = 9").fetchone()
    try:
        tamper(tx, f"UPDATE audit SET {column} = {value} WHERE id = 9")
    except sqlite3.IntegrityError:
        return
    if tx.execute("SELECT * FROM audit WHERE id = 9").fetchone() == before:
        return
    found = audit.verify(tx)
    assert not found.ok
    assert found.first_bad == 9
    assert found.count == 8


@pytest.mark.parametrize(
    ("sql", "bad", "why"),
    [
        ("DELETE FROM audit WHERE id = 5", 6, "taken out"),
        ("DELETE FROM audit WHERE id = 1", 2, "taken out"),
        ("DELETE FROM audit WHERE id BETWEEN 3 AND 12", 13, "taken out"),
        ("UPDATE audit SET id = CASE id WHEN 20 THEN 21 ELSE 20 END WHERE id >= 20", 21, "renumbered"),
        (
            "UPDATE audit SET (at, actor) = (SELECT at, actor FROM audit a WHERE a.id = 11) WHERE id = 10",
            10,
            "changed",
        ),
        ("DELETE FROM audit WHERE id = 5; UPDATE audit SET id = id - 1 WHERE id > 5", 5, "replaced"),
    ],
)
def test_gaps_swaps_and_renumbering_are_found(tx: Tx, sql: str, bad: int, why: str) -> None:
    """Rows taken out, moved or exchanged break the chain at a named row."""
    first, *rest = sql.split("; ")
    tamper(tx, first)
    for more in rest:
        tx.execute(more)
    found = audit.verify(tx)
    assert (found.ok, found.first_bad) == (False, bad)
    assert why in found.why


def test_a_cut_at_the_end_is_found_with_an_anchor(tx: Tx) -> None:
    """Without an anchor a cut tail looks complete; with one, the missing end and a rewritten past are both found."""
    anchor = audit.head(tx)
    assert anchor is not None
    audit.append(tx, at=1.0, kind="later")
    assert audit.verify(tx, anchor).ok
    tamper(tx, "DELETE FROM audit WHERE id > 17")
    assert audit.verify(tx).ok
    cut = audit.verify(tx, anchor)
    assert (cut.ok, cut.first_bad) == (False, 18)
    for n in range(5):
        audit.append(tx, at=float(n), kind="forged")
    assert audit.verify(tx).ok
    forged = audit.verify(tx, anchor)
    assert (forged.ok, forged.first_bad) == (False, 20)
    assert "rewritten" in forged.why


def test_a_forger_must_rewrite_everything_after_and_then_fails_the_anchor(tx: Tx) -> None:
    """A changed row with a fresh hash of its own, stitched to its neighbour, is still found."""
    row = tx.execute("SELECT * FROM audit WHERE id = 7").fetchone()
    forged = (*row[:3], "somebody else", *row[4:10])
    digest = audit._hash(forged, row[10])
    tamper(tx, "UPDATE audit SET actor = 'somebody else' WHERE id = 7")
    tx.execute("UPDATE audit SET hash = ? WHERE id = 7", (digest,))
    assert audit.verify(tx).first_bad == 8
    tx.execute("UPDATE audit SET prev_hash = ? WHERE id = 8", (digest,))
    assert audit.verify(tx).first_bad == 8


def test_an_empty_log_holds_and_has_no_head() -> None:
    """Before the first event there is nothing to distrust."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as tx:
        tx.executescript(audit.SCHEMA)
        assert audit.verify(tx) == audit.Verification(ok=True, count=0)
        assert audit.head(tx) is None


texts = st.text(st.characters(), max_size=20)


@settings(max_examples=60, deadline=None)
@given(events=st.lists(st.tuples(texts, texts, texts, st.dictionaries(texts, texts, max_size=3)), max_size=8))
def test_any_text_can_be_recorded(events: list[tuple[str, str, str, dict[str, str]]]) -> None:
    """Names from platforms, lone surrogates and NUL included, are recorded and verify."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as tx:
        tx.executescript(audit.SCHEMA)
        for actor, subject, target, detail in events:
            audit.append(tx, at=1.0, kind="k", actor=actor, subject=subject, target=target, detail=detail)
        assert audit.verify(tx) == audit.Verification(ok=True, count=len(events))


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_to_the_table_is_found(tx: Tx, seed: int) -> None:
    """A random bit flipped in a random stored text or hash never passes."""
    dice = random.Random(seed)
    column, row = dice.choice(["actor", "detail", "prev_hash", "hash", "kind", "turn_id"]), dice.randint(1, 20)
    value = tx.execute(f"SELECT {column} FROM audit WHERE id = ?", (row,)).fetchone()[0]
    data = bytearray(value if isinstance(value, bytes) else value.encode())
    data[dice.randrange(len(data))] ^= 1
    tamper(tx, "SELECT 1")
    changed = bytes(data) if isinstance(value, bytes) else data.decode()
    tx.execute(f"UPDATE audit SET {column} = ? WHERE id = ?", (changed, row))
    assert not audit.verify(tx).ok
