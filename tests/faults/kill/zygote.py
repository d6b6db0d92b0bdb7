"""The test's end of `light.py`: start a life, kill it, hear how it ended."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Order:
    """One life."""

    config: str
    state: str
    socket: str
    effects: str
    log: str
    bots: tuple[str, ...]
    #: seconds the life's clock is ahead
    clock: float
    naive: bool
    #: the named point at which the process kills itself, "" for none, and at which passage
    point: str
    nth: int


@dataclass(slots=True)
class Running:
    """A life in progress."""

    pid: int
    ended: asyncio.Future[int]
    #: why it was killed from outside, "" if it was not
    killed_by: str = ""

    def kill(self, how: int = signal.SIGKILL) -> None:
        """Send a signal, unless it has ended by itself."""
        if not self.ended.done():
            # it may have ended in this very moment, and the news is still on its way
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, how)


@dataclass(slots=True)
class Zygote:
    """The process that forks lives, one at a time."""

    process: asyncio.subprocess.Process

    async def start(self, order: Order) -> Running:
        """Begin a life."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(asdict(order)).encode() + b"\n")
        pid = int(await stdout.readline())

        async def ended() -> int:
            return int(await stdout.readline())

        return Running(pid, asyncio.ensure_future(ended()))


@asynccontextmanager
async def zygote() -> AsyncIterator[Zygote]:
    """A process with the whole house imported."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("light.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Zygote(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
