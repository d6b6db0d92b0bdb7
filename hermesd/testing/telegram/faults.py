"""Scripted trouble: what the next calls of a method run into."""

from dataclasses import dataclass, field
from typing import Any, Literal

FaultKind = Literal["answer", "drop_before", "drop_after", "hang", "garbage"]


@dataclass(slots=True)
class Fault:
    """What happens to the next `times` calls of `method`.

    `answer` refuses with a status; `drop_before` closes the connection without doing anything; `drop_after` does the
    work and closes it; `hang` does nothing and never answers; `garbage` does the work and answers with no JSON.
    """

    #: Bot API name (case does not matter); `*` for all
    method: str
    kind: FaultKind = "answer"
    #: negative: until cleared
    times: int = 1
    status: int = 500
    description: str = "Internal Server Error"
    retry_after: int | None = None
    migrate_to_chat_id: int | None = None
    #: only calls with this token, chat or thread; None for any
    token: str | None = None
    chat_id: int | None = None
    thread_id: int | None = None

    def matches(self, method: str, token: str, parameters: dict[str, Any]) -> bool:
        """Whether this call runs into it."""
        return (
            self.times != 0
            and self.method.casefold() in ("*", method)
            and self.token in (None, token)
            and (self.chat_id is None or str(parameters.get("chat_id")) == str(self.chat_id))
            and (self.thread_id is None or str(parameters.get("message_thread_id")) == str(self.thread_id))
        )

    def body(self) -> dict[str, Any]:
        """The answer Telegram would give."""
        answer: dict[str, Any] = {"ok": False, "error_code": self.status, "description": self.description}
        extra = {"retry_after": self.retry_after, "migrate_to_chat_id": self.migrate_to_chat_id}
        if parameters := {key: value for key, value in extra.items() if value is not None}:
            answer["parameters"] = parameters
        return answer


@dataclass(slots=True)
class Faults:
    """The script; the oldest matching fault is used up first."""

    script: list[Fault] = field(default_factory=list)
    #: how many calls ran into each kind
    hits: dict[str, int] = field(default_factory=dict)

    def add(self, fault: Fault) -> Fault:
        """Append to the script."""
        self.script.append(fault)
        return fault

    def clear(self) -> None:
        """Make everything work again."""
        self.script.clear()

    def take(self, method: str, token: str, parameters: dict[str, Any]) -> Fault | None:
        """Use up one step of the script for this call."""
        for fault in self.script:
            if fault.matches(method, token, parameters):
                fault.times -= 1 if fault.times > 0 else 0
                self.hits[fault.kind] = self.hits.get(fault.kind, 0) + 1
                return fault
        return None
