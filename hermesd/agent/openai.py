"""Models behind OpenAI's chat completions API, whoever serves it."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from openai import AsyncOpenAI
from openai.resources.chat import AsyncChat, AsyncCompletions
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openrouter import OpenRouterProvider

from hermesd.agent.blueprint import Blueprint
from hermesd.agent.http import HttpPool

#: the SDK insists on a key; servers that need none get this
NO_KEY = "none"
_PROVIDERS = {"openrouter": OpenRouterProvider, "ollama": OllamaProvider}


class _Completions(AsyncCompletions):
    """Hands messages to the wire as they are.

    The SDK walks every message looking for fields to convert, which for plain messages changes nothing and costs 3 ms
    of CPU with twenty of them; bodies given as `extra_body` are not walked.
    """

    async def create(self, *, messages: Iterable[Any], tools: Any = None, extra_body: Any = None, **rest: Any) -> Any:
        body: dict[str, Any] = {**extra_body} if isinstance(extra_body, Mapping) else {}
        body["messages"] = list(messages)
        if isinstance(tools, list):
            body["tools"] = tools
        return await super().create(messages=[], extra_body=body, **rest)


class _Chat(AsyncChat):
    @cached_property
    def completions(self) -> AsyncCompletions:
        return _Completions(self._client)


class SealedOpenAI(AsyncOpenAI):
    """An SDK client that takes nothing from the environment: no key, organization, project or extra header."""

    def __init__(self, blueprint: Blueprint, pool: HttpPool) -> None:
        super().__init__(
            api_key=blueprint.key or NO_KEY,
            admin_api_key="",
            organization="",
            project="",
            webhook_secret="",
            base_url=blueprint.base_url,
            http_client=pool.client(blueprint.base_url),
            max_retries=0,
        )
        # OPENAI_CUSTOM_HEADERS has been merged in by now; empty strings would be sent as headers
        self._custom_headers = {}
        self.organization = self.project = None

    @cached_property
    def chat(self) -> AsyncChat:
        return _Chat(self)


def connect(blueprint: Blueprint, pool: HttpPool) -> OpenAIChatModel:
    """A model over the endpoint's shared HTTP client, with this profile's key."""
    provider = _PROVIDERS.get(blueprint.provider.name, OpenAIProvider)
    return OpenAIChatModel(blueprint.model, provider=provider(openai_client=SealedOpenAI(blueprint, pool)))
