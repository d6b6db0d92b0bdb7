"""Tools as models, the gate and the journal see them."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

from hermesd.address import Address
from hermesd.ports.log import Log


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A model asked for a tool."""

    call_id: str
    name: str
    #: JSON object, as the model wrote it
    arguments: str


class Effect(StrEnum):
    """What running a tool twice would do."""

    #: nothing anybody could notice: may be rerun after a crash
    READ = "read"
    #: changes something: never rerun without asking
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it."""

    name: str
    description: str
    #: JSON schema of the arguments object
    parameters: Mapping[str, Any]
    effect: Effect


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What the model gets back from a tool."""

    text: str
    failed: bool = False


class ToolGate(Protocol):
    """The only way from an engine to a tool: checks, journals, runs, caps, journals."""

    @property
    def specs(self) -> Sequence[ToolSpec]:
        """What the model may be told about."""
        ...

    async def call(self, call: ToolCall) -> ToolOutcome:
        """Run one call; a refusal, an unknown name or bad arguments come back as a failed outcome, not an exception."""
        ...


class MemoryView(Protocol):
    """A profile's memory as one context may see it."""

    async def read(self) -> str:
        """The rendered MEMORY and USER entries for the prompt; empty when there are none."""
        ...

    async def add(self, target: Literal["memory", "user"], content: str) -> str: ...
    async def replace(self, target: Literal["memory", "user"], old_text: str, content: str) -> str: ...
    async def remove(self, target: Literal["memory", "user"], old_text: str) -> str: ...


@dataclass(frozen=True, slots=True)
class TurnContext:
    """What a tool gets, and all it gets."""

    profile: str
    turn_id: str
    #: where the turn came from; `send` without an address goes back there
    address: Address
    #: the session's memory scope
    memory: MemoryView
    workspace: Path
    #: queue a message from this turn: (text, address or None for the originating place) -> delivery id.
    #: Raises UserError for a place this profile may not write to.
    send: Callable[[str, Address | None], Awaitable[str]]
    #: run a command in the workspace with the profile's environment only
    launch: Callable[[Sequence[str], float], Awaitable["CommandResult"]]
    log: Log
    #: bytes of output a tool may return to the model
    output_cap: int = 40_000


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A finished child process."""

    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool = False


class Tool(Protocol):
    """Something a model may call."""

    @property
    def spec(self) -> ToolSpec:
        """What it is called, takes and does."""
        ...

    async def run(self, turn: TurnContext, arguments: Mapping[str, Any]) -> str:
        """Do it; the text goes to the model. Raises UserError with what to do instead."""
        ...


class StepJournal(Protocol):
    """The durable record of tool calls of one turn."""

    async def started(self, call: ToolCall, effect: Effect) -> ToolOutcome | None:
        """Commit the intent before the side effect. Returns the stored outcome if this very call already finished."""
        ...

    async def finished(self, call: ToolCall, outcome: ToolOutcome) -> None:
        """Commit the result."""
        ...
