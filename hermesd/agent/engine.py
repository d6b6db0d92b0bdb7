"""A profile's model behind the Engine port: the preferred one, its stand-ins, and the turn's time.

The loop of tool calls is ours (`exchange`) and pydantic-ai's models do the talking (`direct.model_request`). Its
`Agent` was measured beside it: the same turn costs 3 ms of CPU more in the agent's graph, and what the graph would
add is owned elsewhere: the gate validates, journals and times tools, and retries must respect their side effects.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import ModelRequestParameters

from hermesd.agent.blueprint import Blueprint
from hermesd.agent.candidate import Candidate
from hermesd.agent.conversation import transcript
from hermesd.agent.exchange import REPAIRS, Answer, Exchange
from hermesd.agent.failure import RequestFailed
from hermesd.agent.http import HttpPool
from hermesd.agent.summary import SUMMARY_ORDER
from hermesd.clock import Clock
from hermesd.errors import EngineError
from hermesd.ports import EngineReply, EngineRequest, Log, Row, ToolCall, ToolGate, ToolOutcome, ToolSpec, Usage


@dataclass(frozen=True, slots=True)
class ModelEngine:
    """One profile's models, the first preferred, the others in turn when it cannot answer."""

    candidates: tuple[Candidate, ...]
    clock: Clock
    log: Log

    @classmethod
    def of(
        cls, blueprints: Sequence[Blueprint], pool: HttpPool, *, clock: Clock, log: Log, jitter: Callable[[], float]
    ) -> "ModelEngine":
        """An engine over models that connect when they are first asked."""
        return cls(tuple(Candidate(blueprint, pool, clock, jitter) for blueprint in blueprints), clock, log)

    @property
    def label(self) -> str:
        """`provider:model` of the preferred one."""
        return self.candidates[0].blueprint.label

    async def run(
        self, request: EngineRequest, gate: ToolGate, *, spent: Callable[[Usage], Awaitable[None]] | None = None
    ) -> EngineReply:
        """Answer the prompt. Raises EngineError when no model does, or not within the request's timeout."""
        asker = _Patience(self, self.clock.monotonic() + request.timeout)
        try:
            async with asyncio.timeout(request.timeout) as scope:
                return await Exchange(asker, request, gate, spent).run()
        except TimeoutError:
            if not scope.expired():
                raise
            raise EngineError(
                f"{self.label} did not finish within {request.timeout:g} seconds",
                retryable=True,
                hint="send /retry, or ask for less at once",
            ) from None

    async def summarise(self, rows: Sequence[Row], *, seconds: float) -> str:
        """Notes that can stand for these rows. Raises EngineError."""
        request = EngineRequest(SUMMARY_ORDER, (), transcript(rows), 1 + REPAIRS, seconds, seconds)
        return (await self.run(request, NoTools())).text


@dataclass(frozen=True, slots=True)
class NoTools:
    """A gate with nothing behind it."""

    specs: Sequence[ToolSpec] = ()

    async def call(self, call: ToolCall) -> ToolOutcome:
        return ToolOutcome(f"there is no tool {call.name!r} here", failed=True)


@dataclass(frozen=True, slots=True)
class _Patience:
    """The engine's candidates, asked within the time one turn has left."""

    engine: ModelEngine
    #: monotonic seconds
    deadline: float

    async def ask(self, messages: list[ModelMessage], tools: ModelRequestParameters, *, idle: float) -> Answer:
        """One answer from the first candidate that gives one. Raises RequestFailed, the last candidate's."""
        candidates = self.engine.candidates
        for position, candidate in enumerate(candidates, 1):
            now = self.engine.clock.monotonic()
            # those still to come keep their share of the time that is left
            until = now + (self.deadline - now) / (len(candidates) - position + 1)
            try:
                response = await candidate.ask(messages, tools, idle=idle, deadline=until)
                return Answer(response, candidate.blueprint.label, candidate.money(response))
            except RequestFailed as error:
                if error.garbled or position == len(candidates):
                    raise
                self.engine.log.warning(
                    "the next model takes over",
                    action="engine.fallback",
                    model=candidate.blueprint.label,
                    reason=error.message,
                )
        raise RequestFailed("no model is configured")
