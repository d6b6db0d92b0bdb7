"""Two small platforms of our own, so that these tests need no SDK."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field, model_validator

from hermesd.ports import Adapter, AdapterHost, BotSettings, SecretRef
from hermesd.settings import Loaded, load_text


class ChatSettings(BotSettings):
    platform: Literal["telegram"]
    token: Annotated[SecretRef, Field(description="the bot's token")]
    base_url: str | None = None
    poll_timeout: Annotated[int, Field(ge=1, le=50)] = 30


class PageSettings(BotSettings):
    platform: Literal["web"]
    listen: str = "127.0.0.1:8600"
    token: SecretRef | None = None

    @model_validator(mode="after")
    def _guarded(self) -> "PageSettings":
        if not self.listen.startswith("127.") and self.token is None:
            raise ValueError("listening for other machines needs a token")
        return self


class Plugin:
    platform: ClassVar[str] = ""
    settings_model: ClassVar[type[BotSettings]] = BotSettings

    def build(self, settings: Any, host: AdapterHost) -> Adapter:
        raise NotImplementedError


class ChatPlugin(Plugin):
    platform = "telegram"
    settings_model = ChatSettings


class PagePlugin(Plugin):
    platform = "web"
    settings_model = PageSettings


class Surroundings:
    state = Path("/nowhere/state")


PROFILES = frozenset({"default", "career", "finance", "research", "systems", "my-discord-agent"})


@pytest.fixture
def plugins() -> Mapping[str, Plugin]:
    return {"telegram": ChatPlugin(), "web": PagePlugin()}


@pytest.fixture
def env() -> Surroundings:
    return Surroundings()


@pytest.fixture
def load_yaml(plugins: Mapping[str, Plugin], env: Surroundings) -> Callable[..., Loaded]:
    """Load text as `c.yaml`; without `bots:` one Telegram bot `main` is added below."""

    def load(text: str, *, profiles: Any = PROFILES) -> Loaded:
        if "bots:" not in text:
            text += "\nbots: [{platform: telegram, bot_id: main, token: '${env:T}'}]\n"
        return load_text(text, file="c.yaml", env=env, plugins=plugins, profiles=profiles)

    return load
