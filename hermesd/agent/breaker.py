"""Not asking a provider that has just said no, per profile and provider."""

from dataclasses import dataclass

#: failed requests in a row that open it
THRESHOLD = 5
#: seconds it stays open at first, doubled each time it opens again at once
COOLDOWN = 15.0
LONGEST = 300.0


@dataclass(slots=True)
class Breaker:
    """Counts failures and says how long to wait; it holds no clock, callers hand in monotonic seconds."""

    failures: int = 0
    cooldown: float = COOLDOWN
    closed_from: float = 0.0

    def wait(self, now: float) -> float:
        """Seconds until asking makes sense again; 0.0 is now."""
        return max(0.0, self.closed_from - now)

    def worked(self) -> None:
        """A request was answered."""
        self.failures, self.cooldown = 0, COOLDOWN

    def failed(self, now: float, retry_after: float | None = None) -> None:
        """A request failed in a way that a later one may not."""
        self.failures += 1
        if self.failures >= THRESHOLD:
            self.closed_from = max(self.closed_from, now + self.cooldown)
            # the next single failure opens it again, for longer
            self.failures, self.cooldown = THRESHOLD - 1, min(LONGEST, self.cooldown * 2)
        if retry_after is not None:
            self.closed_from = max(self.closed_from, now + retry_after)
