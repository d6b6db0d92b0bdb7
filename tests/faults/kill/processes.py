"""Processes of the full tier: the fakes, the daemon as systemd would start it, and the naive loop."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from hermesd.testing.telegram.client import Remote


@dataclass(slots=True)
class World:
    """The outside: a fake Telegram and a fake model server, in processes that nobody kills."""

    telegram: str
    openai: str
    remote: Remote


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Both fakes, up."""
    async with (
        _python("-m", "hermesd.testing.telegram", "--port", "0") as telegram,
        _python("-m", "hermesd.testing.openai", "--port", "0", "--keep", "1") as openai,
    ):
        url = (await _line(telegram)).rpartition(" ")[2]
        model = await _line(openai)
        async with Remote(url) as remote:
            yield World(url, model, remote)


@dataclass(slots=True)
class Service:
    """One life of the daemon under a service manager: READY=1 and the exit code are what it sees."""

    process: asyncio.subprocess.Process
    manager: socket.socket
    #: every line it was told, with the monotonic moment
    told: list[tuple[str, float]] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self) -> None:
        """Read one message."""
        lines = self.manager.recv(4096).decode().split("\n")
        self.told += [(line, time.monotonic()) for line in lines]
        self._wake()

    async def until(self, word: str) -> float:
        """The moment this line came; waits for it. Raises EOFError when the process ended first."""
        ended = asyncio.ensure_future(self.process.wait())
        ended.add_done_callback(lambda _: self._wake())
        try:
            while True:
                for line, at in self.told:
                    if line == word:
                        return at
                if ended.done():
                    raise EOFError(f"the process ended with {self.process.returncode}")
                await self._news.wait()
        finally:
            ended.cancel()

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def signal(self, number: int) -> None:
        """Send a signal; a process that is gone does not mind."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def ended(self) -> int:
        return await self.process.wait()


@asynccontextmanager
async def service(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Service]:
    """Start a Python program with a notification socket; whatever of it is left at the end is killed."""
    path = folder / "notify.sock"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.setblocking(False)
        async with _python(*arguments, env={"NOTIFY_SOCKET": str(path), **(env or {})}, log=folder / "log") as process:
            running, loop = Service(process, manager), asyncio.get_running_loop()
            loop.add_reader(manager, running.hear)
            try:
                yield running
            finally:
                loop.remove_reader(manager)


@asynccontextmanager
async def _python(
    *arguments: str, env: Mapping[str, str] | None = None, log: Path = Path(os.devnull)
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=errors, env={**os.environ, **(env or {})}
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.communicate()


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()
