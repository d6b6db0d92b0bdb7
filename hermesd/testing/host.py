"""An in-memory AdapterHost: what the gateway offers an adapter, without a gateway.

It keeps the promises of the real one (membership de-duplication, cursor and events together, `ingest` waits while
the disk refuses) so that an adapter which works here works there. `hold()`/`release()` play the refusing disk.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hermesd.address import AdapterKey, Address
from hermesd.clock import Clock, SystemClock
from hermesd.errors import OperatorError, SecretUnavailable
from hermesd.message import InboundMessage, Outgoing, RawEvent
from hermesd.ports import ASGIApp, BotState, HttpMount, Log, SecretRef, TranscriptEntry


@dataclass(slots=True)
class MemoryLog:
    """A Log that keeps its lines, so that a test can read what was logged, and that nothing secret was."""

    #: shared by every bound child: (level, event, values)
    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    bound: dict[str, Any] = field(default_factory=dict)

    def bind(self, **values: Any) -> "MemoryLog":
        return MemoryLog(self.lines, {**self.bound, **values})

    def debug(self, event: str, **values: Any) -> None:
        self.lines.append(("debug", event, {**self.bound, **values}))

    def info(self, event: str, **values: Any) -> None:
        self.lines.append(("info", event, {**self.bound, **values}))

    def warning(self, event: str, **values: Any) -> None:
        self.lines.append(("warning", event, {**self.bound, **values}))

    def error(self, event: str, **values: Any) -> None:
        self.lines.append(("error", event, {**self.bound, **values}))


class NoHttp:
    """The mount of a host without an HTTP server."""

    async def mount(self, listen: str, path: str, app: ASGIApp, *, guarded: bool = False) -> str:
        """Raise OperatorError: give MemoryHost an `http` if the adapter needs one."""
        raise OperatorError(f"no HTTP server to mount {path} at {listen} on", hint="pass MemoryHost(http=…)")

    async def unmount(self, listen: str, path: str) -> None:
        """Do nothing: nothing was mounted."""


@dataclass(frozen=True, slots=True)
class Report:
    """One `host.report`."""

    state: BotState
    detail: str
    fix: str


class MemoryHost:
    """AdapterHost in memory. `events`, `reports` and `log.lines` are the record a test reads."""

    key: AdapterKey
    clock: Clock
    log: Log
    http: HttpMount

    def __init__(
        self,
        key: AdapterKey,
        *,
        secrets: Mapping[SecretRef, str] | None = None,
        clock: Clock | None = None,
        http: HttpMount | None = None,
        log: Log | None = None,
    ) -> None:
        self.key = key
        self.clock = clock or SystemClock()
        self.log = log or MemoryLog()
        self.http = http or NoHttp()
        #: each event once, in the order it was first stored
        self.events: list[RawEvent] = []
        #: how many events were handed in, repeats included
        self.offered = 0
        self.reports: list[Report] = []
        self._secrets = dict(secrets or {})
        self._known: set[str] = set()
        self._cursor: str | None = None
        self._parse: Callable[[RawEvent], Sequence[InboundMessage]] | None = None
        self._sent: list[tuple[Address, TranscriptEntry]] = []
        self._seen_at: dict[str, tuple[int, float]] = {}
        self._ticks = 0
        self._wake: set[asyncio.Event] = set()
        self._open = asyncio.Event()
        self._open.set()
        #: set while somebody waits in `ingest` behind `hold()`
        self.waiting = asyncio.Event()

    # --- what the adapter calls -------------------------------------------------------------------------------

    async def ingest(self, events: Sequence[RawEvent], cursor: str | None = None) -> int:
        """Keep new events and the cursor together; returns how many were new. Waits while held."""
        if not self._open.is_set():
            self.waiting.set()
            await self._open.wait()
            self.waiting.clear()
        new = 0
        for event in events:
            self.offered += 1
            if event.event_id in self._known:
                continue
            self._known.add(event.event_id)
            self.events.append(event)
            self._seen_at[event.event_id] = (self._tick(), self.clock.now())
            new += 1
        if cursor is not None:
            self._cursor = cursor
        self._notify()
        return new

    async def cursor(self) -> str | None:
        """The last cursor stored."""
        return self._cursor

    async def transcript(
        self, address: Address, *, after: str | None = None, limit: int = 200
    ) -> list[TranscriptEntry]:
        """Stored events (through the attached `parse`) and remembered sends of one place, oldest first."""
        entries = [entry for place, entry in self._sent if place == address]
        for event in self.events:
            entries += self._heard(event, address)
        entries.sort(key=lambda entry: entry.cursor)
        if after is not None:
            return [entry for entry in entries if entry.cursor > after][:limit]
        return entries[-limit:]

    async def durable_token(self) -> str:
        """A fixed stand-in for the bot's own secret."""
        return f"durable-token-of-{self.key.bot_id}".ljust(43, "0")

    def secret(self, ref: SecretRef) -> str:
        """The secret behind a reference. Raises SecretUnavailable."""
        try:
            return self._secrets[ref]
        except KeyError:
            raise SecretUnavailable(f"{ref} is not set", hint="pass MemoryHost(secrets={…})") from None

    def report(self, state: BotState, detail: str = "", *, fix: str = "") -> None:
        """Record it."""
        self.reports.append(Report(state, detail, fix))
        self._notify()

    # --- what a test calls ------------------------------------------------------------------------------------

    def attach(self, parse: Callable[[RawEvent], Sequence[InboundMessage]]) -> None:
        """Give `transcript` and `messages` the adapter's own reading of an event."""
        self._parse = parse

    def remember(self, message: Outgoing) -> None:
        """Record a delivery as committed, as the gateway does before it sends."""
        entry = TranscriptEntry(
            f"{self._tick():012d}", "out", message.delivery_id, message.text, None, self.clock.now()
        )
        self._sent.append((message.address, entry))

    @property
    def state(self) -> BotState | None:
        """The last state reported."""
        return self.reports[-1].state if self.reports else None

    def messages(self) -> list[InboundMessage]:
        """Every stored event through the attached `parse`. Raises ValueError for a poison event, as `parse` does."""
        parse = self._parse
        if parse is None:
            raise RuntimeError("attach(adapter.parse) first")
        return [message for event in self.events for message in parse(event)]

    def hold(self) -> None:
        """Let `ingest` wait from now on, as it does while the disk refuses writes."""
        self._open.clear()

    def release(self) -> None:
        """Let waiting and later `ingest` calls through."""
        self._open.set()

    async def wait_for(self, count: int) -> list[RawEvent]:
        """Return the events once there are at least `count`."""
        await self._until(lambda: len(self.events) >= count)
        return list(self.events)

    async def wait_offered(self, count: int) -> None:
        """Return once at least `count` events, repeats included, were handed in."""
        await self._until(lambda: self.offered >= count)

    async def wait_state(self, state: BotState) -> Report:
        """Return the report once the last one says `state`."""
        await self._until(lambda: self.state is state)
        return self.reports[-1]

    # ----------------------------------------------------------------------------------------------------------

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            wake = asyncio.Event()
            self._wake.add(wake)
            try:
                await wake.wait()
            finally:
                self._wake.discard(wake)

    def _notify(self) -> None:
        for wake in self._wake:
            wake.set()

    def _tick(self) -> int:
        self._ticks += 1
        return self._ticks

    def _heard(self, event: RawEvent, address: Address) -> list[TranscriptEntry]:
        if self._parse is None:
            return []
        try:
            messages = self._parse(event)
        except ValueError:
            return []
        tick, at = self._seen_at[event.event_id]
        return [
            TranscriptEntry(f"{tick:012d}", "in", event.event_id, message.text, event.raw, at)
            for message in messages
            if message.address == address
        ]
