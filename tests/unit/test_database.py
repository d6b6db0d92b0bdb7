"""One file, one writer: what callers of the database may rely on while the disk is well."""

import asyncio
import os
import random
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from anyio import CancelScope

from hermesd.clock import SystemClock
from hermesd.database import Database, Migration, Tx
from hermesd.errors import LedgerUnavailable, StateError

TABLE = Migration(1, "CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)")


class Silent:
    def bind(self, **values: Any) -> Any:
        return self

    def debug(self, event: str, **values: Any) -> None: ...

    info = warning = error = debug


def opened(path: Path, migrations: Any = (TABLE,), **options: Any) -> Any:
    return Database.opened(path, migrations, log=Silent(), clock=SystemClock(), **options)


def add(text: str) -> Any:
    return lambda tx: tx.execute("INSERT INTO note(text) VALUES (?)", (text,)).lastrowid


def texts(tx: Tx) -> Any:
    return [row[0] for row in tx.execute("SELECT text FROM note ORDER BY id")]


async def test_a_write_is_visible_to_another_connection_when_it_returns(tmp_path: Path) -> None:
    """What write() returned for is in the file, not in a buffer of this process."""
    async with opened(tmp_path / "a.db") as db:
        assert await db.write(add("one")) == 1
        with sqlite3.connect(tmp_path / "a.db") as other:
            assert texts(other) == ["one"]
        other.close()
        assert await db.read(texts) == ["one"]


async def test_work_queued_together_is_committed_together(tmp_path: Path) -> None:
    """Many callers share a commit instead of paying one each."""
    commits = []
    async with opened(tmp_path / "a.db", crash=commits.append) as db:
        before = commits.count("commit.after")
        numbers = await asyncio.gather(*(db.write(add(str(n))) for n in range(200)))
        assert sorted(numbers) == list(range(1, 201))
        assert commits.count("commit.after") - before <= 3


async def test_an_exception_takes_back_only_its_own_work(tmp_path: Path) -> None:
    """In one commit, a failing unit leaves no trace and its neighbours are stored."""

    def half(tx: Tx) -> None:
        add("half")(tx)
        raise KeyError("mine")

    async with opened(tmp_path / "a.db") as db:
        results = await asyncio.gather(
            db.write(add("first")), db.write(half), db.write(add("last")), return_exceptions=True
        )
        assert isinstance(results[1], KeyError)
        assert await db.read(texts) == ["first", "last"]
        with pytest.raises(KeyError):
            await db.write(half)
        assert await db.read(texts) == ["first", "last"]


async def test_a_broken_rule_of_the_schema_reaches_its_own_caller_as_it_is(tmp_path: Path) -> None:
    """A constraint error is the caller's to understand, alone or in company."""
    async with opened(tmp_path / "a.db") as db:
        await db.write(add("once"))
        with pytest.raises(sqlite3.IntegrityError):
            await db.write(add("once"))
        results = await asyncio.gather(db.write(add("once")), db.write(add("other")), return_exceptions=True)
        assert isinstance(results[0], sqlite3.IntegrityError)
        assert await db.read(texts) == ["once", "other"]


async def test_a_unit_that_rolls_the_transaction_back_does_not_take_neighbours_along(tmp_path: Path) -> None:
    """RAISE(ROLLBACK) and rules checked only at commit hurt the one that broke them."""
    schema = Migration(
        1,
        """
        CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
        CREATE TRIGGER no_bombs BEFORE INSERT ON note WHEN NEW.text = 'bomb'
            BEGIN SELECT RAISE(ROLLBACK, 'boom; all of it'); END;
        CREATE TABLE child(note INTEGER REFERENCES note(id) DEFERRABLE INITIALLY DEFERRED);
        """,
    )

    def orphan(tx: Tx) -> None:
        tx.execute("INSERT INTO child VALUES (999)")

    async with opened(tmp_path / "a.db", (schema,)) as db:
        results = await asyncio.gather(
            db.write(add("first")),
            db.write(add("bomb")),
            db.write(orphan),
            db.write(add("last")),
            return_exceptions=True,
        )
        assert [type(result).__name__ for result in results] == ["int", "IntegrityError", "IntegrityError", "int"]
        assert await db.read(texts) == ["first", "last"]


async def test_work_that_ends_its_transaction_is_refused_loudly(tmp_path: Path) -> None:
    """A unit cannot commit behind the writer's back without being told."""
    async with opened(tmp_path / "a.db") as db:
        with pytest.raises(RuntimeError, match="ended the transaction"):
            await db.write(lambda tx: tx.execute("COMMIT"))
        assert await db.write(add("after")) == 1


async def test_a_read_that_writes_is_refused_loudly(tmp_path: Path) -> None:
    """Work handed to read() by mistake is found out."""
    async with opened(tmp_path / "a.db") as db:
        with pytest.raises(RuntimeError, match=r"handed to read\(\)"):
            await db.read(add("sly"))


