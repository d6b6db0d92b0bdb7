"""The one error tree. The class says who must act, the message says what to do.

HermesdError
├── OperatorError            whoever runs the daemon: configuration, disk, a second instance
│   ├── ConfigError          carries every Problem found, not only the first
│   ├── StateError           the state directory cannot be used (locked, unreadable, too new)
│   ├── NotRunning           a command needs the daemon and nobody listens on its socket
│   ├── LedgerUnavailable    the disk refuses writes; intake pauses until it recovers
│   └── SecretUnavailable    a secret reference points at nothing
├── UserError                the person in the chat: shown to them as it is
│   └── ProfileUnavailable   the routed profile cannot run; the message is kept
├── EngineError              the model side of a turn failed; `retryable` says whether a later try can help
└── PlatformError            a chat platform said no; the subclass says what that means for the delivery
    ├── Unauthorized         the token is not accepted
    ├── Conflict             somebody else polls with this token
    ├── RateLimited          wait `retry_after` seconds, this bucket only
    ├── Unreachable          nothing left this machine: safe to try again
    ├── Ambiguous            it may have arrived: never resend unmarked
    ├── Rejected             it will not be accepted as it is; `reason` says why
    └── Migrated             the chat has a new id
"""

from dataclasses import dataclass
from typing import Literal


class HermesdError(Exception):
    """Something went wrong that hermesd understands; `hint` is the next step for whoever must act."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message

    @property
    def told(self) -> str:
        """Message and hint as sentences for a person in a chat."""
        return " ".join(_sentence(part) for part in (self.message, self.hint) if part)


def _sentence(text: str) -> str:
    begun = text[:1].upper() + text[1:]
    return begun if begun.endswith((".", "!", "?", "…")) else f"{begun}."


class OperatorError(HermesdError):
    """Whoever runs the daemon must act."""


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in one place of the configuration, with what was expected and what to do."""

    #: path as the operator wrote it
    file: str
    #: 1-based; 0 when the problem has no line (a missing file)
    line: int
    #: 1-based
    column: int
    #: dotted path of the key, e.g. `bots[1].token`
    key: str
    #: what is wrong and what was expected, one sentence
    message: str
    #: what to do, often "did you mean …?"
    hint: str = ""
    #: `error`: the daemon refuses this file. `warning`: it starts, but something named will not work.
    level: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}: {self.level}:{key} {self.message}{hint}"


class ConfigError(OperatorError):
    """The configuration cannot be used; `problems` lists everything found in it, sorted by place."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class StateError(OperatorError):
    """The state directory cannot be used."""


class NotRunning(OperatorError):
    """A command needs the running daemon, and nobody listens on its control socket."""


class LedgerUnavailable(OperatorError):
    """The disk does not take writes; nothing is acknowledged until it does."""


class SecretUnavailable(OperatorError):
    """A secret reference points at nothing; the message names the reference, never a value."""


class UserError(HermesdError):
    """The person in the chat can do something about it; the text is shown to them."""


class ProfileUnavailable(UserError):
    """The routed profile is missing or broken; its messages wait, no other profile answers them."""


class EngineError(HermesdError):
    """The model could not finish the turn."""

    def __init__(self, message: str, *, retryable: bool = False, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        #: whether the same request may succeed later (429, 5xx, a lost connection)
        self.retryable = retryable


class PlatformError(HermesdError):
    """A chat platform refused or could not be reached."""


class Unauthorized(PlatformError):
    """The platform does not accept the token; only a new one helps."""


class Conflict(PlatformError):
    """Another process receives this bot's messages."""


class RateLimited(PlatformError):
    """The platform asked to wait."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        #: seconds, as the platform said
        self.retry_after = retry_after


class Unreachable(PlatformError):
    """The request never left this machine, or the platform said it did nothing with it: trying again is safe."""


class Ambiguous(PlatformError):
    """The request may or may not have taken effect: a reset, a timeout after the write, a bad gateway."""


class Rejected(PlatformError):
    """The platform understood the request and will not carry it out."""

    def __init__(
        self,
        message: str,
        *,
        reason: Literal["blocked", "forbidden", "chat_gone", "thread_gone", "thread_closed", "too_long", "bad_request"],
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class Migrated(PlatformError):
    """The chat lives under a new id now."""

    def __init__(self, message: str, *, new_chat_id: str) -> None:
        super().__init__(message)
        self.new_chat_id = new_chat_id
