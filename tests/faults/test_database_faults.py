"""Full disks, locks, damage and kills: what the database does while things go wrong (OPS-04, OPS-05, OPS-06)."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from hermesd.clock import Clock, SystemClock
from hermesd.database import Database, DatabaseHealth, Migration, Tx
from hermesd.errors import LedgerUnavailable, StateError

TABLE = Migration(1, "CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)")
REPOSITORY = Path(__file__).parents[2]


class Silent:
    def bind(self, **values: Any) -> Any:
        return self

    def debug(self, event: str, **values: Any) -> None: ...

    info = warning = error = debug


class JumpingClock:
    """Time that passes only in sleeps, and at once."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.sleeps = []

    def now(self) -> Any:
        return self.time

    monotonic = now

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)


class StillClock(JumpingClock):
    """Time that stands; a sleeper sleeps until somebody wakes it."""

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await asyncio.Event().wait()


class Watch:
    """Signals each change of health."""

    def __init__(self) -> None:
        self.states = []
        self.trouble = asyncio.Event()

    def __call__(self, health: DatabaseHealth) -> None:
        self.states.append(health.state)
        if health.state != "ok":
            self.trouble.set()


def opened(path: Path, clock: Clock | None = None, **options: Any) -> Any:
    return Database.opened(path, (TABLE,), log=Silent(), clock=clock or SystemClock(), **options)


def add(text: str) -> Any:
    return lambda tx: tx.execute("INSERT INTO note(text) VALUES (?)", (text,)).lastrowid


def texts(tx: Tx) -> Any:
    return [row[0] for row in tx.execute("SELECT text FROM note ORDER BY id")]


def limit(pages: int) -> Any:
    return lambda tx: tx.execute(f"PRAGMA max_page_count = {pages}").fetchone()


