"""One model that may answer for a profile: connected on first use, asked with patience."""

import asyncio
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

import httpx2
from pydantic_ai import direct
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings as RequestSettings
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_exponential

from hermesd.agent.blueprint import Blueprint
from hermesd.agent.breaker import Breaker
from hermesd.agent.failure import RequestFailed, understand
from hermesd.agent.http import HttpPool
from hermesd.clock import Clock

_backoff = wait_exponential(multiplier=0.5, max=20)


class _Connector(Protocol):
    def connect(self, blueprint: Blueprint, pool: HttpPool) -> Model[Any]: ...


@dataclass(slots=True)
class Candidate:
    """A model of one profile with its own breaker; nothing of it is shared with another profile but sockets."""

    blueprint: Blueprint
    pool: HttpPool
    clock: Clock
    #: random numbers in [0, 1) that spread retries
    jitter: Callable[[], float]
    breaker: Breaker = field(default_factory=Breaker)
    _model: Model[Any] | None = None
    _unpriced: bool = False

    async def ask(
        self, messages: list[ModelMessage], tools: ModelRequestParameters, *, idle: float, deadline: float
    ) -> ModelResponse:
        """One answer, with retries that end before `deadline` (monotonic seconds). Raises RequestFailed."""
        settings = self._settings(idle)
        model = await self._connected()

        async def attempt() -> ModelResponse:
            await self._admitted(deadline)
            try:
                response = await direct.model_request(
                    model, messages, model_settings=settings, model_request_parameters=tools, instrument=False
                )
            except Exception as error:  # noqa: BLE001 - whatever a provider's bytes make the SDK raise is one failure
                failed = understand(error, self.blueprint)
                if failed.retryable:
                    self.breaker.failed(self.clock.monotonic(), failed.retry_after)
                raise failed from None  # the cause may quote the provider's body, which may quote a key
            self.breaker.worked()
            return response

        retrying = AsyncRetrying(
            sleep=self.clock.sleep,
            retry=retry_if_exception(lambda error: isinstance(error, RequestFailed) and error.retryable),
            wait=self._pause,
            stop=lambda state: (
                stop_after_attempt(self.blueprint.retries + 1)(state)
                or self.clock.monotonic() + state.upcoming_sleep >= deadline
            ),
            reraise=True,
        )
        return await retrying(attempt)

    def money(self, response: ModelResponse) -> float:
        """US dollars by public list price; 0.0 where it is not known."""
        if not self.blueprint.priced or self._unpriced:
            return 0.0
        try:
            return float(response.cost().total_price)
        except (LookupError, ValueError, AssertionError):
            self._unpriced = True
            return 0.0

    async def _connected(self) -> Model[Any]:
        if self._model is None:
            # a first import takes most of a second: never on the loop
            module = await asyncio.to_thread(importlib.import_module, self.blueprint.provider.connector)
            if self._model is None:
                try:
                    self._model = cast(_Connector, module).connect(self.blueprint, self.pool)
                except UserError as error:
                    raise RequestFailed(
                        f"{self.blueprint.label} cannot be used: {error}",
                        hint="check `default:` in the profile's `model:` block",
                    ) from None
        return self._model

    async def _admitted(self, deadline: float) -> None:
        now = self.clock.monotonic()
        if (pause := self.breaker.wait(now)) <= 0:
            return
        if now + pause >= deadline or pause > 30:
            # already counted: not a new failure of the provider
            raise RequestFailed(
                f"{self.blueprint.label} failed repeatedly and is left alone for {pause:.0f} more seconds",
                hint="try again later",
            )
        await self.clock.sleep(pause)

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.retry_after if isinstance(error, RequestFailed) else None
        spread = 0.5 + self.jitter()
        return max(asked, 0.1) + self.jitter() if asked is not None else _backoff(state) * spread

    def _settings(self, idle: float) -> RequestSettings:
        timeout = httpx2.Timeout(idle, connect=min(10.0, idle))
        settings = cast(RequestSettings, {"timeout": timeout})
        if self.blueprint.temperature is not None:
            settings["temperature"] = self.blueprint.temperature
        if self.blueprint.max_tokens is not None:
            settings["max_tokens"] = self.blueprint.max_tokens
        return settings
