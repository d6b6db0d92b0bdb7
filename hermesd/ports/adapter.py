"""The port every chat platform plugs into."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from hermesd.address import AdapterKey, Address
from hermesd.clock import Clock
from hermesd.message import InboundMessage, Outgoing, RawEvent, Receipt
from hermesd.ports.bot import BotSettings, SecretRef
from hermesd.ports.log import Log


class BotState(StrEnum):
    """What an operator sees of one bot."""

    STARTING = "starting"
    UP = "up"
    DEGRADED = "degraded"
    CONFLICT = "conflict"
    UNAUTHORIZED = "unauthorized"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a platform can do; the code path is one, the capabilities differ."""

    #: longest part `split` may return, in the platform's own unit
    max_text: int
    #: a repeated send with the same delivery id is shown once
    idempotent_send: bool = False
    typing: bool = False
    threads: bool = False


@dataclass(frozen=True, slots=True)
class TranscriptEntry:
    """One line of a conversation as the ledger knows it (for adapters that show history themselves)."""

    #: ascending within one chat and thread; use the last one seen to ask for what follows
    cursor: str
    #: `in`: a person wrote it; `out`: hermesd sent it
    direction: Literal["in", "out"]
    #: event_id for `in`, delivery_id for `out`
    id: str
    #: Markdown for `out`, the raw event for `in`
    text: str
    raw: Mapping[str, Any] | None
    #: Unix seconds
    at: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing `doctor` looked at."""

    level: Literal["ok", "warning", "error"]
    what: str
    #: the exact step (the click, the line) that fixes it
    fix: str = ""


ASGIApp = Callable[..., Awaitable[None]]


class HttpMount(Protocol):
    """The one HTTP server; an adapter with pages mounts an ASGI app on it."""

    async def mount(self, listen: str, path: str, app: ASGIApp, *, guarded: bool = False) -> str:
        """Serve `app` below `path` on `host:port` (port 0 picks one); returns the base URL. Raises OperatorError.

        `guarded` says that the operator set a token and the app checks it: only then may other machines reach it.
        """
        ...

    async def unmount(self, listen: str, path: str) -> None:
        """Stop serving that path; the last one gone closes the socket."""
        ...


class AdapterHost(Protocol):
    """What the gateway offers one running adapter. It speaks for exactly one bot."""

    key: AdapterKey
    clock: Clock
    log: Log
    http: HttpMount

    async def ingest(self, events: Sequence[RawEvent], cursor: str | None = None) -> int:
        """Store events and the new cursor in one durable commit; returns how many were new.

        Acknowledge to the platform only after this returns. It waits, without limit, while the disk refuses writes.
        """
        ...

    async def cursor(self) -> str | None:
        """The last cursor stored by `ingest`."""
        ...

    async def transcript(
        self, address: Address, *, after: str | None = None, limit: int = 200
    ) -> list[TranscriptEntry]:
        """What was said in one place, oldest first; without `after` the newest `limit` entries."""
        ...

    async def durable_token(self) -> str:
        """A random secret of this bot's own, at least 256 bits of URL-safe text, the same after every restart."""
        ...

    def secret(self, ref: SecretRef) -> str:
        """The secret behind a reference, read now. Raises SecretUnavailable, which names the reference only."""
        ...

    def report(self, state: BotState, detail: str = "", *, fix: str = "") -> None:
        """Tell the operator how this bot is doing; `fix` is the exact next step."""
        ...


class Adapter(Protocol):
    """One bot, connected. Built by its plugin, owned by one supervisor."""

    key: AdapterKey
    capabilities: Capabilities

    async def run(self) -> None:
        """Connect and feed `host.ingest` until cancelled; call `host.report(UP)` once messages can flow.

        Raises PlatformError (the supervisor backs off and calls again) and nothing else it knows about.
        """
        ...

    def parse(self, event: RawEvent) -> Sequence[InboundMessage]:
        """Read one stored event. Pure; empty for events of no interest; raises ValueError for a malformed one."""
        ...

    def split(self, text: str) -> Sequence[str]:
        """Cut Markdown into parts this platform takes whole. Pure; never empty for non-empty text."""
        ...

    async def send(self, message: Outgoing) -> Receipt:
        """Send one part to its address, once: no retry inside. Raises a PlatformError that says what happened."""
        ...

    async def typing(self, address: Address) -> None:
        """Show that an answer is being prepared; fades by itself. May raise PlatformError."""
        ...

    async def commands(self, menu: Sequence[tuple[str, str]]) -> None:
        """Publish the command menu (name without slash, one-line help) where the platform has one."""
        ...

    async def probe(self, chats: Sequence[str] = ()) -> Sequence[Finding]:
        """Live checks for `doctor`, with the exact click that fixes each; `chats` are those that routes name."""
        ...

    async def close(self) -> None:
        """Release connections; called once, after `run` ended."""
        ...


@runtime_checkable
class OffersLinks(Protocol):
    """An adapter people reach by an address that holds its secret."""

    def links(self) -> Sequence[str]:
        """Complete addresses to open, secrets included: for the operator's own screen, never for a log.

        Empty until the bot is up.
        """
        ...


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where an event came from, as far as that can be told without reading it."""

    address: Address
    #: the platform's identity of the message, to answer to it
    message_key: str | None


@runtime_checkable
class TellsPlace(Protocol):
    """An adapter that can tell people about an event nobody dares to read any more."""

    def place(self, event: RawEvent) -> Whereabouts | None:
        """Where an answer to this event would go, by a few look-ups and nothing more; None when that cannot be told,
        or when it evidently is for somebody else. Pure; never raises.
        """
        ...


class AdapterPlugin(Protocol):
    """What an entry point of group `hermesd.adapters` names."""

    platform: ClassVar[str]
    #: pydantic model of one entry of `bots:` for this platform
    settings_model: ClassVar[type[BotSettings]]

    def build(self, settings: Any, host: AdapterHost) -> Adapter:
        """Make a bot that is not connected yet. No I/O. `settings` is an instance of `settings_model`."""
        ...
