"""Spending limits: reserved before, settled after, surviving crashes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.address import AdapterKey, Address, ConversationKey
from hermesd.database import Database, Tx
from hermesd.ledger import turn, usage
from hermesd.ledger.schema import MIGRATIONS
from hermesd.ledger.turn import Outcome, Request, Turn, TurnState
from hermesd.ledger.usage import Spent, Window
from hermesd.lineage import Lineage
from hermesd.ports import Usage
from hermesd.testing.clock import ManualClock
from hermesd.testing.host import MemoryLog
from hermesd.turn import limits
from hermesd.turn.limits import Allowance

DAY = "2027-01-15"
PLACE = Address(AdapterKey("scripted", "main"), "c1", "t9")


@asynccontextmanager
async def ledger(folder: Path) -> AsyncIterator[Database]:
    async with Database.opened(folder / "l.db", MIGRATIONS, log=MemoryLog(), clock=ManualClock()) as opened:
        yield opened


def queued(tx: Tx, name: str, user: str = "u1") -> Turn:
    key = ConversationKey("p", PLACE, "thread")
    asked = Request(name, key=key, why="r", user_id=user, user_name="U", text="x", lineage=Lineage(name, "h"), epoch=1)
    return turn.insert(tx, asked, at=1.0)


def begun(tx: Tx, name: str, allowed: dict[str, Allowance], user: str = "u1", boot: int = 1) -> tuple[Turn, str | None]:
    one = queued(tx, name, user)
    turn.start(tx, name, boot=boot, at=1.0)
    return one, limits.reserve(tx, one, allowed, day=DAY)


def test_a_share_is_that_of_the_tightest_limit() -> None:
    """The largest used share counts; no limit is no share; a limit of zero is used up by anything (promise 6)."""
    assert Allowance().share(Spent(10**6, 10**9, 1e6)) == 0.0
    assert Allowance(turns=10, tokens=1000).share(Spent(5, 900, 99.0)) == 0.9
    assert Allowance(money=2.0).share(Spent(0, 0, 1.0)) == 0.5
    assert Allowance(turns=0).share(Spent(0)) == 0.0
    assert Allowance(turns=0).share(Spent(1)) == 1.0


@given(st.floats(min_value=0, max_value=4e9))
def test_a_budget_day_is_a_utc_day(at: float) -> None:
    """The day of a moment changes at 00:00 UTC and nowhere else, whatever the machine's zone does (OPS-08)."""
    assert (limits.day_of(at) == limits.day_of(at - at % 86_400)) is True
    assert limits.day_of(at) != limits.day_of(at - at % 86_400 + 86_400)


async def test_the_limit_is_never_passed_by_turns_that_run_at_once(tmp_path: Path) -> None:
    """With 3 turns allowed, the fourth that begins is refused kindly although none of the three has ended (HND-11)."""
    allowed = {"user": Allowance(turns=3)}
    async with ledger(tmp_path) as db:
        refusals = [await db.write(lambda tx, n=n: begun(tx, f"t{n}", allowed)[1]) for n in range(4)]
        other = await db.write(lambda tx: begun(tx, "o", allowed, user="u2")[1])
    assert refusals[:3] == [None, None, None]
    assert refusals[3] is not None
    assert "your limit for today" in refusals[3]
    assert other is None


@pytest.mark.parametrize("scope", ["user", "chat", "profile", "day"])
async def test_every_scope_refuses_at_its_end_and_warns_before(tmp_path: Path, scope: str) -> None:
    """Ten turns in a scope: one warning at eight, none after it, a refusal at the eleventh, a new day begins anew."""
    allowed = {scope: Allowance(turns=10)}
    async with ledger(tmp_path) as db:

        def one(tx: Tx, n: int) -> tuple[str | None, str | None]:
            found, refusal = begun(tx, f"t{n}", allowed)
            if refusal is not None:
                return refusal, None
            turn.end(tx, found.id, Outcome(TurnState.DONE), at=2.0)
            return None, limits.settle(tx, found, Usage(10, 5), allowed, day=DAY)

        told = [await db.write(lambda tx, n=n: one(tx, n)) for n in range(11)]
        tomorrow = await db.write(lambda tx: limits.reserve(tx, queued(tx, "x"), allowed, day="2027-01-16"))
    assert [bool(warning) for _, warning in told] == [False] * 7 + [True] + [False] * 3
    assert "80%" in str(told[7][1])
    assert [bool(refusal) for refusal, _ in told] == [False] * 10 + [True]
    assert tomorrow is None


