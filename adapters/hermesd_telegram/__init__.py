"""Telegram for hermesd: python-telegram-bot for types, requests and sends, a receiving loop that loses nothing."""

from hermesd_telegram.adapter import TelegramAdapter
from hermesd_telegram.plugin import TelegramPlugin
from hermesd_telegram.settings import TelegramSettings

plugin = TelegramPlugin()

__all__ = ["TelegramAdapter", "TelegramPlugin", "TelegramSettings", "plugin"]
