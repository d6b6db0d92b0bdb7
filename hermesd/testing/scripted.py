"""A chat platform without a wire: a test hands in events and decides how each send ends.

For tests of what stands behind the adapters; an adapter itself is tried by `hermesd.testing.conformance`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar

from hermesd.address import AdapterKey, Address
from hermesd.message import Attachment, InboundMessage, MessageKind, Outgoing, RawEvent, Receipt, Sender
from hermesd.ports import Adapter, AdapterHost, BotSettings, BotState, Capabilities, Finding, SecretRef

PLATFORM = "scripted"


class ScriptedSettings(BotSettings):
    """One entry of `bots:`."""

    token: SecretRef | None = None
    #: changes the connection, as an address would
    variant: str = ""


@dataclass
class Platform:
    """Every bot of the platform, and what they sent."""

    #: decides how a send ends: raises, waits, or returns
    on_send: Callable[[Outgoing], Awaitable[None]] | None = None
    #: decides how a connection goes: raises, waits, or returns once it is up
    on_connect: Callable[[AdapterKey], Awaitable[None]] | None = None
    idempotent: bool = False
    max_text: int = 4096
    #: what arrived, in order
    sent: list[Outgoing] = field(default_factory=list)
    #: sends that were begun, in order
    tried: list[Outgoing] = field(default_factory=list)
    bots: dict[AdapterKey, "ScriptedAdapter"] = field(default_factory=dict)
    #: adapters built for each bot
    built: dict[AdapterKey, int] = field(default_factory=lambda: defaultdict(int))
    closed: int = 0
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _ids: Any = field(default_factory=lambda: count(1))

    @property
    def plugin(self) -> "ScriptedPlugin":
        """What an entry point would name."""
        return ScriptedPlugin(self)

    def event(self, text: str = "", **fields: Any) -> RawEvent:
        """An event of this platform. Fields: id, key, chat, thread, user, name, kind (dm, group, thread), what
        (a MessageKind), bot, addressed, moved_to, attached, bad (cannot be read), nothing (of no interest).
        """
        number = next(self._ids)
        raw = {"text": text, "key": f"m{number}", **fields}
        return RawEvent(str(raw.pop("id", f"e{number}")), raw)

    def texts(self, chat: str | None = None) -> list[str]:
        """The texts that arrived, of one chat or of all."""
        return [one.text for one in self.sent if chat is None or one.address.chat_id == chat]

    async def until(self, true: Callable[[], Any]) -> None:
        """Return once a condition on this platform holds."""
        while not true():
            await self._moved.wait()

    async def arrived(self, many: int) -> list[str]:
        """The texts, once at least that many arrived."""
        await self.until(lambda: len(self.sent) >= many)
        return self.texts()

    def moved(self) -> None:
        """Something happened: look again."""
        self._moved.set()
        self._moved = asyncio.Event()


class ScriptedAdapter:
    """Implements ports.Adapter."""

    def __init__(self, key: AdapterKey, platform: Platform, host: AdapterHost | None = None) -> None:
        self.key = key
        self.capabilities = Capabilities(platform.max_text, idempotent_send=platform.idempotent, threads=True)
        self.platform = platform
        self.host = host
        self._broken: asyncio.Future[None] | None = None

    async def run(self) -> None:
        assert self.host is not None  # noqa: S101  # only a hosted one is run
        self._broken = asyncio.get_running_loop().create_future()
        if self.platform.on_connect is not None:
            await self.platform.on_connect(self.key)
        self.host.report(BotState.UP)
        self.platform.moved()
        await self._broken

    def fail(self, error: Exception) -> None:
        """End the connection so."""
        if self._broken is not None and not self._broken.done():
            self._broken.set_exception(error)

    async def receive(self, *events: RawEvent, cursor: str | None = None) -> int:
        """Events come in; returns how many were new."""
        assert self.host is not None  # noqa: S101  # only a hosted one receives
        return await self.host.ingest(events, cursor)

    def parse(self, event: RawEvent) -> Sequence[InboundMessage]:
        raw = event.raw
        if raw.get("bad"):
            raise ValueError(f"cannot read {raw['bad']}")
        if raw.get("nothing"):
            return ()
        kind = raw.get("kind", "thread" if raw.get("thread") else "dm")
        address = Address(self.key, str(raw.get("chat", "c1")), raw.get("thread"))
        sender = Sender(str(raw.get("user", "u1")), str(raw.get("name", "Ada")), bool(raw.get("bot")))
        what = MessageKind(raw.get("what", "text"))
        attached = tuple(Attachment("document", name, "ref") for name in raw.get("attached", ()))
        return (
            InboundMessage(
                event.event_id, raw["key"], address, kind, sender, raw["text"], what, attachments=attached,
                addressed=raw.get("addressed", True), migrated_to=raw.get("moved_to"),
            ),
        )  # fmt: skip

    def split(self, text: str) -> Sequence[str]:
        most = self.platform.max_text
        return [text[n : n + most] for n in range(0, len(text), most)]

    async def send(self, message: Outgoing) -> Receipt:
        self.platform.tried.append(message)
        self.platform.moved()
        if self.platform.on_send is not None:
            await self.platform.on_send(message)
        self.platform.sent.append(message)
        self.platform.moved()
        return Receipt(f"s{len(self.platform.sent)}")

    async def typing(self, address: Address) -> None:
        """Nothing is shown."""

    async def commands(self, menu: Sequence[tuple[str, str]]) -> None:
        """There is no menu."""

    async def probe(self, chats: Sequence[str] = ()) -> Sequence[Finding]:
        return ()

    async def close(self) -> None:
        self.platform.closed += 1


@dataclass(frozen=True)
class ScriptedPlugin:
    """Implements ports.AdapterPlugin."""

    world: Platform
    platform: ClassVar[str] = PLATFORM
    settings_model: ClassVar[type[BotSettings]] = ScriptedSettings

    def build(self, settings: Any, host: AdapterHost) -> Adapter:
        adapter = ScriptedAdapter(host.key, self.world, host)
        self.world.bots[host.key] = adapter
        self.world.built[host.key] += 1
        return adapter
