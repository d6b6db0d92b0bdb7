"""What systemd is told, and when the watchdog is fed."""

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.clock import SystemClock
from hermesd.notify import LoopWatch, Notifier, Watchdog


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A notification socket as systemd makes it, and the address it would put into NOTIFY_SOCKET."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@hermesd-test-{tmp_path.name}-{id(request)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.settimeout(5)
        ear.bind(address.replace("@", "\0", 1) if address[0] == "@" else address)
        yield address, ear


def test_systemd_hears_the_whole_life(systemd: tuple[str, socket.socket]) -> None:
    """Ready, reloading with its clock, status, watchdog and stopping arrive in systemd's own words."""
    address, ear = systemd
    notifier = Notifier(address)
    assert notifier.ready("3 bots up")
    assert ear.recv(4096) == b"READY=1\nSTATUS=3 bots up"
    assert notifier.reloading(12.5)
    assert ear.recv(4096) == b"RELOADING=1\nMONOTONIC_USEC=12500000"
    assert notifier.alive()
    assert ear.recv(4096) == b"WATCHDOG=1"
    assert notifier.status("two\nlines")
    assert ear.recv(4096) == b"STATUS=two lines"
    assert notifier.extend(2)
    assert ear.recv(4096) == b"EXTEND_TIMEOUT_USEC=2000000"
    assert notifier.stopping("draining")
    assert ear.recv(4096) == b"STOPPING=1\nSTATUS=draining"
    assert notifier.stopping("draining", within=25)
    assert ear.recv(4096) == b"STOPPING=1\nSTATUS=draining\nEXTEND_TIMEOUT_USEC=28000000"


@pytest.mark.parametrize("address", [None, "", "relative", "/nowhere/at/all", "@hermesd-nobody-listens-here"])
def test_without_systemd_nothing_happens(address: str | None) -> None:
    """Outside systemd, or with a deaf one, every message says False and none raises."""
    assert Notifier(address).ready("up") is False


def test_the_watchdog_wants_progress_of_every_part() -> None:
    """One stuck part starves the watchdog, and is named (OPS-03)."""
    watchdog = Watchdog(period=10)
    assert watchdog.due({"loop": 100, "database": 98}, now=101)
    assert not watchdog.due({"loop": 100, "database": 90}, now=101)
    assert watchdog.late({"loop": 100, "database": 90}, now=101) == ("database",)


def test_an_unwatched_or_silent_daemon_feeds_nothing() -> None:
    """No WatchdogSec, or no part that reports at all, means no WATCHDOG=1 (OPS-03)."""
    assert not Watchdog(period=0).due({"loop": 1}, now=1)
    assert not Watchdog(period=10).due({}, now=1)


@given(
    period=st.floats(0.1, 1000),
    ages=st.dictionaries(st.sampled_from(["loop", "database", "adapters"]), st.floats(0, 2000), min_size=1),
)
def test_a_frozen_part_is_noticed_before_the_period_ends(period: float, ages: dict[str, float]) -> None:
    """The last feed after a part froze leaves systemd to act within one and a half periods (OPS-03)."""
    watchdog, now = Watchdog(period), 10_000.0
    fed = watchdog.due({name: now - age for name, age in ages.items()}, now)
    assert fed == all(now - (now - age) <= period / 2 for age in ages.values())
    assert watchdog.interval < period / 2


FROZEN = """
import asyncio, sys, time
from hermesd.clock import SystemClock
from hermesd.notify import LoopWatch

async def a_handler_that_blocks():
    time.sleep(30)

async def main():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(LoopWatch(SystemClock(), 0.4).run())
        await asyncio.sleep(0)
        await a_handler_that_blocks()

asyncio.run(main())
"""


def test_a_frozen_loop_ends_with_the_stacks_of_its_threads() -> None:
    """A handler that blocks the loop is named in the dump, and the process exits to be restarted (OPS-03)."""
    ended = subprocess.run([sys.executable, "-c", FROZEN], capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 1
    assert "a_handler_that_blocks" in ended.stderr


LIVELY = FROZEN.replace("time.sleep(30)", "await asyncio.sleep(1.2); raise SystemExit(7)")


def test_a_turning_loop_is_left_alone() -> None:
    """A loop that turns outlives several periods (OPS-03)."""
    ended = subprocess.run([sys.executable, "-c", LIVELY], capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 7


async def test_the_alarm_is_switched_off_with_its_task(tmp_path: Path) -> None:
    """After the watch was cancelled a long pause no longer kills."""
    with (tmp_path / "stacks").open("w") as stacks:
        task = asyncio.create_task(LoopWatch(SystemClock(), 60, stacks).run())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