async def test_a_full_disk_makes_callers_wait_and_space_lets_them_go_on(tmp_path: Path) -> None:
    """While the file cannot grow nobody is told `stored`; when it can, everything is stored once, in order (OPS-04)."""
    watch = Watch()
    async with opened(tmp_path / "a.db", on_health=watch) as db:
        await db.read(limit(6))
        writes = [asyncio.ensure_future(db.write(add(f"{n:03}" + "x" * 1000))) for n in range(40)]
        await watch.trouble.wait()
        assert db.health.state == "full"
        assert "SQLITE_FULL" in db.health.detail
        stored = set(await db.read(texts))
        acknowledged = [task for task in writes if task.done()]
        assert len(acknowledged) <= len(stored) < 40
        await db.read(limit(10_000))
        await asyncio.gather(*writes)
        assert [text[:3] for text in await db.read(texts)] == [f"{n:03}" for n in range(40)]
        assert db.health.state == "ok"
        assert watch.states == ["full", "ok"]
        assert await db.read(lambda tx: tx.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"


async def test_back_off_grows_to_two_seconds_and_no_further(tmp_path: Path) -> None:
    """Attempts against a full disk come at 0.05 s, doubling to 2 s, so recovery is noticed within seconds."""
    clock = JumpingClock()
    async with opened(tmp_path / "a.db", clock) as db:
        await db.read(limit(3))
        with pytest.raises(LedgerUnavailable, match="SQLITE_FULL"):
            await db.write(add("x" * 9000), give_up=20.0)
    assert [round(s, 2) for s in clock.sleeps[:8]] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert sum(clock.sleeps) == pytest.approx(20.0)


async def test_a_caller_that_gives_up_does_not_wait_out_the_back_off_of_others(tmp_path: Path) -> None:
    """A caller with a limit is answered by its limit even when the writer is in a long pause for somebody else."""
    watch = Watch()
    async with opened(tmp_path / "a.db", StillClock(), on_health=watch) as db:
        await db.read(limit(3))
        patient = asyncio.ensure_future(db.write(add("p" * 9000)))
        await watch.trouble.wait()
        with pytest.raises(LedgerUnavailable) as refusal:
            await db.write(add("small"), give_up=0.0)
        assert "free space" in refusal.value.hint
        assert not patient.done()
        await db.read(limit(1000))
        assert await db.write(add("wakes the writer"), give_up=0.0)
        await patient
        assert len(await db.read(texts)) == 2


async def test_closing_while_the_disk_is_full_refuses_who_still_waits(tmp_path: Path) -> None:
    """A drain ends although the disk does not recover; waiting callers hear that nothing is known to be stored."""
    watch = Watch()
    async with opened(tmp_path / "a.db", StillClock(), on_health=watch) as db:
        await db.read(limit(3))
        patient = asyncio.ensure_future(db.write(add("p" * 9000)))
        await watch.trouble.wait()
    with pytest.raises(LedgerUnavailable):
        await patient


async def test_a_lock_held_by_another_program_stops_writes_but_not_reads_or_the_loop(tmp_path: Path) -> None:
    """During a foreign BEGIN IMMEDIATE reads go on and work queues; after it nothing is missing (OPS-05)."""
    watch = Watch()
    async with opened(tmp_path / "a.db", on_health=watch) as db:
        other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writes = [asyncio.ensure_future(db.write(add(str(n)))) for n in range(50)]
        await watch.trouble.wait()
        for _ in range(20):
            assert await db.read(texts) == []
        assert db.health.state == "busy"
        assert not any(task.done() for task in writes)
        other.execute("ROLLBACK")
        other.close()
        await asyncio.gather(*writes)
        assert await db.read(texts) == [str(n) for n in range(50)]


@pytest.mark.parametrize("failing", range(1, 6))
async def test_any_failing_commit_loses_nothing_and_doubles_nothing(tmp_path: Path, failing: int) -> None:
    """Whichever attempts the disk refuses, every row is there exactly once and no transaction stays open."""
    attempts = 0

    def refuse(point: str) -> None:
        nonlocal attempts
        if point == "commit.before":
            attempts += 1
            if attempts % 5 < failing and attempts < 40:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
                raise error

    async def caller(name: str) -> None:
        for n in range(5):
            await db.write(add(f"{name}.{n}"))

    async with opened(tmp_path / "a.db", JumpingClock(), crash=refuse) as db:
        await asyncio.gather(*(caller(k) for k in range(8)))
        found = await db.read(texts)
        assert sorted(found) == sorted(f"{k}.{n}" for k in range(8) for n in range(5))
        assert attempts > 5
        assert not await db.read(lambda tx: tx.in_transaction)


def run_child(script: str, *arguments: Any) -> Any:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PREAMBLE) + textwrap.dedent(script), *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


PREAMBLE = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from hermesd.clock import SystemClock
    from hermesd.database import Database, Migration
    class Silent:
        def bind(self, **values): return self
        def debug(self, event, **values): ...
        info = warning = error = debug
    def opened(path, migrations, **options):
        return Database.opened(Path(path), migrations, log=Silent(), clock=SystemClock(), **options)
    TABLE = Migration(1, "CREATE TABLE note(id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)")
    def add(text):
        return lambda tx: tx.execute("INSERT INTO note(text) VALUES (?)", (text,)).lastrowid
