"""What becomes of turns that a dead boot left running."""

from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex

from hermesd import audit
from hermesd.database import Tx
from hermesd.ledger import delivery
from hermesd.ledger import turn as turns
from hermesd.ledger.delivery import Draft
from hermesd.ledger.turn import Outcome, TurnState

#: seconds in which crashes are counted against `crash_limit`
CRASH_WINDOW = 300.0
#: runs after which a turn is no longer tried
MOST_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where a left-over turn goes and what its person is told; queued again is told to nobody."""

    state: TurnState
    reason: str = ""
    text: str = ""


def judge(attempts: int, side_effects: Sequence[str]) -> Verdict:
    """Run again only what did nothing yet; ask about the rest; give up on what keeps killing the daemon. Pure."""
    if attempts >= MOST_ATTEMPTS:
        return Verdict(
            TurnState.DEAD,
            f"the daemon died {attempts} times while it ran",
            f"I gave up on your last message: I was stopped {attempts} times while working on it. "
            "It is kept on record; /retry tries it once more.",
        )
    if side_effects:
        names = ", ".join(dict.fromkeys(side_effects))
        return Verdict(
            TurnState.INTERRUPTED,
            f"interrupted in {side_effects[-1]}",
            f"I was interrupted in the middle of your last message, after I had begun: {names}. "
            "I did not do it again. Look whether it took effect, then /retry to run the message again.",
        )
    return Verdict(TurnState.QUEUED)


def safe_mode(crashes: int, limit: int) -> str:
    """Why nothing may run until an operator says so, or "": a crash loop must not spend money. Pure."""
    if not limit or crashes < limit:
        return ""
    minutes = f"{CRASH_WINDOW / 60:.0f} minutes"
    return f"{crashes} starts in the last {minutes} ended in a crash: messages are kept, none is answered"


def recover(tx: Tx, *, boot: int, at: float) -> int:
    """Decide about everything that earlier boots left running; what people must be told is stored to be sent.

    Returns how many turns were found.
    """
    left = turns.left_running(tx, boot=boot)
    for turn in left:
        verdict = judge(turn.attempts, turns.side_effects(tx, turn.id))
        if verdict.state is TurnState.QUEUED:
            turns.requeue(tx, turn.id)
            continue
        turns.end(tx, turn.id, Outcome(verdict.state, verdict.reason), at=at)
        draft = Draft(token_hex(12), turn.address, 1, 1, verdict.text, turn.message_key)
        delivery.insert(tx, [draft], turn_id=turn.id, boot=boot, at=at)
        audit.append(
            tx, at=at, kind=f"turn.{verdict.state}", actor="hermesd", subject=turn.id, target=turn.profile,
            rule=verdict.reason, turn_id=turn.id,
        )  # fmt: skip
    return len(left)