async def test_reading_past_the_last_row_reaches_the_caller(tmp_path: Path) -> None:
    """StopIteration, which no future can carry, arrives as an error and not as a hang."""
    async with opened(tmp_path / "a.db") as db:
        with pytest.raises(RuntimeError, match="past the last row"):
            await db.write(lambda tx: next(tx.execute("SELECT 1 WHERE 0")))


@pytest.mark.parametrize("seed", range(8))
async def test_a_cancelled_caller_leaves_all_of_its_work_or_none(tmp_path: Path, seed: int) -> Any:
    """Cancelled at any moment, a pair of rows is there as a pair or not at all, and no transaction stays open."""
    dice = random.Random(seed)

    def pair(n: int) -> Any:
        def work(tx: Tx) -> None:
            add(f"{n}a")(tx)
            add(f"{n}b")(tx)

        return work

    async def turns(count: int) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    async with opened(tmp_path / "a.db") as db:
        done, cancelled = [], 0
        for n in range(120):
            crowd = [asyncio.ensure_future(db.write(pair(f"{n}.{k}"))) for k in range(dice.randint(1, 4))]
            await turns(dice.randint(0, 6))
            victim = dice.choice(crowd)
            victim.cancel()
            for task, result in zip(crowd, await asyncio.gather(*crowd, return_exceptions=True), strict=True):
                cancelled += isinstance(result, asyncio.CancelledError)
                if result is None:
                    done.append(f"{n}.{crowd.index(task)}")
        found = await db.read(texts)
        stored = {text[:-1] for text in found}
        assert cancelled
        assert set(done) <= stored
        assert sorted(found) == sorted(name + side for name in stored for side in "ab")
        assert not await db.read(lambda tx: tx.in_transaction)


async def test_cancelling_the_owner_answers_every_caller_and_closes_the_file(tmp_path: Path) -> None:
    """When the owner is cancelled, queued work is finished, later work is refused, and the journal is folded in."""
    ready = asyncio.Event()
    holder = []

    async def owner() -> None:
        async with opened(tmp_path / "a.db") as db:
            holder.append(db)
            ready.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(owner())
    await ready.wait()
    writes = [asyncio.ensure_future(holder[0].write(add(str(n)))) for n in range(20)]
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(*writes)
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(LedgerUnavailable):
        await holder[0].write(add("late"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]


async def test_a_cancelled_scope_around_the_owner_still_answers_everybody(tmp_path: Path) -> None:
    """A scope that ends the owner does not end a commit that is under way."""
    writes = []
    with CancelScope() as scope:
        async with opened(tmp_path / "a.db") as db:
            writes += [asyncio.ensure_future(db.write(add(str(n)))) for n in range(20)]
            await asyncio.sleep(0)
            scope.cancel()
            await asyncio.Event().wait()
    assert sorted(await asyncio.gather(*writes)) == list(range(1, 21))


async def test_an_exception_of_the_owner_arrives_as_itself(tmp_path: Path) -> None:
    """`async with` around a database does not wrap what is raised inside it."""
    with pytest.raises(ZeroDivisionError):
        async with opened(tmp_path / "a.db"):
            raise ZeroDivisionError


async def test_files_and_folder_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """Under umask 022 the folder is 0700 and the file, its journal and its index are 0600 (ISO-06)."""
    before = os.umask(0o022)
    try:
        async with opened(tmp_path / "deep" / "state" / "a.db") as db:
            await db.write(add("x"))
            files = list((tmp_path / "deep" / "state").iterdir())
            assert len(files) == 3
            assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
            assert stat.S_IMODE((tmp_path / "deep" / "state").stat().st_mode) == 0o700
    finally:
        os.umask(before)


async def test_a_readable_file_becomes_private_when_it_is_opened(tmp_path: Path) -> None:
    """A database restored with mode 0644 does not stay readable."""
    async with opened(tmp_path / "a.db"):
        pass
    (tmp_path / "a.db").chmod(0o644)
    async with opened(tmp_path / "a.db") as db:
        await db.write(add("x"))
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("target", ["file", "missing", "folder"])
async def test_a_symbolic_link_is_refused(tmp_path: Path, target: str) -> None:
    """A link in place of the file is never followed, whatever it points at."""
    real = tmp_path / "elsewhere"
    if target == "file":
        real.write_bytes(b"")
    elif target == "folder":
        real.mkdir()
    (tmp_path / "a.db").symlink_to(real)
    with pytest.raises(StateError, match="symbolic link"):
        async with opened(tmp_path / "a.db"):
            pass
    assert real.exists() == (target != "missing")


async def test_settings_that_make_a_commit_durable_are_on(tmp_path: Path) -> Any:
    """WAL, full synchronisation, foreign keys and secure delete hold on the one connection."""

    def pragmas(tx: Tx) -> Any:
        return [
            tx.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "cache_size")
        ]

    async with opened(tmp_path / "a.db", cache_kib=256) as db:
        assert await db.read(pragmas) == ["wal", 2, 1, 1, -256]