"""


def test_a_file_size_limit_is_survived_and_lifted(tmp_path: Path) -> None:
    """A real write error of the kernel (EFBIG) pauses writes; when it is lifted all rows are stored (OPS-04)."""
    done = run_child(
        """
        import resource
        async def main(path):
            trouble = asyncio.Event()
            async with opened(path, (TABLE,), on_health=lambda health: trouble.set()) as db:
                resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
                writes = [asyncio.ensure_future(db.write(add(f"{n:03}" + "x" * 2000))) for n in range(60)]
                await trouble.wait()
                assert db.health.state == "failed", db.health
                assert not all(task.done() for task in writes)
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                await asyncio.gather(*writes)
                def judge(tx):
                    one = lambda sql: tx.execute(sql).fetchone()[0]
                    return one("SELECT count(*) FROM note"), one("PRAGMA integrity_check")
                assert await db.read(judge) == (60, "ok")
                print("all there", db.health.state)
        asyncio.run(main(sys.argv[1]))
        """,
        tmp_path / "a.db",
    )
    assert done.stdout == "all there ok\n", done.stderr


@pytest.mark.parametrize("point", ["commit.before", "commit.after"])
def test_a_kill_around_the_commit_keeps_what_was_acknowledged(tmp_path: Path, point: str) -> None:
    """SIGKILL just before or after a commit: acknowledged rows are there, the killed pair is whole or absent."""
    done = run_child(
        """
        async def main(path, point):
            hits = 0
            def crash(name):
                nonlocal hits
                hits += name == point
                if hits == 4:
                    os.kill(os.getpid(), signal.SIGKILL)
            def pair(n):
                return lambda tx: (add(f"{n}a")(tx), add(f"{n}b")(tx))
            async with opened(path, (TABLE,), crash=crash) as db:
                for n in range(10):
                    await db.write(pair(n))
                    print(n, flush=True)
        asyncio.run(main(*sys.argv[1:]))
        """,
        tmp_path / "a.db",
        point,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    acknowledged = done.stdout.split()
    assert acknowledged == ["0", "1", "2"]
    with sqlite3.connect(tmp_path / "a.db") as tx:
        found = texts(tx)
    tx.close()
    assert found[:6] == ["0a", "0b", "1a", "1b", "2a", "2b"]
    assert found[6:] == ([] if point == "commit.before" else ["3a", "3b"])


STEPS = """
    STEPS = (
        Migration(1, "CREATE TABLE a(x); INSERT INTO a VALUES (1);"),
        Migration(2, "ALTER TABLE a ADD COLUMN y; UPDATE a SET y = x * 2; CREATE TABLE b AS SELECT y FROM a;"),
        Migration(3, "DROP TABLE a; CREATE TRIGGER t AFTER INSERT ON b BEGIN UPDATE b SET y = 7; DELETE FROM b; END;"),
    )
"""
POINTS = [
    f"migration.{number}.{step}"
    for number, count in ((1, 2), (2, 3), (3, 2))
    for step in (*range(count), "before_commit", "after_commit")
]


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_step_of_a_migration_is_taken_up_by_the_next_start(tmp_path: Path, point: str) -> None:
    """Killed after any statement of any migration, the next start ends at the newest schema with the data (OPS-06)."""
    script = (
        textwrap.dedent(STEPS)
        + """
async def main(path, point):
    def crash(name):
        if name == point:
            os.kill(os.getpid(), signal.SIGKILL)
    async with opened(path, STEPS, crash=crash) as db:
        for sql in ("PRAGMA user_version", "SELECT * FROM b", "SELECT name FROM sqlite_master ORDER BY 1"):
            print(await db.read(lambda tx: tx.execute(sql).fetchall()), end=" ")