async def test_what_was_used_is_counted_for_every_scope(tmp_path: Path) -> None:
    """Tokens and turns land in user, chat (threads together), profile and day, and the reservation is gone."""
    async with ledger(tmp_path) as db:

        def one(tx: Tx) -> list[tuple[str, str, int, int]]:
            found, _ = begun(tx, "t", {"day": Allowance(turns=5)})
            limits.settle(tx, found, Usage(100, 20), {}, day=DAY)
            assert usage.held(tx, Window(DAY, "day", "all")) == Spent()
            return tx.execute("SELECT scope, subject, turns, tokens FROM usage ORDER BY scope").fetchall()

        assert await db.write(one) == [
            ("chat", "scripted/main:c1", 1, 120), ("day", "all", 1, 120), ("profile", "p", 1, 120),
            ("user", "scripted/main:u1", 1, 120),
        ]  # fmt: skip


async def test_a_running_turn_is_stopped_at_the_end_of_a_limit(tmp_path: Path) -> None:
    """Tokens and money of the running turn count with what is settled; turns do not stop it halfway."""
    async with ledger(tmp_path) as db:

        def one(tx: Tx) -> list[bool]:
            found, _ = begun(tx, "t", {})
            usage.settle(tx, "other", (Window(DAY, "user", "scripted/main:u1"),), Usage(50, 40, 0, 0.5))

            def over(so_far: Usage, **most: float) -> bool:
                allowed = {"user": Allowance(**most)}  # type: ignore[arg-type]
                return limits.over(tx, found, so_far, allowed, day=DAY)

            return [
                over(Usage(9, 1), tokens=100), over(Usage(10, 1), tokens=100), over(Usage(0, 0, 0, 0.6), money=1.0),
                over(Usage(9, 1), turns=1), over(Usage(10**6), money=1.0),
            ]  # fmt: skip

        assert await db.write(one) == [False, True, True, False, False]


async def test_a_crash_makes_nothing_free_and_nothing_double(tmp_path: Path) -> None:
    """Dead boots' reservations become what their turns had used; one that runs again is counted once in the end."""
    allowed = {"user": Allowance(turns=100)}
    window = Window(DAY, "user", "scripted/main:u1")
    async with ledger(tmp_path) as db:

        def crash(tx: Tx) -> None:
            for name in ("again", "over"):
                begun(tx, name, allowed)
                turn.spent(tx, name, Usage(70, 30))
            begun(tx, "mine", allowed, boot=2)
            turn.requeue(tx, "again")
            turn.end(tx, "over", Outcome(TurnState.INTERRUPTED), at=5.0)

        await db.write(crash)
        assert await db.write(lambda tx: usage.settle_dead(tx, boot=2)) == 2
        assert await db.read(lambda tx: usage.counted(tx, window)[0]) == Spent(1, 200)
        assert await db.read(lambda tx: usage.held(tx, window).turns) == 1
        assert await db.write(lambda tx: usage.settle_dead(tx, boot=2)) == 0


async def test_a_turn_that_fails_has_used_what_it_used(tmp_path: Path) -> None:
    """An end without figures of its own keeps the recorded ones; a new attempt begins at nothing (HND-11)."""
    async with ledger(tmp_path) as db:

        def story(tx: Tx) -> tuple[Usage, Usage]:
            begun(tx, "t", {})
            turn.spent(tx, "t", Usage(70, 30, 0, 0.25))
            turn.requeue(tx, "t")
            turn.start(tx, "t", boot=2, at=3.0)
            fresh = turn.used(tx, "t")
            turn.spent(tx, "t", Usage(5, 5))
            turn.end(tx, "t", Outcome(TurnState.FAILED, "no model"), at=4.0)
            return fresh, turn.used(tx, "t")

        fresh, ended = await db.write(story)
    assert fresh == Usage()
    assert ended == Usage(5, 5)
