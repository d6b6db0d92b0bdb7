"""Everything the bench starts and reads: fakes, daemon and bare loop as processes of their own, and /proc."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hermesd.testing.telegram.client import Remote

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Program:
    """A process under measurement."""

    process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self.process.pid

    def cpu(self) -> float:
        """Seconds of CPU used so far, children it has waited for included."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(value) for value in fields[11:15]) / TICKS

    def memory(self) -> float:
        """Resident megabytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await self.process.wait()


@asynccontextmanager
async def program(
    *arguments: str, env: dict[str, str] | None = None, log: Path | None = None
) -> AsyncIterator[Program]:
    """Run a Python program for the length of the block."""
    with (log or Path(os.devnull)).open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, stderr=errors, env={**os.environ, **(env or {})}
        )
    running = Program(process)
    try:
        yield running
    finally:
        await running.stop()


async def first_line(running: Program) -> str:
    assert running.process.stdout is not None
    return (await running.process.stdout.readline()).decode().strip()


@dataclass(slots=True)
class Fakes:
    """The outside world."""

    telegram: str
    openai: str
    remote: Remote


@asynccontextmanager
async def fakes(tokens: Sequence[str]) -> AsyncIterator[Fakes]:
    """A fresh fake Telegram with these bots, and a fake model server."""
    async with (
        program("-m", "hermesd.testing.telegram", "--port", "0") as telegram,
        program("-m", "hermesd.testing.openai", "--port", "0", "--keep", "1") as openai,
    ):
        url = (await first_line(telegram)).rpartition(" ")[2]
        model = await first_line(openai)
        async with Remote(url) as remote:
            await remote.setup([{"token": token} for token in tokens])
            yield Fakes(url, model, remote)


class Notified:
    """systemd's end of the notification socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    async def wait(self, word: str, seconds: float = 60.0) -> float:
        """Monotonic seconds at which a message with this line arrived."""
        async with asyncio.timeout(seconds):
            while True:
                message = await asyncio.get_running_loop().sock_recv(self._socket, 4096)
                if word in message.decode().split("\n"):
                    return time.monotonic()

    def close(self) -> None:
        self._socket.close()


@contextmanager
def notified(folder: Path) -> Iterator[Notified]:
    """A notification socket for one start of the daemon."""
    path = folder / "notify.sock"
    path.unlink(missing_ok=True)
    end = Notified(path)
    try:
        yield end
    finally:
        end.close()


@dataclass(frozen=True, slots=True)
class Plan:
    """The daemon's configuration for one measurement."""

    folder: Path
    tokens: tuple[str, ...]
    #: people of each bot; each is a chat, spread over the profiles
    people: int
    profiles: int
    #: "null" or the base URL of a model server
    model: str

    @property
    def users(self) -> list[tuple[str, int]]:
        """(token, user) of every chat."""
        return [(token, 1000 * n + user) for n, token in enumerate(self.tokens, 1) for user in range(self.people)]

    def write(self, telegram: str, *, routes: str | None = None) -> None:
        """Write hermesd.yaml and the profiles' homes."""
        for number in range(self.profiles):
            add_profile(self.folder, f"p{number}", self.model)
        bots = "".join(
            f'  - {{platform: telegram, bot_id: b{n}, token: "${{env:TOKEN_{n}}}", base_url: "{telegram}", '
            "access: {allow: everyone}}\n"
            for n in range(len(self.tokens))
        )
        chats = "".join(f'    "{user}": p{i % self.profiles}\n' for i, (_, user) in enumerate(self.users))
        own = f"routes:\n  telegram:\n{chats}" if chats else ""
        (self.folder / "hermesd.yaml").write_text(
            "default_profile: p0\nlimits: {turns: 64, turns_per_profile: 8, lane_queue: 500}\nbots:\n"
            f'  - {{platform: web, bot_id: local, listen: "127.0.0.1:0"}}\n{bots}'
            + (routes if routes is not None else own)
        )

    @property
    def env(self) -> dict[str, str]:
        return {f"TOKEN_{n}": token for n, token in enumerate(self.tokens)}


def add_profile(folder: Path, name: str, model: str) -> None:
    home = folder / "state" / "profiles" / name
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = (
        "{provider: 'null', default: echo}"
        if model == "null"
        else f'{{provider: custom, default: echo, base_url: "{model}", api_key: "${{env:KEY}}"}}'
    )
    (home / "config.yaml").write_text(f"model: {engine}\n")
    (home / "SOUL.md").write_text(f"You are {name}, a calm and friendly colleague.\n")
    env = home / ".env"
    env.write_text("KEY=none\n")
    env.chmod(0o600)


@asynccontextmanager
async def daemon(
    plan: Plan, *, watch: bool = False, profile: Path | None = None
) -> AsyncIterator[tuple[Program, Notified]]:
    """The daemon, ready; `watch` notes when its loop stands still (which costs it some CPU)."""
    arguments = [str(HERE / "entry.py"), "--config", str(plan.folder / "hermesd.yaml")]
    arguments += ["--state", str(plan.folder / "state")]
    arguments += ["--stalls", str(plan.folder / "stalls")] if watch else []
    arguments += ["--profile", str(profile)] if profile else []
    with notified(plan.folder) as end:
        env = {**plan.env, "NOTIFY_SOCKET": str(end.path)}
        async with program(*arguments, env=env, log=plan.folder / "log") as running:
            await end.wait("READY=1")
            yield running, end


async def polled(fakes: Fakes, before: dict[str, int]) -> None:
    """Return once every bot has asked for updates since `before`."""
    # the fake has no event for it, and a few milliseconds do not matter here
    while any(count <= before[name] for name, count in (await polls(fakes)).items()):  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def polls(fakes: Fakes) -> dict[str, int]:
    """How often each bot has asked for updates."""
    return {name: bot["polls"] for name, bot in (await fakes.remote.state()).items()}


@asynccontextmanager
async def bare(fakes: Fakes, tokens: Sequence[str], *, model: bool) -> AsyncIterator[Program]:
    """The bare loop, polling."""
    given = [f"--token={token}" for token in tokens]
    before = await polls(fakes)
    async with program(
        str(HERE / "bare.py"), "--telegram", fakes.telegram, *(["--openai", fakes.openai] if model else []), *given
    ) as running:
        await polled(fakes, before)
        yield running


def stalls(folder: Path, since: float, until: float) -> float:
    """The longest time the daemon's loop stood still between two monotonic moments; seconds."""
    lines = [line.split() for line in (folder / "stalls").read_text().splitlines()]
    return max((float(gap) for at, gap in lines if since <= float(at) <= until), default=0.0)
