"""What systemd hears from the daemon, and who ends it when it can no longer speak for itself.

The watchdog is fed from real progress only: a loop that turns while the database hangs is not alive.
"""

import faulthandler
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from hermesd.clock import Clock

#: what the end of the process takes after the drain: closing files and threads
CLOSING_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Ready:
    """What the person who started the daemon is told once it is up."""

    #: complete addresses to open, their secrets included: for a screen, never for a log
    links: tuple[str, ...]
    #: `telegram/main`, …
    bots: tuple[str, ...]
    profiles: tuple[str, ...]
    #: what does not work although it was asked for, a sentence each: `web/local is degraded: …`
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Notifier:
    """systemd's notification socket; without one every message goes nowhere, quietly."""

    #: NOTIFY_SOCKET as settings read it: a path, or `@name` for the abstract kind; None = not under systemd
    address: str | None

    def send(self, *lines: str) -> bool:
        """Pass `KEY=value` lines on; whether systemd got them. Never raises: a deaf systemd must not stop a daemon."""
        if not self.address or self.address[0] not in "/@":
            return False
        target = "\0" + self.address[1:] if self.address[0] == "@" else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as wire:
                wire.setblocking(False)
                wire.sendto("\n".join(lines).encode(), target)
        except OSError:
            return False
        return True

    def ready(self, status: str) -> bool:
        """Start-up, or a reload, is over."""
        return self.send("READY=1", f"STATUS={_one_line(status)}")

    def reloading(self, monotonic: float) -> bool:
        """A reload began; `monotonic` is the CLOCK_MONOTONIC time in seconds. Follow it with `ready`."""
        return self.send("RELOADING=1", f"MONOTONIC_USEC={int(monotonic * 1_000_000)}")

    def stopping(self, status: str, *, within: float = 0.0) -> bool:
        """The drain began and ends within that many seconds.

        systemd then waits at least so long, however short the TimeoutStopSec of the unit or of a drop-in is: the
        configured drain decides, and nobody has to keep two numbers in step.
        """
        extension = (f"EXTEND_TIMEOUT_USEC={int((within + CLOSING_SECONDS) * 1_000_000)}",) if within > 0 else ()
        return self.send("STOPPING=1", f"STATUS={_one_line(status)}", *extension)

    def status(self, status: str) -> bool:
        """One line for `systemctl status`."""
        return self.send(f"STATUS={_one_line(status)}")

    def alive(self) -> bool:
        """Feed the watchdog."""
        return self.send("WATCHDOG=1")

    def extend(self, seconds: float) -> bool:
        """Ask for more time to start, reload or stop."""
        return self.send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1_000_000)}")


@dataclass(frozen=True, slots=True)
class Watchdog:
    """Decides when WATCHDOG=1 is earned. Pure."""

    #: WatchdogSec in seconds; 0 = systemd does not watch
    period: float

    @property
    def interval(self) -> float:
        """Seconds between two looks: four in a period, so that one late look is not a death."""
        return self.period / 4

    def late(self, progress: Mapping[str, float], now: float) -> tuple[str, ...]:
        """The parts whose last real progress (monotonic seconds) is older than half a period, by name."""
        return tuple(sorted(name for name, at in progress.items() if now - at > self.period / 2))

    def due(self, progress: Mapping[str, float], now: float) -> bool:
        """Whether to feed the watchdog now: systemd watches, and every part has progressed lately."""
        return self.period > 0 and bool(progress) and not self.late(progress, now)


@dataclass(frozen=True, slots=True)
class LoopWatch:
    """Ends the process, with the stacks of all threads, when the event loop stands still longer than `period`.

    It is faulthandler's own thread, outside the interpreter lock: it works when Python does not. One per process.
    """

    clock: Clock
    #: seconds
    period: float
    #: where the stacks go; needs a real file descriptor
    stacks: TextIO = sys.stderr

    async def run(self) -> None:
        """Re-arm the alarm from the loop until cancelled. The exit code of a frozen process is 1."""
        try:
            while True:
                faulthandler.dump_traceback_later(self.period, exit=True, file=self.stacks)
                await self.clock.sleep(self.period / 4)
        finally:
            faulthandler.cancel_dump_traceback_later()


def _one_line(text: str) -> str:
    return " ".join(text.split())
