"""One Telegram bot: receives by long polling, stores before it confirms, sends one part at a time."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt
from telegram.error import TelegramError

from hermesd import markup
from hermesd.address import Address
from hermesd.errors import Ambiguous, Rejected, Unreachable
from hermesd.message import InboundMessage, Outgoing, RawEvent, Receipt
from hermesd.ports import AdapterHost, BotState, Capabilities, Finding, Whereabouts
from hermesd_telegram import failure, inbound, probe, render
from hermesd_telegram.settings import TelegramSettings
from hermesd_telegram.speech import Identity
from hermesd_telegram.wire import Endpoints, RawBot, make_bot

API = "https://api.telegram.org"
#: Telegram's limit in UTF-16 units, after entities
MAX_TEXT = 4096
#: units of each part kept free for a mark in front ("may be a duplicate")
RESERVE = 120
#: updates asked for; Telegram remembers the list, so it is said every time
KINDS = ["message", "edited_message", "channel_post", "my_chat_member", "callback_query"]
#: seconds a long poll's answer may be late
GRACE = 15.0
_COMMAND = re.compile(r"[a-z0-9_]{1,32}")


class TelegramAdapter:
    """`ports.Adapter` for one Telegram bot."""

    capabilities = Capabilities(max_text=MAX_TEXT, typing=True, threads=True)

    def __init__(self, settings: TelegramSettings, host: AdapterHost, endpoints: Endpoints, parser: MarkdownIt) -> None:
        self.key = host.key
        self._settings, self._host, self._endpoints, self._parser = settings, host, endpoints, parser
        self._place = ((settings.base_url or API).rstrip("/"), settings.proxy)
        self._bot: RawBot | None = None
        self._me = Identity(0, None)

    # --- receiving ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Find out who we are, then poll until cancelled. Raises PlatformError or SecretUnavailable."""
        try:
            await self._introduce()
            await self._poll()
        except TelegramError as error:
            raise failure.while_polling(error) from None

    async def _introduce(self) -> None:
        """Learn the bot's own id and name, and make sure that polling is what Telegram does for it."""
        bot = self._connected()
        me = await bot.ask("getMe")
        if not isinstance(me, Mapping) or not isinstance(me.get("id"), int) or not me.get("username"):
            raise Unreachable("Telegram does not say who the bot is; its own messages could not be told apart")
        self._me = Identity(me["id"], str(me["username"]))
        hook = await bot.ask("getWebhookInfo")
        if isinstance(hook, Mapping) and hook.get("url"):
            self._host.log.warning("a webhook was set; it is removed", action="telegram.webhook")
            await bot.ask("deleteWebhook", drop_pending_updates=False)

    async def _poll(self) -> None:
        """Store what arrives, and only then confirm it.

        The offset is a receipt, not a filter: it is sent until one poll has carried it and then left out, because after
        a quiet week Telegram starts counting at a random, perhaps lower, number. For the same reason a new run begins
        without one: what was not confirmed comes again and is known.
        """
        bot = self._connected()
        offset: int | None = None
        # the first poll does not wait: it shows that messages can flow
        timeout = 0
        while True:
            updates = await bot.ask(
                "getUpdates",
                offset=offset,
                timeout=timeout,
                allowed_updates=KINDS,
                read_timeout=timeout + GRACE,
            )
            if not isinstance(updates, list):
                raise Unreachable("Telegram's updates are not a list")
            offset = await self._store(updates) if updates else None
            if not timeout:
                self._host.report(BotState.UP, f"@{self._me.username}")
                timeout = self._settings.poll_timeout

    async def _store(self, updates: list[Any]) -> int:
        """Commit updates with the number that confirms them; returns the number."""
        me = {"id": self._me.id, "username": self._me.username}
        events = [_event(update, me) for update in updates]
        numbers: list[int] = [update["update_id"] for update in updates if _is_numbered(update)]
        if not numbers:
            await self._host.ingest(events)
            raise Unreachable("Telegram sends updates without numbers, which nothing can confirm")
        offset = max(numbers) + 1
        await self._host.ingest(events, str(offset))
        return offset

    def parse(self, event: RawEvent) -> Sequence[InboundMessage]:
        """Read one stored update. Raises ValueError for a malformed one."""
        return inbound.parse(event, self.key, self._me)

    def place(self, event: RawEvent) -> Whereabouts | None:
        """Chat, topic and number of the message in an update that is not read."""
        return inbound.place(event, self.key)

    # --- sending -----------------------------------------------------------------------------------------------

    def split(self, text: str) -> Sequence[str]:
        """Cut Markdown at Telegram's limit; parts that show nothing are left out unless nothing else is there."""
        parts = markup.split(text, MAX_TEXT, markup.utf16_len, reserve=RESERVE)
        return [part for part in parts if part.strip()] or parts

    async def send(self, message: Outgoing) -> Receipt:
        """Send one part; once more as plain text if Telegram refuses the markup, which it does without sending."""
        html = render.to_html(message.text, self._parser)
        if not html.strip() or (len(html) > MAX_TEXT / 2 and render.visible_length(html) > MAX_TEXT):
            # markup that shows nothing, or tables grown by their padding: the source always fits
            return await self._deliver(message, message.text, None)
        try:
            return await self._deliver(message, html, "HTML")
        except _MarkupRefused:
            self._host.log.warning("markup refused, sent as plain text", action="telegram.plain")
            return await self._deliver(message, message.text, None)

    async def _deliver(self, message: Outgoing, text: str, mode: str | None) -> Receipt:
        if not text.strip():
            raise Rejected("there is nothing visible to send", reason="bad_request")
        async with self._endpoints.lease(*self._place):
            try:
                sent = await self._connected().ask(
                    "sendMessage",
                    chat_id=message.address.chat_id,
                    message_thread_id=_wire_thread(message.address),
                    text=text,
                    parse_mode=mode,
                    link_preview_options={"is_disabled": True},
                    reply_parameters=_reply(message),
                )
            except TelegramError as error:
                if mode and failure.cannot_parse(error):
                    raise _MarkupRefused from None
                raise failure.while_sending(error) from None
        number = sent.get("message_id") if isinstance(sent, Mapping) else None
        if not isinstance(number, int):
            raise Ambiguous("Telegram's answer does not name the message")
        return Receipt(f"{message.address.chat_id}:{number}")

    async def typing(self, address: Address) -> None:
        """Show “typing …” for five seconds."""
        async with self._endpoints.lease(*self._place):
            try:
                await self._connected().ask(
                    "sendChatAction",
                    chat_id=address.chat_id,
                    message_thread_id=_wire_thread(address),
                    action="typing",
                )
            except TelegramError as error:
                raise failure.while_polling(error) from None

    async def commands(self, menu: Sequence[tuple[str, str]]) -> None:
        """Publish the menu; names Telegram cannot show are left out."""
        shown = [
            {"command": name, "description": text[:256]} for name, text in menu if _COMMAND.fullmatch(name) and text
        ]
        async with self._endpoints.lease(*self._place):
            try:
                await self._connected().ask("setMyCommands", commands=shown[:100])
            except TelegramError as error:
                raise failure.while_polling(error) from None

    async def probe(self, chats: Sequence[str] = ()) -> Sequence[Finding]:
        """Look at the token, privacy mode, webhook, and whether the bot may write in these chats, live."""
        async with self._endpoints.lease(*self._place):
            return await probe.look(self._connected(), chats)

    async def close(self) -> None:
        """Give the connections back; sends under way keep theirs until they are done."""
        if self._bot is not None:
            self._bot = None
            await self._endpoints.release(*self._place)

    def _connected(self) -> RawBot:
        """The bot, made on first use: the secret is read then, and the connections are shared from then on."""
        if self._bot is None:
            token = self._host.secret(self._settings.token)
            self._bot = make_bot(token, self._place[0], self._endpoints.acquire(*self._place))
        return self._bot


