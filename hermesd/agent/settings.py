"""The `model:` block of a profile's config.yaml."""

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from hermesd.agent.provider import Provider, provider
from hermesd.errors import SecretUnavailable
from hermesd.ports import SecretRef

_REFERENCE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}")


class ModelSettings(BaseModel):
    """Which model answers for a profile, and which answers when that one cannot.

    The keys are those of Hermes; `api_key` is a reference (`"${env:NAME}"`), never the key itself.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    provider: Annotated[str, Field(description="openai, openrouter, anthropic, ollama, custom or rehearsal")]
    default: Annotated[str, Field(description="the model's name at the provider", max_length=200)] = ""
    base_url: Annotated[str | None, Field(description="another address of the same API")] = None
    api_key: Annotated[SecretRef | None, Field(description='"${env:NAME}", from the profile\'s .env')] = None
    fallback: Annotated[
        tuple["ModelSettings", ...], Field(description="asked in turn when this one cannot answer")
    ] = ()
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    max_tokens: Annotated[int | None, Field(ge=1, description="longest answer, in tokens")] = None
    context_length: Annotated[int | None, Field(ge=1, description="the model's window, in tokens")] = None
    timeout: Annotated[float | None, Field(gt=0, description="seconds for a whole turn")] = None
    idle_timeout: Annotated[float | None, Field(gt=0, description="seconds without a byte from the provider")] = None
    max_steps: Annotated[int | None, Field(ge=1, le=500, description="model requests in one turn")] = None
    retries: Annotated[int, Field(ge=0, le=10, description="repeats of a request after 429, 5xx or a reset")] = 3
    api_mode: Annotated[str | None, Field(description="read for compatibility, not used")] = None

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    near = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                    hint = f", did you mean {near[0]!r}?" if near else f", expected {', '.join(cls.model_fields)}"
                    raise ValueError(f"unknown key {str(key)[:40]!r}{hint}")
        return data

    @field_validator("provider")
    @classmethod
    def _known_provider(cls, value: str) -> str:
        return provider(value).name

    @field_validator("fallback", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        if value is None:
            return ()
        return (value,) if isinstance(value, Mapping | ModelSettings) else value

    @field_validator("base_url")
    @classmethod
    def _http_address(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://", "${")):
            raise ValueError("expected an http:// or https:// address")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        row = self.row
        if row.name == "custom" and self.base_url is None:
            raise ValueError("provider `custom` needs a base_url, for example http://127.0.0.1:8080/v1")
        if row.name not in ("rehearsal", "null") and not self.default:
            raise ValueError(f"provider `{row.name}` needs `default`: the model's name")
        return self

    @property
    def row(self) -> Provider:
        """The provider's row of the table."""
        return provider(self.provider)

    @property
    def label(self) -> str:
        """`provider:model`, for people."""
        return f"{self.provider}:{self.default or 'v1'}"

    def address(self, secrets: Mapping[str, str]) -> str | None:
        """The base URL with references resolved from the profile's own mapping. Raises SecretUnavailable."""
        if self.base_url is None:
            return self.row.base_url

        def resolve(match: re.Match[str]) -> str:
            if match[1] not in secrets:
                raise SecretUnavailable(
                    f"base_url of model {self.label} refers to {match[1]}, which the profile does not have",
                    hint=f"set {match[1]} in the profile's .env",
                )
            return secrets[match[1]]

        return _REFERENCE.sub(resolve, self.base_url)

    def key(self, secrets: Mapping[str, str]) -> str | None:
        """The API key from the profile's own mapping; None where the provider takes none.

        `{file: …}` and `{credential: …}` are looked up under their text form. Raises SecretUnavailable naming the
        reference, never a value.
        """
        if self.api_key is not None:
            name = self.api_key.name if self.api_key.source == "env" else str(self.api_key)
            required = True
        else:
            name, required = self.row.key_variable or "", self.row.needs_key
        value = secrets.get(name, "").strip()
        if value:
            return value
        if required:
            raise SecretUnavailable(
                f"the key of provider {self.provider} is missing ({name})", hint=f"set {name} in the profile's .env"
            )
        return None
