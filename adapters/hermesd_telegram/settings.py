"""One entry of `bots:` for Telegram."""

from typing import Annotated, Literal

from pydantic import Field

from hermesd.ports import BotSettings, SecretRef


class TelegramSettings(BotSettings):
    """A Telegram bot."""

    platform: Literal["telegram"] = "telegram"
    token: Annotated[SecretRef, Field(description="the token @BotFather gave you, by reference")]
    base_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$", description="a local Bot API server; null: api.telegram.org"
        ),
    ] = None
    proxy: Annotated[
        str | None, Field(pattern=r"^https?://[^\s/?#@]+/?$", description="an HTTP proxy to reach Telegram through")
    ] = None
    poll_timeout: Annotated[int, Field(ge=1, le=50, description="seconds one long poll waits for messages")] = 30