class _MarkupRefused(Exception):
    """Telegram cannot read our HTML; nothing was sent."""


def _is_numbered(update: Any) -> bool:
    number = update.get("update_id") if isinstance(update, Mapping) else None
    return isinstance(number, int) and not isinstance(number, bool)


def _event(update: Any, me: Mapping[str, Any]) -> RawEvent:
    """An update as it is stored. One without a number is known by its content."""
    raw = {**update, inbound.ME: me} if isinstance(update, Mapping) else {"unreadable": update}
    if _is_numbered(update):
        return RawEvent(str(update["update_id"]), raw)
    content = json.dumps(update, sort_keys=True).encode()
    return RawEvent(f"unnumbered:{hashlib.sha256(content).hexdigest()[:32]}", raw)


def _wire_thread(address: Address) -> int | None:
    """The thread id to send with; General is named by leaving it out."""
    if address.thread_id is None or address.thread_id == inbound.GENERAL:
        return None
    try:
        return int(address.thread_id)
    except ValueError:
        raise Rejected(f"{address} names no Telegram topic", reason="thread_gone") from None


def _reply(message: Outgoing) -> dict[str, Any] | None:
    """The message to answer to, if it is in the same chat; one that was deleted does not stop the answer."""
    chat, _, number = (message.reply_to or "").rpartition(":")
    if chat != message.address.chat_id or not number.isdecimal():
        return None
    return {"message_id": int(number), "allow_sending_without_reply": True}
