"""Engines for profiles: cheap to build, woken by their first turn, over one shared HTTP pool.

Importing this loads no model library, and neither does building an engine: a thousand idle profiles cost a
thousand small values. The libraries are loaded in a thread, by `warm` at start or by the first turn that needs one.
"""

import asyncio
import importlib
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from hermesd.agent.blueprint import Blueprint
from hermesd.agent.null import NullEngine
from hermesd.agent.provider import provider
from hermesd.agent.settings import ModelSettings
from hermesd.clock import Clock, SystemClock
from hermesd.errors import OperatorError
from hermesd.ports import Engine, EngineReply, EngineRequest, Log, Row, ToolGate, Usage

if TYPE_CHECKING:
    from hermesd.agent.engine import ModelEngine
    from hermesd.agent.http import HttpPool

#: what answers where a profile configures no model
REHEARSAL = ModelSettings(provider="rehearsal")


class EngineFactory:
    """Builds engines and owns the HTTP pool they share; `close` ends it."""

    def __init__(
        self,
        *,
        log: Log,
        clock: Clock | None = None,
        allow_null: bool = False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.log = log
        self.clock = clock or SystemClock()
        self.jitter = jitter
        self._allow_null = allow_null
        self._pool: HttpPool | None = None

    def build(self, profile: str, model: ModelSettings | None, secrets: Mapping[str, str]) -> Engine:
        """The engine of one profile and generation; no I/O, nothing is loaded or connected.

        `secrets` is the profile's own .env and the only place keys come from. Raises SecretUnavailable naming the
        missing reference.
        """
        settings = model or REHEARSAL
        if settings.provider == "null":
            if not self._allow_null:
                raise OperatorError("provider `null` exists for benches only", hint="leave `model:` out to rehearse")
            return NullEngine()
        blueprints = tuple(_blueprint(one, secrets) for one in _in_turn(settings))
        return _DormantEngine(self, blueprints, self.log.bind(profile=profile))

    async def warm(self, providers: Iterable[str] = ("rehearsal",)) -> None:
        """Load what engines of these providers will need, off the loop."""
        modules = ["hermesd.agent.engine", *(provider(name).connector for name in providers)]
        for module in dict.fromkeys(modules):
            await asyncio.to_thread(importlib.import_module, module)

    async def close(self) -> None:
        """Close every connection to every provider."""
        if self._pool is not None:
            await self._pool.close()

    def _awake(self, blueprints: Sequence[Blueprint], log: Log) -> "ModelEngine":
        # already imported by `warm`: these are look-ups
        engine = importlib.import_module("hermesd.agent.engine")
        if self._pool is None:
            self._pool = importlib.import_module("hermesd.agent.http").HttpPool()
        made: ModelEngine = engine.ModelEngine.of(blueprints, self._pool, clock=self.clock, log=log, jitter=self.jitter)
        return made


class _DormantEngine:
    """An engine that becomes real with its first turn."""

    __slots__ = ("_blueprints", "_factory", "_log", "_real")

    def __init__(self, factory: EngineFactory, blueprints: tuple[Blueprint, ...], log: Log) -> None:
        self._factory, self._blueprints, self._log = factory, blueprints, log
        self._real: ModelEngine | None = None

    @property
    def label(self) -> str:
        return self._blueprints[0].label

    async def run(
        self, request: EngineRequest, gate: ToolGate, *, spent: Callable[[Usage], Awaitable[None]] | None = None
    ) -> EngineReply:
        return await (await self._wake()).run(request, gate, spent=spent)

    async def summarise(self, rows: Sequence[Row], *, seconds: float) -> str:
        return await (await self._wake()).summarise(rows, seconds=seconds)

    async def _wake(self) -> "ModelEngine":
        if self._real is None:
            await self._factory.warm(())
            if self._real is None:
                self._real = self._factory._awake(self._blueprints, self._log)
        return self._real


def _in_turn(settings: ModelSettings) -> Iterator[ModelSettings]:
    yield settings
    for fallback in settings.fallback:
        yield from _in_turn(fallback)


def _blueprint(settings: ModelSettings, secrets: Mapping[str, str]) -> Blueprint:
    return Blueprint(
        settings.row,
        settings.default,
        (settings.address(secrets) or "").rstrip("/"),
        settings.key(secrets),
        settings.temperature,
        settings.max_tokens,
        settings.retries,
    )
