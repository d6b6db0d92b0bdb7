"""One bot looked at from outside the daemon: its adapter asked, nothing received, nothing stored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hermesd.adapter import loading
from hermesd.address import AdapterKey, Address
from hermesd.clock import Clock, SystemClock
from hermesd.errors import HermesdError, OperatorError
from hermesd.message import RawEvent
from hermesd.ports import ASGIApp, BotSettings, BotState, Finding, HttpMount, Log, SecretRef, TranscriptEntry

_REFUSAL = "this bot is only being looked at"


class Silent:
    """A log that keeps nothing: the findings say it all, on the screen."""

    def bind(self, **values: Any) -> "Silent":
        return self

    def debug(self, event: str, **values: Any) -> None: ...
    def info(self, event: str, **values: Any) -> None: ...
    def warning(self, event: str, **values: Any) -> None: ...
    def error(self, event: str, **values: Any) -> None: ...


class NoHttp:
    """An HTTP mount that opens nothing."""

    async def mount(self, listen: str, path: str, app: ASGIApp, *, guarded: bool = False) -> str:
        """Raises OperatorError."""
        raise OperatorError(_REFUSAL)

    async def unmount(self, listen: str, path: str) -> None: ...


@dataclass(slots=True)
class ProbeHost:
    """An `AdapterHost` that hands out secrets and takes nothing."""

    key: AdapterKey
    read_secret: Callable[[SecretRef], str]
    clock: Clock = field(default_factory=SystemClock)
    log: Log = field(default_factory=Silent)
    http: HttpMount = field(default_factory=NoHttp)

    async def ingest(self, events: Sequence[RawEvent], cursor: str | None = None) -> int:
        """Raises OperatorError: nothing may be acknowledged that is not stored."""
        raise OperatorError(_REFUSAL)

    async def cursor(self) -> str | None:
        return None

    async def transcript(
        self, address: Address, *, after: str | None = None, limit: int = 200
    ) -> list[TranscriptEntry]:
        return []

    async def durable_token(self) -> str:
        return "not-a-token"

    def secret(self, ref: SecretRef) -> str:
        return self.read_secret(ref)

    def report(self, state: BotState, detail: str = "", *, fix: str = "") -> None: ...


async def look(
    settings: BotSettings, read_secret: Callable[[SecretRef], str], chats: Sequence[str] = ()
) -> Sequence[Finding]:
    """What `doctor` says about one bot and the chats its routes name. It never raises."""
    key = AdapterKey(settings.platform, settings.bot_id)
    try:
        adapter = loading.plugins([settings.platform])[settings.platform].build(settings, ProbeHost(key, read_secret))
        try:
            return await adapter.probe(chats)
        finally:
            await adapter.close()
    except HermesdError as error:
        return [Finding("error", error.message, error.hint)]
