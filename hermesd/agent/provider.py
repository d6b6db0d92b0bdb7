"""The table of model providers: where each lives, which key it wants, which wire it speaks."""

import difflib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Provider:
    """One row of the table."""

    name: str
    #: module of the connector, loaded when the first profile uses it
    connector: str
    #: None where the profile must say it
    base_url: str | None = None
    #: variable of the profile's .env that holds the key unless `api_key` says otherwise
    key_variable: str | None = None
    #: whether it answers nobody without a key
    needs_key: bool = False
    #: whether public list prices apply at its own address
    priced: bool = False


PROVIDERS: tuple[Provider, ...] = (
    Provider(
        "openai", "hermesd.agent.openai", "https://api.openai.com/v1", "OPENAI_API_KEY", needs_key=True, priced=True
    ),
    Provider(
        "openrouter",
        "hermesd.agent.openai",
        "https://openrouter.ai/api/v1",
        "OPENROUTER_API_KEY",
        needs_key=True,
        priced=True,
    ),
    Provider(
        "anthropic",
        "hermesd.agent.anthropic",
        "https://api.anthropic.com",
        "ANTHROPIC_API_KEY",
        needs_key=True,
        priced=True,
    ),
    Provider("ollama", "hermesd.agent.openai", "http://127.0.0.1:11434/v1"),
    Provider("custom", "hermesd.agent.openai"),
    Provider("rehearsal", "hermesd.agent.rehearsal"),
    Provider("null", "hermesd.agent.null"),
)
_BY_NAME = {provider.name: provider for provider in PROVIDERS}
#: what an operator may choose; `null` exists for benches only
CHOICES = tuple(provider.name for provider in PROVIDERS if provider.name != "null")


def provider(name: str) -> Provider:
    """The row of that name. Raises ValueError that lists the choices and names the near one."""
    if found := _BY_NAME.get(name):
        return found
    near = difflib.get_close_matches(name.lower(), CHOICES, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "any OpenAI-compatible server is `custom` with its base_url"
    raise ValueError(f"unknown provider {name[:40]!r}, expected one of {', '.join(CHOICES)}; {hint}")
