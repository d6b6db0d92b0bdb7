"""What systemd would be told: the end of a start or reload as something to wait for."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hermesd.testing.telegram.signal import Signal


@dataclass(frozen=True, slots=True)
class Notice:
    """One datagram, by key."""

    values: dict[str, str]

    @property
    def ready(self) -> bool:
        """A start or a reload is over."""
        return self.values.get("READY") == "1"

    @property
    def status(self) -> str:
        return self.values.get("STATUS", "")


@dataclass(slots=True)
class Notices:
    """A notification socket and everything that arrived on it."""

    path: Path
    heard: list[Notice] = field(default_factory=list)
    changed: Signal = field(default_factory=Signal)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Notices"]:
        """Receive until the block ends."""
        self.path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
            wire.setblocking(False)
            wire.bind(str(self.path))
            loop.add_reader(wire.fileno(), self._read, wire)
            try:
                yield self
            finally:
                loop.remove_reader(wire.fileno())
                self.path.unlink(missing_ok=True)

    @property
    def ready(self) -> list[Notice]:
        """The ends of the start and of every reload so far."""
        return [notice for notice in self.heard if notice.ready]

    async def wait_ready(self, count: int) -> Notice:
        """The `count`-th end of a start or reload, counted from 1."""
        await self.changed.until(lambda: len(self.ready) >= count)
        return self.ready[count - 1]

    def _read(self, wire: socket.socket) -> None:
        try:
            while True:
                lines = wire.recv(65536).decode("utf-8", "replace").splitlines()
                self.heard.append(Notice(dict(line.partition("=")[::2] for line in lines)))
        except BlockingIOError:
            self.changed.notify()
