"""Child processes: started away from the loop, with nothing of ours in them, and gone when we say so."""

import asyncio
import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hermesd.ports import CommandResult

#: where programs are looked for; the daemon's own PATH is not passed on
PATH = "/usr/local/bin:/usr/bin:/bin"
#: bytes of each output stream that are kept
OUTPUT_CAP = 200_000

_PR_SET_DUMPABLE = 4
_PIECE = 65_536


def harden() -> bool:
    """Make this process's environment and memory unreadable to other processes of the same user (Linux).

    Children otherwise read the daemon's secrets from /proc/<ppid>/environ. Returns whether the kernel agreed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)


def child_env(secrets: Mapping[str, str], home: Path, tmp: Path, path: str = PATH) -> dict[str, str]:
    """A child's whole environment: the profile's own variables and the five every program needs. Pure."""
    fixed = {"HOME": str(home), "TMPDIR": str(tmp), "PATH": path, "LANG": "C.UTF-8", "PWD": str(home)}
    usable = {name: value for name, value in secrets.items() if name and "=" not in name and "\0" not in name + value}
    return {**usable, **fixed}


@dataclass(frozen=True, slots=True)
class Launcher:
    """Runs commands. It holds nothing: what a child gets is what the call says."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path,
        seconds: float,
        output_cap: int = OUTPUT_CAP,
    ) -> CommandResult:
        """Run `argv` (no shell) to its end, or kill its whole process group after `seconds` or when cancelled.

        The child gets exactly `env`, an empty stdin, no descriptor of ours, umask 077, and a session of its own.
        A program that cannot be started is exit code 127 or 126, as a shell would say.
        """
        try:
            # a fork of the whole daemon stalls uvloop; Popen in a thread uses vfork
            process = await _spawn(argv, env, cwd)
        except FileNotFoundError as error:
            return CommandResult(127, "", f"not found: {error.filename}")
        except (PermissionError, NotADirectoryError, OSError) as error:
            return CommandResult(126, "", f"cannot be started: {error.strerror}")
        return await _Watch(process, output_cap).until_done(seconds)


async def _spawn(argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> subprocess.Popen[bytes]:
    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - running what a tool was allowed to run is this module's purpose
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            cwd=cwd,
            close_fds=True,
            start_new_session=True,
            umask=0o077,
            bufsize=0,
        )

    spawning = asyncio.get_running_loop().run_in_executor(None, start)
    try:
        return await asyncio.shield(spawning)
    except asyncio.CancelledError:
        # the thread cannot be stopped: its child is taken over and killed as soon as it exists
        spawning.add_done_callback(_discard)
        raise


def _discard(spawning: "asyncio.Future[subprocess.Popen[bytes]]") -> None:
    if not spawning.cancelled() and spawning.exception() is None:
        process = spawning.result()
        _kill_group(process.pid)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


@dataclass(slots=True)
class _Watch:
    """One running child: its output and its end, read by the loop without holding a thread."""

    process: subprocess.Popen[bytes]
    cap: int
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    output: dict[int, bytearray] = field(default_factory=dict)

    async def until_done(self, seconds: float) -> CommandResult:
        loop = asyncio.get_running_loop()
        streams = [stream.fileno() for stream in (self.process.stdout, self.process.stderr) if stream is not None]
        pidfd = os.pidfd_open(self.process.pid)
        timed_out = False
        try:
            for number in streams:
                os.set_blocking(number, False)
                self.output[number] = bytearray()
                loop.add_reader(number, self._read, number)
            loop.add_reader(pidfd, self._end, pidfd)
            async with asyncio.timeout(seconds):
                await self.ended.wait()
        except TimeoutError:
            timed_out = True
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
            # before the leader is reaped its number cannot belong to another group
            _kill_group(self.process.pid)
            for number in streams:
                loop.remove_reader(number)
                self._drain(number)
            self.process.wait()
            for stream in (self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()
        out, err = (self._text(number) for number in streams)
        return CommandResult(self.process.returncode, out, err, timed_out)

    def _end(self, pidfd: int) -> None:
        asyncio.get_running_loop().remove_reader(pidfd)
        self.ended.set()

    def _read(self, number: int) -> None:
        try:
            piece = os.read(number, _PIECE)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if not piece:
            asyncio.get_running_loop().remove_reader(number)
            return
        kept = self.output[number]
        # what is over the cap is read and dropped, so that the child does not block on a full pipe
        kept += piece[: max(0, self.cap + 1 - len(kept))]

    def _drain(self, number: int) -> None:
        """Take what is still in the pipe, at most one cap of it: a survivor may go on writing."""
        kept = self.output[number]
        try:
            while len(kept) <= self.cap and (piece := os.read(number, _PIECE)):
                kept += piece[: max(0, self.cap + 1 - len(kept))]
        except OSError:
            return

    def _text(self, number: int) -> str:
        kept = bytes(self.output[number])
        text = kept[: self.cap].decode("utf-8", "replace")
        return f"{text}\n[cut after {self.cap:,} bytes]" if len(kept) > self.cap else text
