"""What the entry point names: the settings of a web bot and how one is built."""

from typing import ClassVar

from hermesd.ports import Adapter, AdapterHost, BotSettings
from hermesd_web.settings import WebSettings


class WebPlugin:
    """The platform `web`."""

    platform: ClassVar[str] = "web"
    settings_model: ClassVar[type[BotSettings]] = WebSettings

    def build(self, settings: WebSettings, host: AdapterHost) -> Adapter:
        """Make a bot that is not serving yet. No I/O besides reading the page's own files."""
        # `hermesd check` reads settings only and starts faster without a web framework
        from hermesd_web.adapter import WebAdapter  # noqa: PLC0415

        return WebAdapter(settings, host)
