"""What the fake model server says, and when it misbehaves."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Fault = Literal["none", "hang", "hang_body", "garbage", "reset", "no_choices"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived: the ground truth for scans."""

    #: Unix seconds
    at: float
    path: str
    #: names in lower case
    headers: dict[str, str]
    #: the decoded JSON body
    body: dict[str, Any]

    @property
    def key(self) -> str:
        """The API key, from `authorization: Bearer …` or `x-api-key`."""
        return self.headers.get("x-api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [message for message in self.body.get("messages", ()) if isinstance(message, dict)]

    @property
    def last_user(self) -> str:
        """The text of the newest user message."""
        users = [message for message in self.messages if message.get("role") == "user"]
        return text_of(users[-1]) if users else ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. The default echoes the last user message."""

    #: None echoes
    text: str | None = None
    #: tools to ask for: (name, raw arguments, as broken as you like)
    calls: tuple[tuple[str, str], ...] = ()
    status: int = 200
    #: seconds, sent as the `retry-after` header
    retry_after: float | None = None
    #: seconds before the first byte
    delay: float = 0.0
    #: seconds between the pieces of the body; 0.0 sends it at once
    drip: float = 0.0
    fault: Fault = "none"
    #: sent instead of any answer, with status 200
    raw: bytes | None = None
    input_tokens: int = 10
    output_tokens: int = 5


Answer = Reply | Callable[[Seen], Reply]


@dataclass(slots=True)
class Rule:
    """Which requests get which answers; the answers are given in turn, the last one for ever after."""

    answers: Sequence[Answer]
    model: str | None = None
    key: str | None = None
    match: re.Pattern[str] | None = None
    given: int = field(default=0)

    def applies(self, seen: Seen) -> bool:
        return (
            (self.model is None or self.model == seen.model)
            and (self.key is None or self.key == seen.key)
            and (self.match is None or self.match.search(seen.last_user) is not None)
        )

    def next(self, seen: Seen) -> Reply:
        answer = self.answers[min(self.given, len(self.answers) - 1)]
        self.given += 1
        return answer if isinstance(answer, Reply) else answer(seen)


def text_of(message: dict[str, Any]) -> str:
    """The text of one wire message, whether its content is a string or a list of parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
