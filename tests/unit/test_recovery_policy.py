"""What becomes of turns that a dead boot left running."""

from pathlib import Path

import pytest

from hermesd.address import AdapterKey, Address, ConversationKey
from hermesd.database import Database, Tx
from hermesd.ledger import delivery, turn
from hermesd.ledger.schema import MIGRATIONS
from hermesd.ledger.turn import Request, TurnState
from hermesd.lineage import Lineage
from hermesd.ports import ToolCall
from hermesd.testing.clock import ManualClock
from hermesd.testing.host import MemoryLog
from hermesd.turn import recovery


@pytest.mark.parametrize(
    ("attempts", "effects", "state"),
    [
        (0, (), TurnState.QUEUED), (1, (), TurnState.QUEUED), (2, (), TurnState.QUEUED),
        (1, ("note",), TurnState.INTERRUPTED), (2, ("note", "file"), TurnState.INTERRUPTED),
        (3, (), TurnState.DEAD), (3, ("note",), TurnState.DEAD), (9, (), TurnState.DEAD),
    ],
)  # fmt: skip
def test_only_what_did_nothing_runs_again(attempts: int, effects: tuple[str, ...], state: TurnState) -> None:
    """No side effect: again; a side effect begun: asked; three deaths: given up (TRN-01, ING-06)."""
    assert recovery.judge(attempts, effects).state is state


def test_what_a_person_is_told_names_the_tools_once_and_the_way_on() -> None:
    """The notice lists what had begun, each tool once, and says /retry; a rerun tells nobody (TRN-01)."""
    told = recovery.judge(1, ("note", "file", "note"))
    assert "note, file." in told.text
    assert "/retry" in told.text
    assert told.reason == "interrupted in note"
    assert recovery.judge(1, ()).text == ""


def test_a_crash_loop_stops_answering_at_its_limit() -> None:
    """Below the limit nothing changes, at it nothing runs any more, and 0 switches the guard off (OPS-13)."""
    assert recovery.safe_mode(9, 10) == ""
    assert "10 starts" in recovery.safe_mode(10, 10)
    assert recovery.safe_mode(1000, 0) == ""


async def test_recovery_goes_by_boot_and_by_journal(tmp_path: Path) -> None:
    """Turns of earlier boots: clean ones queue again, one with a begun write is ended and its person told, this boot's
    own are left alone (TRN-01, DLG-04).
    """
    place = Address(AdapterKey("scripted", "main"), "c1", "t1")
    key = ConversationKey("p", place, "thread")

    def left(tx: Tx) -> None:
        for name, boot in (("clean", 1), ("read", 1), ("wrote", 1), ("half", 1), ("mine", 2)):
            asked = Request(
                name, key=key, why="r", user_id="u", user_name="U", text="x", lineage=Lineage(name, "h"), epoch=3,
                message_key=f"m-{name}",
            )  # fmt: skip
            turn.insert(tx, asked, at=1.0)
            turn.start(tx, name, boot=boot, at=2.0)
        turn.step_started(tx, "wrote", ToolCall("c1", "note", "{}"), "write", at=3.0)
        turn.step_ended(tx, "wrote", "c1", "done", failed=False, at=3.0)
        turn.step_started(tx, "half", ToolCall("c1", "file", "{}"), "write", at=3.0)

    log, clock = MemoryLog(), ManualClock()
    async with Database.opened(tmp_path / "l.db", MIGRATIONS, log=log, clock=clock) as db:
        await db.write(left)
        assert await db.write(lambda tx: recovery.recover(tx, boot=2, at=9.0)) == 4
        states = await db.read(lambda tx: dict(tx.execute("SELECT id, state FROM turn").fetchall()))
        told = await db.read(lambda tx: [(row.turn_id, row.reply_to, row.address) for row in delivery.open_rows(tx)])
        kinds = await db.read(lambda tx: [k for (k,) in tx.execute("SELECT kind FROM audit ORDER BY id")])
        assert await db.write(lambda tx: recovery.recover(tx, boot=2, at=9.0)) == 0
    assert states == {
        "clean": "queued", "read": "queued", "wrote": "interrupted", "half": "interrupted", "mine": "running"
    }  # fmt: skip
    assert told == [("wrote", "m-wrote", place), ("half", "m-half", place)]
    assert kinds == ["turn.interrupted", "turn.interrupted"]
