"""Models behind Anthropic's own API; imported only where a profile uses it (39 MB)."""

from anthropic import AsyncAnthropic
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from hermesd.agent.blueprint import Blueprint
from hermesd.agent.http import HttpPool


def connect(blueprint: Blueprint, pool: HttpPool) -> AnthropicModel:
    """A model over the endpoint's shared HTTP client, with this profile's key and nothing from the environment."""
    base_url = blueprint.base_url.removesuffix("/").removesuffix("/v1")
    client = AsyncAnthropic(
        api_key=blueprint.key or "none",
        webhook_key="",
        base_url=base_url,
        http_client=pool.client(base_url),
        max_retries=0,
        open_telemetry=False,
    )
    # ANTHROPIC_CUSTOM_HEADERS has been merged in by now
    client._custom_headers = {}
    return AnthropicModel(blueprint.model, provider=AnthropicProvider(anthropic_client=client))
