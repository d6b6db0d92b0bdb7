"""The state machines of the ledger: drawn, tabled, and enforced by the statements themselves."""

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from enum import StrEnum
from itertools import product
from pathlib import Path

import pytest

from hermesd.address import AdapterKey, Address, ConversationKey
from hermesd.database import Database, Tx
from hermesd.ledger import delivery, inbound, turn
from hermesd.ledger.delivery import DeliveryState, Draft
from hermesd.ledger.inbound import InboundState
from hermesd.ledger.schema import MIGRATIONS
from hermesd.ledger.turn import Outcome, Request, TurnState
from hermesd.lineage import Lineage
from hermesd.message import RawEvent
from hermesd.testing.clock import ManualClock
from hermesd.testing.host import MemoryLog

BOT = AdapterKey("scripted", "main")
PLACE = Address(BOT, "c1")


@asynccontextmanager
async def ledger(folder: Path) -> AsyncIterator[Database]:
    async with Database.opened(folder / "ledger.db", MIGRATIONS, log=MemoryLog(), clock=ManualClock()) as opened:
        yield opened


def drawn(picture: str, states: Iterable[str]) -> set[tuple[str, str]]:
    """Every arrow of a picture: `a ──> b, c` and branches below the state they hang from."""
    names, found, above = set(states), set[tuple[str, str]](), list[tuple[str, int, int]]()
    for line in picture.splitlines():
        arrows = list(re.finditer(r"[├└]?─+>\s*((?:[a-z]+)(?:, [a-z]+)*)", line))
        words = [(m[0], m.start(), m.end()) for m in re.finditer(r"[a-z]+", line) if m[0] in names]
        if not arrows:
            continue
        for arrow in arrows:
            branch = arrow[0][0] in "├└"
            left = [w for w in words if w[2] <= arrow.start()]
            sources = [w for w in above if w[1] <= arrow.start() < w[2]] if branch else left[-1:]
            assert len(sources) == 1, f"no state stands before {line!r}"
            found |= {(sources[0][0], target) for target in arrow[1].split(", ") if target in names}
        if arrows[0][0][0] not in "├└":
            above = words
    return found


def tabled(table: Mapping[StrEnum, frozenset[StrEnum]]) -> set[tuple[str, str]]:
    return {(str(source), str(target)) for source, targets in table.items() for target in targets}


def test_the_picture_of_a_delivery_is_its_table() -> None:
    """What the docstring draws is what the code allows, arrow for arrow (house rule 13)."""
    assert drawn(str(delivery.__doc__), DeliveryState) == tabled(delivery.TRANSITIONS)


def test_the_picture_of_a_turn_is_its_table() -> None:
    """What the docstring draws is what the code allows, arrow for arrow (house rule 13)."""
    assert drawn(str(turn.__doc__), TurnState) == tabled(turn.TRANSITIONS)


def test_the_picture_of_an_event_leads_once_from_received() -> None:
    """An event leaves `received` for each other state and no state leads anywhere else (house rule 13)."""
    others = set(InboundState) - {InboundState.RECEIVED}
    assert drawn(str(inbound.__doc__), InboundState) == {("received", str(state)) for state in others}


def test_the_reader_of_pictures_sees_a_missing_arrow() -> None:
    """The comparison bites: a picture without one arrow is not the same picture."""
    lines = str(turn.__doc__).splitlines()
    poorer = "\n".join(line for line in lines if "interrupted" not in line)
    assert drawn(poorer, TurnState) == tabled(turn.TRANSITIONS) - {("running", "interrupted")}


def _put_delivery(tx: Tx, name: str, state: DeliveryState) -> None:
    delivery.insert(tx, [Draft(name, PLACE, 1, 1, "x")], turn_id=None, boot=1, at=1.0)
    tx.execute("UPDATE delivery SET state = ? WHERE id = ?", (state.value, name))


async def test_a_delivery_moves_only_along_the_table(tmp_path: Path) -> None:
    """From every state to every state, the statement itself refuses what the table does not hold."""
    async with ledger(tmp_path) as db:
        moved = set()
        for source, target in product(DeliveryState, DeliveryState):
            name = f"{source}-{target}"
            await db.write(lambda tx, n=name, s=source: _put_delivery(tx, n, s))
            if await db.write(lambda tx, n=name, t=target: delivery.move(tx, n, t, boot=1, at=2.0)):
                moved.add((str(source), str(target)))
    assert moved == tabled(delivery.TRANSITIONS)


def request(name: str, text: str = "hello") -> Request:
    key = ConversationKey("default", PLACE, "dm")
    return Request(
        name, key=key, why="r", user_id="u1", user_name="Ada", text=text, lineage=Lineage(name, "h"), epoch=1
    )


