"""What the end of a send means for its row. Pure."""

from dataclasses import dataclass

from hermesd.errors import Ambiguous, Migrated, PlatformError, RateLimited, Rejected, Unauthorized, Unreachable
from hermesd.ledger.delivery import DeliveryState

#: shown above a part that may have arrived before
DUPLICATE_MARK = "♻️ *This may be a duplicate: the connection broke while it was being sent.*\n\n"
#: seconds: first and longest wait before another try
FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
#: sends of one part that may end in an error nobody knows the meaning of
MOST_UNKNOWN = 5
#: a place that is gone is told to nobody; a place that is closed may open again
_PARKED_REASONS = frozenset({"thread_closed"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The next state of a row and how long to leave it alone."""

    state: DeliveryState
    reason: str = ""
    #: seconds from now
    wait: float = 0.0
    #: the chat's new id, where the platform says it moved
    moved_to: str | None = None
    #: the token is refused: nothing of this bot can go out
    unauthorized: bool = False


def backoff(attempts: int) -> float:
    """Seconds before the next try after that many begun sends."""
    return float(min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(max(attempts - 1, 0), 12)))


def judge(error: Exception, *, attempts: int) -> Verdict:
    """What to do with a part whose send ended in this error."""
    match error:
        case RateLimited():
            return Verdict(DeliveryState.PENDING, "rate limited", max(error.retry_after, FIRST_WAIT))
        case Migrated():
            return Verdict(DeliveryState.PENDING, "migrated", moved_to=error.new_chat_id)
        case Unauthorized():
            return Verdict(DeliveryState.PENDING, "unauthorized", backoff(attempts), unauthorized=True)
        case Unreachable():
            return Verdict(DeliveryState.PENDING, "unreachable", backoff(attempts))
        case Rejected():
            gone = DeliveryState.PARKED if error.reason in _PARKED_REASONS else DeliveryState.FAILED
            return Verdict(gone, error.reason)
        case Ambiguous() | PlatformError():
            return Verdict(DeliveryState.AMBIGUOUS, "connection broke", backoff(attempts))
        case _ if attempts >= MOST_UNKNOWN:
            # a part that its adapter cannot cope with must not keep the rest of the chat waiting for ever
            return Verdict(DeliveryState.FAILED, f"adapter error: {type(error).__name__}")
        case _:
            # an adapter's own mistake: nobody knows how far it came
            return Verdict(DeliveryState.AMBIGUOUS, type(error).__name__, backoff(attempts))
