"""The process launcher, on real processes."""

import asyncio
import os
import select
import sys
from pathlib import Path

import pytest
import uvloop

from hermesd.process import Launcher, child_env

PROBE = "import os,sys; sys.stdout.write(repr(dict(os.environ)) + str(os.getcwd()))"


def env(tmp_path: Path, **secrets: str) -> dict[str, str]:
    return child_env(secrets, tmp_path, tmp_path)


async def test_a_child_sees_its_own_environment_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing of the daemon's environment reaches a child; its own variables, home and folder do."""
    monkeypatch.setenv("CANARY_OF_THE_DAEMON", "canary-daemon")
    result = await Launcher().run(
        [sys.executable, "-c", PROBE], env=env(tmp_path, OWN="mine"), cwd=tmp_path, seconds=20
    )
    assert result.exit_code == 0
    assert "canary-daemon" not in result.stdout
    assert "'OWN': 'mine'" in result.stdout
    assert f"'HOME': '{tmp_path}'" in result.stdout
    assert result.stdout.endswith(str(tmp_path))


async def test_the_whole_environment_is_the_given_one(tmp_path: Path):
    """`env -0` prints exactly what was given, byte for byte."""
    given = env(tmp_path, KEY="a b\nc")
    result = await Launcher().run(["env", "-0"], env=given, cwd=tmp_path, seconds=20)
    assert dict(item.split("=", 1) for item in result.stdout.split("\0") if item) == given


async def test_a_child_inherits_no_descriptor(tmp_path: Path):
    """Files the daemon holds open, even inheritable ones, are closed in the child."""
    held = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(held, True)
    try:
        script = "import os; print(sorted(os.listdir('/proc/self/fd')), os.readlink('/proc/self/fd/0'))"
        result = await Launcher().run([sys.executable, "-c", script], env=env(tmp_path), cwd=tmp_path, seconds=20)
    finally:
        os.close(held)
    assert result.stdout.strip() == "['0', '1', '2', '3'] /dev/null"


async def test_secrets_cannot_replace_what_is_fixed(tmp_path: Path):
    """A profile's .env cannot point HOME, TMPDIR or PATH of its tools elsewhere; unusable names are dropped."""
    made = child_env({"HOME": "/x", "PATH": "/evil", "A=B": "1", "N": "a\0b", "OK": "1"}, tmp_path, tmp_path)
    assert made["HOME"] == str(tmp_path)
    assert "/evil" not in made["PATH"]
    assert set(made) == {"HOME", "TMPDIR", "PATH", "LANG", "PWD", "OK"}


async def until_gone(pid: int) -> None:
    """Wait for the end of a process that is not our child, at most five seconds."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = await asyncio.to_thread(select.select, [handle], [], [], 5)
    finally:
        os.close(handle)
    assert ended


GRANDCHILD = "sleep 300 & echo $!; wait"


async def test_a_timeout_kills_the_grandchildren_too(tmp_path: Path):
    """After its time the whole process group is killed; what was printed before is kept (TRN-09)."""
    result = await Launcher().run(["sh", "-c", GRANDCHILD], env=env(tmp_path), cwd=tmp_path, seconds=0.5)
    assert result.timed_out
    assert result.exit_code == -9
    await until_gone(int(result.stdout))


async def test_cancelling_kills_the_group(tmp_path: Path):
    """A cancelled caller leaves no process behind (TRN-09)."""
    fifo = tmp_path / "ready"
    os.mkfifo(fifo)
    script = f"sleep 300 & echo $! > {fifo}; wait"
    run = asyncio.create_task(
        Launcher().run(["sh", "-c", script], env=env(tmp_path), cwd=tmp_path, seconds=60), name="run"
    )
    pid = int(await asyncio.to_thread(fifo.read_text))
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await until_gone(pid)


STUBBORN = "trap '' TERM INT HUP; (trap '' TERM; sleep 300 & echo $!; wait) & echo $!; wait"


async def test_a_family_that_ignores_signals_is_killed_while_the_loop_goes_on(tmp_path: Path):
    """Child, grandchild and great-grandchild that ignore SIGTERM are gone within five seconds of their time, and the
    loop kept ticking all along (TRN-09).
    """
    loop, ticks = asyncio.get_running_loop(), 0

    def tick() -> None:
        nonlocal ticks, beat
        ticks += 1
        beat = loop.call_later(0.01, tick)

    beat = loop.call_soon(tick)
    async with asyncio.timeout(6):
        result = await Launcher().run(["sh", "-c", STUBBORN], env=env(tmp_path), cwd=tmp_path, seconds=1)
    beat.cancel()
    assert result.timed_out
    # a loop that was held up for the whole second ticks two or three times
    assert ticks > 10
    family = [int(pid) for pid in result.stdout.split()]
    assert len(family) == 2
    for pid in family:
        await until_gone(pid)


async def test_a_leader_that_ends_does_not_wait_for_its_background(tmp_path: Path):
    """When the command itself is done, its background children are killed instead of waited for."""
    result = await Launcher().run(["sh", "-c", "sleep 300 & echo $!"], env=env(tmp_path), cwd=tmp_path, seconds=60)
    assert result.exit_code == 0
    assert not result.timed_out
    await until_gone(int(result.stdout))


async def test_output_is_capped_while_it_is_read(tmp_path: Path):
    """A flood of output is drained but not kept, and the cut is said."""
    result = await Launcher().run(
        ["sh", "-c", "head -c 20000000 /dev/zero | tr '\\0' x; echo end >&2"],
        env=env(tmp_path),
        cwd=tmp_path,
        seconds=60,
        output_cap=1000,
    )
    assert result.exit_code == 0
    assert result.stdout == "x" * 1000 + "\n[cut after 1,000 bytes]"
    assert result.stderr == "end\n"


async def test_a_missing_program_is_an_exit_code(tmp_path: Path):
    """What cannot be started is 127 or 126, never an exception."""
    launcher = Launcher()
    missing = await launcher.run(["no-such-program"], env=env(tmp_path), cwd=tmp_path, seconds=5)
    folder = await launcher.run([str(tmp_path)], env=env(tmp_path), cwd=tmp_path, seconds=5)
    assert (missing.exit_code, folder.exit_code) == (127, 126)


def test_it_works_on_uvloop(tmp_path: Path):
    """The loop the daemon runs on reads output and ends like the plain one."""

    async def main() -> list[str]:
        runs = [
            Launcher().run(["sh", "-c", f"echo {n}"], env=env(tmp_path), cwd=tmp_path, seconds=20) for n in range(10)
        ]
        return [result.stdout.strip() for result in await asyncio.gather(*runs)]

    assert uvloop.run(main()) == [str(n) for n in range(10)]


HARDEN = """
import ctypes, os, subprocess
from hermesd.process import harden
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # the kernel hides a process that changed its user; undo that first

def peek():
    done = subprocess.run(["/bin/sh", "-c", "cat /proc/$PPID/environ"], env={}, capture_output=True, text=True)
    return "canary" in done.stdout

print(peek(), harden(), peek())
"""


async def test_a_hardened_process_keeps_its_environment_from_its_children():
    """After `harden` a child of the same unprivileged user cannot read the parent's environment; before, it can.

    Started as root, the check runs in a process that has become `nobody`: root reads everything anyway.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HARDEN,
        env={"SECRET": "canary", "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    assert out.decode().split() == ["True", "True", "False"]