asyncio.run(main(*sys.argv[1:]))
"""
    )
    assert run_child(script, tmp_path / "a.db", point).returncode == -signal.SIGKILL
    again = run_child(script, tmp_path / "a.db", "none")
    assert again.stdout.strip() == "[(3,)] [(2,)] [('b',), ('t',)]", again.stderr


async def make(path: Path, rows: int = 200) -> None:
    async with opened(path) as db:
        await db.write(lambda tx: [add(f"{n}" + "x" * 500)(tx) for n in range(rows)] and None)


async def test_a_flipped_page_is_refused_and_kept(tmp_path: Path) -> None:
    """A damaged file is not opened, not changed, and the message says where it is and what to do (OPS-06)."""
    path = tmp_path / "a.db"
    await make(path)
    data = bytearray(path.read_bytes())
    data[4096 * 3 : 4096 * 4] = bytes(byte ^ 0xFF for byte in data[4096 * 3 : 4096 * 4])
    path.write_bytes(data)
    with pytest.raises(StateError, match="damaged") as refusal:
        async with opened(path):
            pass
    assert str(path) in str(refusal.value)
    assert "restore a backup" in refusal.value.hint
    assert path.read_bytes() == bytes(data)


async def test_damage_found_while_running_reaches_the_caller_as_what_it_is(tmp_path: Path) -> None:
    """A page that rots under a running daemon fails the work that meets it with StateError, without a hang."""
    path = tmp_path / "a.db"
    await make(path)
    async with opened(path, cache_kib=16) as db:
        data = bytearray(path.read_bytes())
        data[4096:] = bytes(byte ^ 0xFF for byte in data[4096:])
        with path.open("r+b") as file:
            file.write(data)
        with pytest.raises(StateError, match="damaged"):
            await db.read(texts)
        with pytest.raises(StateError, match="damaged"):
            await db.write(add("new"))


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Random bytes in place of the file are named as damage and kept."""
    (tmp_path / "a.db").write_bytes(b"not a database at all, " * 100)
    with pytest.raises(StateError, match="damaged"):
        async with opened(tmp_path / "a.db"):
            pass
    assert (tmp_path / "a.db").read_bytes().startswith(b"not a database")


async def test_a_journal_without_its_database_is_not_thrown_away(tmp_path: Path) -> None:
    """When the main file is gone but its journal is not, nothing is begun anew over it."""
    path = tmp_path / "a.db"
    wal = tmp_path / "a.db-wal"
    wal.write_bytes(b"the last committed work")
    with pytest.raises(StateError, match="journal"):
        async with opened(path):
            pass
    assert wal.read_bytes() == b"the last committed work"


async def test_a_newer_schema_is_refused_unchanged(tmp_path: Path) -> None:
    """A downgrade does not touch the file and says what to do."""
    path = tmp_path / "a.db"
    await make(path, 1)
    with sqlite3.connect(path) as tx:
        tx.execute("PRAGMA user_version = 99")
    tx.close()
    with pytest.raises(StateError, match="schema 99") as refusal:
        async with opened(path):
            pass
    assert "newer hermesd" in refusal.value.hint


async def test_a_database_of_another_program_is_refused_unchanged(tmp_path: Path) -> None:
    """An SQLite file that is not ours gets no table of ours."""
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as tx:
        tx.execute("CREATE TABLE theirs(x)")
    tx.close()
    with pytest.raises(StateError, match="another program"):
        async with opened(path):
            pass
    with sqlite3.connect(path) as tx:
        assert [row[0] for row in tx.execute("SELECT name FROM sqlite_master")] == ["theirs"]
    tx.close()


def test_without_free_descriptors_opening_fails_cleanly_and_later_works(tmp_path: Path) -> None:
    """No descriptor left is a refusal that says so, not a crash or a leak; with descriptors the same call works."""
    done = run_child(
        """
        import resource
        from hermesd.errors import OperatorError
        async def main(path):
            hoard = []
            async with opened(path, (TABLE,)) as db:
                resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
                try:
                    while True:
                        hoard.append(os.open("/dev/null", os.O_RDONLY))
                except OSError:
                    pass
                await db.write(add("an open database keeps its descriptors"))
                for spare in range(5):
                    try:
                        async with opened(path + "2", (TABLE,)):
                            print("opened with", spare)
                    except OperatorError as error:
                        print(type(error).__name__)
                    os.close(hoard.pop())
                for handle in hoard:
                    os.close(handle)
                async with opened(path + "2", (TABLE,)) as second:
                    await second.write(add("fine"))
            print("ok")
        asyncio.run(main(sys.argv[1]))
        """,
        tmp_path / "a.db",
    )
    assert done.stdout.split("\n")[-2] == "ok", done.stderr + done.stdout
    assert "LedgerUnavailable" in done.stdout
    assert "StateError" not in done.stdout
