"""One profile's model behind one door, and the neutral form of what is said through it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from hermesd.ports.tool import ToolCall, ToolGate


@dataclass(frozen=True, slots=True)
class Row:
    """One message of a conversation in our own neutral form; this is what the databases hold."""

    role: Literal["user", "assistant", "tool"]
    text: str
    #: assistant rows: the tools asked for
    calls: tuple[ToolCall, ...] = ()
    #: tool rows: which call this answers, and the tool's name
    call_id: str | None = None
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What a turn consumed."""

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0
    #: US dollars; 0.0 where the price is not known
    money: float = 0.0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """Everything a model needs for one turn."""

    system: str
    #: oldest first, without the new prompt
    history: tuple[Row, ...]
    prompt: str
    #: model requests allowed in this turn, tool rounds included
    max_steps: int
    #: seconds for the whole turn
    timeout: float
    #: seconds without a sign of life from the provider
    idle_timeout: float


@dataclass(frozen=True, slots=True)
class EngineReply:
    """A finished turn."""

    text: str
    #: what was added to the conversation after the prompt: assistant and tool rows, the answer last
    rows: tuple[Row, ...]
    usage: Usage
    #: `provider:model` that answered
    model: str


class Engine(Protocol):
    """One profile's model behind one door."""

    @property
    def label(self) -> str:
        """`provider:model`, for people."""
        ...

    async def run(
        self, request: EngineRequest, gate: ToolGate, *, spent: Callable[[Usage], Awaitable[None]] | None = None
    ) -> EngineReply:
        """Answer. Raises EngineError. `spent` is called after each model response with the running total."""
        ...

    async def summarise(self, rows: Sequence[Row], *, seconds: float) -> str:
        """Condense old rows of a conversation to notes for its own continuation. Raises EngineError."""
        ...
