"""The client side of the wire platform: an adapter plugin for the daemon, and a client for the naive loop."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

from hermesd.address import Address
from hermesd.errors import Ambiguous, Unreachable
from hermesd.message import InboundMessage, Outgoing, RawEvent, Receipt, Sender
from hermesd.ports import AdapterHost, BotSettings, BotState, Capabilities, Finding, Whereabouts

Crash = Callable[[str], None]


class WireSettings(BotSettings):
    """A bot of the wire platform."""

    platform: Literal["wire"] = "wire"
    socket: str


class Line:
    """One connection, one request at a time."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: Mapping[str, Any]) -> Any:
        async with self._lock:
            if self._streams is None:
                self._streams = await asyncio.open_unix_connection(self._path)
            reader, writer = self._streams
            writer.write(json.dumps(request).encode() + b"\n")
            await writer.drain()
            return json.loads(await reader.readline())

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()


class WireAdapter:
    """`ports.Adapter` over two lines, with crash points around everything that crosses them."""

    capabilities = Capabilities(max_text=10_000)

    def __init__(self, settings: WireSettings, host: AdapterHost, crash: Crash) -> None:
        self.key = host.key
        self._host, self._crash = host, crash
        self._polls, self._sends = Line(settings.socket), Line(settings.socket)

    async def run(self) -> None:
        stored = await self._host.cursor()
        offset = int(stored) if stored is not None else None
        self._host.report(BotState.UP)
        while True:
            try:
                answer = await self._polls.ask({"op": "poll", "bot": self.key.bot_id, "offset": offset})
            except OSError as error:
                raise Unreachable(str(error)) from error
            events = [
                RawEvent(str(update["number"]), update, Address(self.key, update["chat"]))
                for update in answer["updates"]
            ]
            if events:
                offset = max(update["number"] for update in answer["updates"]) + 1
                self._crash("ingest.before")
                await self._host.ingest(events, str(offset))
                self._crash("ingest.after")

    def parse(self, event: RawEvent) -> Sequence[InboundMessage]:
        raw = event.raw
        address = Address(self.key, raw["chat"])
        sender = Sender(raw["user"], raw["user"])
        key = f"{raw['chat']}:{raw['number']}"
        return [InboundMessage(event.event_id, key, address, "group", sender, raw["text"])]

    def place(self, event: RawEvent) -> Whereabouts | None:
        raw = event.raw
        return Whereabouts(Address(self.key, raw["chat"]), f"{raw['chat']}:{raw['number']}")

    def split(self, text: str) -> Sequence[str]:
        return [text]

    async def send(self, message: Outgoing) -> Receipt:
        self._crash("send.before")
        request = {
            "op": "send", "bot": self.key.bot_id, "chat": message.address.chat_id, "text": message.text,
            "reply_to": message.reply_to,
        }  # fmt: skip
        try:
            answer = await self._sends.ask(request)
        except (OSError, ValueError) as error:
            raise Ambiguous(str(error)) from error
        self._crash("send.after")
        return Receipt(f"{message.address.chat_id}:sent:{answer['number']}")

    async def typing(self, address: Address) -> None: ...

    async def commands(self, menu: Sequence[tuple[str, str]]) -> None: ...

    async def probe(self, chats: Sequence[str] = ()) -> Sequence[Finding]:
        return []

    async def close(self) -> None:
        self._polls.close()
        self._sends.close()


class WirePlugin:
    """`ports.AdapterPlugin`."""

    platform: ClassVar[str] = "wire"
    settings_model: ClassVar[type[BotSettings]] = WireSettings

    def __init__(self, crash: Crash) -> None:
        self._crash = crash

    def build(self, settings: WireSettings, host: AdapterHost) -> WireAdapter:
        return WireAdapter(settings, host, self._crash)


class WireNaive:
    """`hermesd.testing.naive.NaiveClient` for one bot, with the same crash points."""

    def __init__(self, path: str, bot: str, crash: Crash, effect: Callable[[str], None]) -> None:
        self._polls, self._sends = Line(path), Line(path)
        self._bot, self._crash, self._effect = bot, crash, effect

    async def poll(self, offset: int | None) -> Sequence[dict[str, Any]]:
        answer = await self._polls.ask({"op": "poll", "bot": self._bot, "offset": offset})
        self._crash("ingest.before")
        self._crash("ingest.after")
        return list(answer["updates"])

    def number(self, update: dict[str, Any]) -> int:
        return int(update["number"])

    async def answer(self, update: dict[str, Any]) -> str:
        self._crash("model.before")
        if "use the tool" in update["text"]:
            self._crash("tool.before")
            self._effect(update["text"])
            self._crash("tool.after")
        await asyncio.sleep(0)
        self._crash("model.after")
        return f"ok: {update['text']}"

    async def send(self, update: dict[str, Any], text: str) -> None:
        self._crash("send.before")
        key = f"{update['chat']}:{update['number']}"
        await self._sends.ask({"op": "send", "bot": self._bot, "chat": update["chat"], "text": text, "reply_to": key})
        self._crash("send.after")
