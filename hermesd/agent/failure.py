"""What a provider's refusal means, in words that never carry a key or a prompt."""

import re

import httpx2
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelTimeoutError,
    UnexpectedModelBehavior,
)

from hermesd.agent.blueprint import Blueprint
from hermesd.errors import EngineError

_CODE = re.compile(r"^[a-z][a-z0-9_]{0,60}$")


class RequestFailed(EngineError):
    """One request to one model did not bring a usable response."""

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        hint: str = "",
        retry_after: float | None = None,
        garbled: bool = False,
    ) -> None:
        super().__init__(message, retryable=retryable, hint=hint)
        #: seconds, as the provider said
        self.retry_after = retry_after
        #: an answer came, but it could not be read: the same request may bring a better one
        self.garbled = garbled


def understand(error: Exception, blueprint: Blueprint) -> RequestFailed:
    """Say what happened and who must act. Bodies are never quoted: they may repeat keys or prompts."""
    provider, model = blueprint.provider.name, blueprint.label
    match error:
        case ModelAuthenticationError():
            variable = blueprint.provider.key_variable or "its key"
            return RequestFailed(
                f"the key of provider {provider} is not accepted",
                hint=f"put a valid {variable} into the profile's .env",
            )
        case ModelQuotaExceededError():
            return RequestFailed(
                f"the account at provider {provider} has no credit left", hint="check its billing page"
            )
        case ModelRateLimitError():
            return RequestFailed(
                f"provider {provider} asks to slow down", retryable=True, retry_after=_retry_after(error)
            )
        case ModelContextWindowExceededError():
            return RequestFailed(f"the conversation is too long for {model}", hint="start a new one with /new")
        case ModelNotFoundError():
            return RequestFailed(
                f"provider {provider} does not know the model {blueprint.model!r}",
                hint="check `default:` in the profile's `model:` block",
            )
        case ModelTimeoutError():
            return RequestFailed(f"{model} gave no sign of life in time", retryable=True)
        case ModelConnectionError() | httpx2.TransportError():
            return RequestFailed(f"provider {provider} cannot be reached", retryable=True)
        case ModelHTTPError(status_code=status) if status in (408, 409, 425, 429) or status >= 500:
            return RequestFailed(
                f"provider {provider} failed with status {status}", retryable=True, retry_after=_retry_after(error)
            )
        case ModelHTTPError(status_code=status):
            code = error.provider_error_code or ""
            detail = f": {code}" if _CODE.match(code) else ""
            return RequestFailed(f"{model} refused the request with status {status}{detail}")
        case ModelAPIError() | UnexpectedModelBehavior():
            return RequestFailed(f"{model} answered with something unreadable", garbled=True)
        case _:
            return RequestFailed(f"{model} answered with something unreadable ({type(error).__name__})", garbled=True)


def _retry_after(error: ModelAPIError) -> float | None:
    seconds = error.retry_after
    return None if seconds is None else max(0.0, float(seconds))
