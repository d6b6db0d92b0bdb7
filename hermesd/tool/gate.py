"""The only way from a model to a tool, for one turn."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hermesd.errors import UserError
from hermesd.ports import Effect, StepJournal, Tool, ToolCall, ToolOutcome, ToolSpec, TurnContext
from hermesd.tool.schema import arguments_of

#: seconds a tool may take unless the gate is given others
SECONDS = 120.0


def _as_it_is(text: str) -> str:
    return text


def _everything(spec: ToolSpec) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Gate:
    """Checks, journals, runs, caps and journals each call of one turn. Implements ports.ToolGate.

    The intent to write is on disk before the tool starts, and a call whose outcome is already there is answered from
    it: a side effect happens at most once per call. Cancellation goes through and leaves the intent without an end.
    """

    tools: Sequence[Tool]
    turn: TurnContext
    journal: StepJournal
    #: why this turn may not use a tool; "" allows it
    judge: Callable[[ToolSpec], str] = _everything
    #: takes known secrets out of what the model will see
    redact: Callable[[str], str] = _as_it_is
    seconds: float = SECONDS

    @property
    def specs(self) -> Sequence[ToolSpec]:
        """The tools this turn may use."""
        return tuple(tool.spec for tool in self.tools if not self.judge(tool.spec))

    async def call(self, call: ToolCall) -> ToolOutcome:
        """Run one call; whatever is wrong with it comes back as a failed outcome, not as an exception."""
        tool = next((tool for tool in self.tools if tool.spec.name == call.name), None)
        if tool is None:
            return self._failed(f"there is no tool {call.name[:80]!r}")
        if refusal := self.judge(tool.spec):
            self.turn.log.info("a tool was refused", action="tool.refused", tool=call.name, reason=refusal)
            return self._failed(f"{call.name} is not allowed here: {refusal}")
        try:
            arguments = arguments_of(call.arguments, tool.spec.parameters)
        except UserError as error:
            return self._failed(f"{call.name}: {error}")
        if tool.spec.effect is Effect.WRITE:
            stored = await self.journal.started(call, Effect.WRITE)
            if stored is not None:
                return stored
        outcome = await self._run(tool, arguments)
        await self.journal.finished(call, outcome)
        return outcome

    async def _run(self, tool: Tool, arguments: dict[str, object]) -> ToolOutcome:
        name = tool.spec.name
        try:
            async with asyncio.timeout(self.seconds) as scope:
                text = await tool.run(self.turn, arguments)
        except TimeoutError:
            if scope.expired():
                doubt = "; it may have taken effect" if tool.spec.effect is Effect.WRITE else ""
                return self._failed(f"{name} did not finish within {self.seconds:g} seconds{doubt}")
            return self._failed(f"{name} timed out")
        except UserError as error:
            return self._failed(f"{name}: {error}")
        except Exception as error:  # noqa: BLE001 - a tool may be anybody's code; its failure is an answer to the model
            self.turn.log.error("a tool failed", action="tool.failed", tool=name, error=type(error).__name__)
            return self._failed(f"{name} failed ({type(error).__name__})")
        return ToolOutcome(self._presentable(text))

    def _failed(self, text: str) -> ToolOutcome:
        return ToolOutcome(self._presentable(text), failed=True)

    def _presentable(self, text: str) -> str:
        clean = self.redact(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
        raw = clean.encode()
        if len(raw) <= self.turn.output_cap:
            return clean
        kept = raw[: self.turn.output_cap].decode("utf-8", "ignore")
        return f"{kept}\n[cut: {len(raw):,} bytes, {self.turn.output_cap:,} are shown]"