async def test_a_turn_moves_only_along_the_table(tmp_path: Path) -> None:
    """Claim, end and requeue together allow exactly the table; a terminal state stays terminal (TRN-07)."""
    async with ledger(tmp_path) as db:
        moved = set()
        for source, target in product(TurnState, TurnState):
            name = f"{source}-{target}"

            def attempt(tx: Tx, name: str = name, source: TurnState = source, target: TurnState = target) -> bool:
                turn.insert(tx, request(name), at=1.0)
                tx.execute("UPDATE turn SET state = ? WHERE id = ?", (source.value, name))
                if target is TurnState.RUNNING:
                    return turn.start(tx, name, boot=1, at=2.0)
                if target is TurnState.QUEUED:
                    return turn.requeue(tx, name)
                return turn.end(tx, name, Outcome(target), at=2.0)

            if await db.write(attempt):
                moved.add((str(source), str(target)))
    assert moved == tabled(turn.TRANSITIONS)


async def test_an_event_is_decided_once(tmp_path: Path) -> None:
    """The first decision about an event stands, whatever comes later (ING-03)."""
    async with ledger(tmp_path) as db:
        (stored,) = await db.write(lambda tx: inbound.store(tx, BOT, [RawEvent("e1", {})], "7", at=1.0))
        assert await db.write(lambda tx: inbound.decide(tx, stored.seq, InboundState.ANSWERED, message_key="m1"))
        for state in InboundState:
            assert not await db.write(lambda tx, s=state: inbound.decide(tx, stored.seq, s, message_key="m2"))
        assert await db.read(lambda tx: tx.execute("SELECT state, message_key FROM inbound").fetchall()) == [
            ("answered", "m1")
        ]


async def test_one_message_under_two_event_ids_is_decided_once(tmp_path: Path) -> None:
    """The second event of one platform message becomes `ignored: repeat` and says so to the caller (ING-03)."""
    async with ledger(tmp_path) as db:
        first, second = await db.write(
            lambda tx: inbound.store(tx, BOT, [RawEvent("e1", {}), RawEvent("e2", {})], None, at=1.0)
        )
        assert await db.write(lambda tx: inbound.decide(tx, first.seq, InboundState.QUEUED, message_key="m1"))
        assert not await db.write(lambda tx: inbound.decide(tx, second.seq, InboundState.QUEUED, message_key="m1"))
        rows = await db.read(lambda tx: tx.execute("SELECT state, reason FROM inbound ORDER BY seq").fetchall())
    assert rows == [("queued", ""), ("ignored", "repeat")]


async def test_events_are_remembered_by_membership_and_stored_with_their_cursor(tmp_path: Path) -> None:
    """A repeated id is left out, a smaller new id is not, and the cursor is the last one handed in (ING-03, ING-04)."""
    async with ledger(tmp_path) as db:
        events = [RawEvent(str(n), {"n": n}) for n in (900_000_000, 900_000_001)]
        assert len(await db.write(lambda tx: inbound.store(tx, BOT, events, "900000002", at=1.0))) == 2
        again = [*events, RawEvent("100000", {})]
        (fresh,) = await db.write(lambda tx: inbound.store(tx, BOT, again, "100001", at=2.0))
        assert fresh.event.event_id == "100000"
        assert await db.read(lambda tx: inbound.cursor(tx, BOT)) == "100001"
        other = AdapterKey("scripted", "other")
        assert len(await db.write(lambda tx: inbound.store(tx, other, events, None, at=3.0))) == 2
        assert await db.read(lambda tx: inbound.cursor(tx, other)) is None


