"""What the end of a send means for its row."""

import pytest

from hermesd.delivery.policy import FIRST_WAIT, LONGEST_WAIT, Verdict, backoff, judge
from hermesd.errors import (
    Ambiguous,
    Conflict,
    Migrated,
    PlatformError,
    RateLimited,
    Rejected,
    Unauthorized,
    Unreachable,
)
from hermesd.ledger.delivery import DeliveryState as S


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (RateLimited("x", retry_after=7), Verdict(S.PENDING, "rate limited", 7.0)),
        (RateLimited("x", retry_after=0), Verdict(S.PENDING, "rate limited", FIRST_WAIT)),
        (Migrated("x", new_chat_id="n"), Verdict(S.PENDING, "migrated", moved_to="n")),
        (Unauthorized("x"), Verdict(S.PENDING, "unauthorized", 4.0, unauthorized=True)),
        (Unreachable("x"), Verdict(S.PENDING, "unreachable", 4.0)),
        (Ambiguous("x"), Verdict(S.AMBIGUOUS, "connection broke", 4.0)),
        (Conflict("x"), Verdict(S.AMBIGUOUS, "connection broke", 4.0)),
        (PlatformError("x"), Verdict(S.AMBIGUOUS, "connection broke", 4.0)),
        (TimeoutError(), Verdict(S.AMBIGUOUS, "TimeoutError", 4.0)),
        (KeyError("x"), Verdict(S.AMBIGUOUS, "KeyError", 4.0)),
        (Rejected("x", reason="thread_closed"), Verdict(S.PARKED, "thread_closed")),
        *(
            (Rejected("x", reason=reason), Verdict(S.FAILED, reason))
            for reason in ("blocked", "forbidden", "chat_gone", "thread_gone", "too_long", "bad_request")
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_end_has_its_meaning(error: Exception, verdict: Verdict) -> None:
    """Only what provably never left is tried again unmarked; whatever is not known counts as doubt (DLV-02, DLV-07)."""
    assert judge(error, attempts=3) == verdict


def test_waits_double_from_a_second_to_five_minutes() -> None:
    """Back-off grows with the sends that were begun and never beyond its most (DLV-04)."""
    assert [backoff(n) for n in (0, 1, 2, 3, 9)] == [1.0, 1.0, 2.0, 4.0, 256.0]
    assert {backoff(n) for n in (10, 50, 10**6)} == {LONGEST_WAIT}
