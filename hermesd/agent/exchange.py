"""One turn's exchange with the model: ask, run the tools it wants, ask again, until it answers."""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from hermesd.agent.conversation import (
    prompt_message,
    read_response,
    response_message,
    results_message,
    to_messages,
)
from hermesd.agent.failure import RequestFailed
from hermesd.agent.text import ARGUMENTS_CAP, cap, clean
from hermesd.errors import EngineError
from hermesd.ports import EngineReply, EngineRequest, Row, ToolCall, ToolGate, ToolOutcome, Usage

#: unreadable or empty answers and impossible calls a turn may contain before it is given up
REPAIRS = 2
#: the same call with the same arguments; the last of these is not run and ends the turn
REPEATS = 3
#: calls taken from one answer
CALLS = 32

Spent = Callable[[Usage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request brought."""

    response: ModelResponse
    #: `provider:model` that gave it
    label: str
    #: US dollars
    money: float


class Asker(Protocol):
    """Whoever gets one answer to a list of messages."""

    async def ask(self, messages: list[ModelMessage], tools: ModelRequestParameters, *, idle: float) -> Answer: ...


@dataclass(slots=True)
class Exchange:
    """The state of one turn: what was said, what it cost, how patient we still are."""

    asker: Asker
    request: EngineRequest
    gate: ToolGate
    spent: Spent | None
    usage: Usage = field(default_factory=Usage)
    rows: list[Row] = field(default_factory=list)
    repairs: int = 0
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def run(self) -> EngineReply:
        """The finished turn. Raises EngineError."""
        messages = to_messages(self.request.history)
        messages.append(prompt_message(self.request.prompt, self.request.system))
        tools = _definitions(self.gate)
        label = ""
        for _ in range(self.request.max_steps):
            try:
                answer = await self.asker.ask(messages, tools, idle=self.request.idle_timeout)
            except RequestFailed as error:
                if not error.garbled:
                    raise
                self._repair(error.message)
                continue
            label = answer.label
            await self._count(answer)
            text, calls = read_response(answer.response)
            if not calls:
                if text:
                    return self._reply(text, label)
                self._repair(f"{label} gave an empty answer")
                continue
            calls = calls[:CALLS]
            outcomes, stop = await self._run_tools(calls)
            self.rows.append(Row("assistant", cap(text), calls))
            self.rows += [
                Row("tool", outcome, call_id=call.call_id, tool=call.name)
                for call, outcome in zip(calls, outcomes, strict=True)
            ]
            if stop:
                return self._reply(stop, label)
            messages.append(response_message(text, calls))
            messages.append(results_message(list(zip(calls, outcomes, strict=True)), self.request.system))
        steps = self.request.max_steps
        return self._reply(f"I stopped after {steps} steps without a final answer. Say “go on” to continue.", label)

    async def _count(self, answer: Answer) -> None:
        used = answer.response.usage
        self.usage = Usage(
            self.usage.input_tokens + max(0, used.input_tokens),
            self.usage.output_tokens + max(0, used.output_tokens),
            self.usage.requests + 1,
            self.usage.money + answer.money,
        )
        if self.spent is not None:
            await self.spent(self.usage)

    async def _run_tools(self, calls: Sequence[ToolCall]) -> tuple[list[str], str]:
        """The results in order, and why the turn must stop ("" when it need not)."""
        outcomes: list[str] = []
        stop = ""
        for call in calls:
            if problem := self._impossible(call):
                self._repair(f"the model asked for something impossible: {problem}")
                outcomes.append(problem)
                continue
            same = (call.name, _canonical(call.arguments))
            self.asked[same] += 1
            if stop or self.asked[same] >= REPEATS:
                stop = stop or f"I stopped: {call.name} was asked for {REPEATS} times with the same arguments."
                outcomes.append("not run: the turn was stopped")
                continue
            outcome: ToolOutcome = await self.gate.call(call)
            outcomes.append(clean(outcome.text) or "(no output)")
        return outcomes, stop

    def _impossible(self, call: ToolCall) -> str:
        """Why this call cannot even be tried; "" when it can."""
        names = [spec.name for spec in self.gate.specs]
        if call.name not in names:
            return f"there is no tool {call.name[:80]!r}; the tools are: {', '.join(names) or 'none'}"
        if len(call.arguments) > ARGUMENTS_CAP:
            return f"the arguments of {call.name} are longer than {ARGUMENTS_CAP:,} characters"
        try:
            parsed = json.loads(call.arguments)
        except (ValueError, RecursionError):
            return f"the arguments of {call.name} are not JSON"
        return "" if isinstance(parsed, dict) else f"the arguments of {call.name} are not a JSON object"

    def _repair(self, what: str) -> None:
        self.repairs += 1
        if self.repairs > REPAIRS:
            raise EngineError(f"{what}, {self.repairs} times in this turn", retryable=True, hint="send /retry")

    def _reply(self, text: str, label: str) -> EngineReply:
        text = cap(text)
        self.rows.append(Row("assistant", text))
        return EngineReply(text, tuple(self.rows), self.usage, label)


def _definitions(gate: ToolGate) -> ModelRequestParameters:
    return ModelRequestParameters(
        function_tools=[
            ToolDefinition(name=spec.name, description=spec.description, parameters_json_schema=dict(spec.parameters))
            for spec in gate.specs
        ]
    )


def _canonical(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments
