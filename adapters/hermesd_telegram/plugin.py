"""What the entry point names: how to make Telegram bots, and the connections they share."""

from typing import ClassVar

from hermesd import markup
from hermesd.ports import AdapterHost, BotSettings
from hermesd_telegram.adapter import TelegramAdapter
from hermesd_telegram.settings import TelegramSettings
from hermesd_telegram.wire import Endpoints


class TelegramPlugin:
    """`ports.AdapterPlugin` for Telegram."""

    platform: ClassVar[str] = "telegram"
    settings_model: ClassVar[type[BotSettings]] = TelegramSettings

    def __init__(self) -> None:
        #: open while a bot uses them, closed with the last one
        self.endpoints = Endpoints()
        #: holds no state between texts
        self._parser = markup.parser()

    def build(self, settings: TelegramSettings, host: AdapterHost) -> TelegramAdapter:
        """Make a bot that is not connected yet. No I/O."""
        return TelegramAdapter(settings, host, self.endpoints, self._parser)