async def test_forgetting_never_touches_what_is_open(tmp_path: Path) -> None:
    """However old: undecided events, open and unfiled turns with their steps, and unsent parts stay (promise 1)."""
    async with ledger(tmp_path) as db:

        def fill(tx: Tx) -> None:
            for state in InboundState:
                (stored,) = inbound.store(tx, BOT, [RawEvent(f"{state}", {"x": 1})], None, at=1.0)
                tx.execute("UPDATE inbound SET state = ? WHERE seq = ?", (state.value, stored.seq))
            for kind in TurnState:
                turn.insert(tx, request(str(kind)), at=1.0)
                tx.execute("INSERT INTO step VALUES (?, 'c', 0, 't', '{}', 'write', 1, 2, 'r', 0)", (str(kind),))
                ended = None if kind in (TurnState.QUEUED, TurnState.RUNNING) else 2.0
                tx.execute("UPDATE turn SET state = ?, ended_at = ? WHERE id = ?", (kind.value, ended, str(kind)))
            turn.insert(tx, request("filed"), at=1.0)
            tx.execute("UPDATE turn SET state = 'done', ended_at = 2.0, filed = 1 WHERE id = 'filed'")
            for one in DeliveryState:
                _put_delivery(tx, str(one), one)

        await db.write(fill)

        def purge(tx: Tx) -> None:
            inbound.purge(tx, raw_before=1e12, rows_before=1e12)
            turn.purge(tx, before=1e12)
            delivery.purge(tx, before=1e12)

        await db.write(purge)
        events = await db.read(lambda tx: dict(tx.execute("SELECT state, raw FROM inbound").fetchall()))
        left = await db.read(lambda tx: {name for (name,) in tx.execute("SELECT id FROM turn")})
        steps = await db.read(lambda tx: {name for (name,) in tx.execute("SELECT turn_id FROM step")})
        parts = await db.read(lambda tx: {state for (state,) in tx.execute("SELECT state FROM delivery")})
    assert events.keys() == {"received", "quarantined"}
    assert events["received"] == '{"x":1}'
    assert left == steps == {"queued", "running", "done"}
    assert parts == {"pending", "attempting", "ambiguous", "parked"}


async def test_what_is_young_is_kept(tmp_path: Path) -> None:
    """Identities of the retention window survive a purge, so that a late repeat is still known (ING-03)."""
    async with ledger(tmp_path) as db:
        day = 86_400.0
        at = 100 * day
        for age in (29, 31):
            name = f"e{age}"
            (stored,) = await db.write(
                lambda tx, n=name, a=age: inbound.store(tx, BOT, [RawEvent(n, {})], None, at=at - a * day)
            )
            await db.write(lambda tx, s=stored: inbound.decide(tx, s.seq, InboundState.IGNORED))
        await db.write(lambda tx: inbound.purge(tx, raw_before=at - 30 * day, rows_before=at - 30 * day))
        left = await db.read(lambda tx: [name for (name,) in tx.execute("SELECT event_id FROM inbound")])
    assert left == ["e29"]


async def test_a_doubtful_part_stays_doubtful(tmp_path: Path) -> None:
    """Once a send may have arrived, no later state takes the mark away: limits, parking, another boot (DLV-01)."""
    async with ledger(tmp_path) as db:

        def story(tx: Tx) -> None:
            delivery.insert(tx, [Draft("d", PLACE, 1, 1, "x")], turn_id=None, boot=1, at=1.0, begin_first=True)
            for state in ("ambiguous", "attempting", "pending", "parked"):
                assert delivery.move(tx, "d", DeliveryState(state), boot=1, at=2.0)
            (row,) = delivery.unpark_bot(tx, BOT)
            assert row.doubtful
            assert row.state is DeliveryState.PENDING
            assert delivery.open_rows(tx) == (row,)

        await db.write(story)


async def test_a_crash_in_a_send_is_doubt_and_only_there(tmp_path: Path) -> None:
    """At boot, parts begun by an earlier boot become doubtful; those of this boot and those that waited do not."""
    async with ledger(tmp_path) as db:

        def story(tx: Tx) -> dict[str, bool]:
            for name, boot, begun in (("old", 1, True), ("waited", 1, False), ("mine", 2, True)):
                draft = Draft(name, PLACE, 1, 1, "x")
                delivery.insert(tx, [draft], turn_id=None, boot=boot, at=1.0, begin_first=begun)
            assert delivery.recover(tx, boot=2) == 1
            return {row.id: row.doubtful for row in delivery.open_rows(tx)}

        assert await db.write(story) == {"old": True, "waited": False, "mine": False}


@pytest.mark.parametrize("platform", ["scripted", "p:1", "3:abc"])
async def test_a_turn_reads_back_as_it_was_written(tmp_path: Path, platform: str) -> None:
    """Every field of a queued turn survives the disk, hostile ids included."""
    place = Address(AdapterKey(platform, "b-:1"), "chat:-", "thread/%3A", "guild")
    key = ConversationKey("a", place, "thread", "u:1-")
    wanted = Request(
        "t", key=key, why="because", user_id="u:1-", user_name="Ada\n", text="héllo 🎈", epoch=7, role="director",
        lineage=Lineage("r", "h", ("x", "y")), inbound_seq=3, message_key="m",
    )  # fmt: skip
    async with ledger(tmp_path) as db:
        written = await db.write(lambda tx: turn.insert(tx, wanted, at=5.0))
        assert await db.read(turn.queued) == (written,)
        assert written.address.guild == "guild"
