"""RT-09: many SIGHUPs at once: they are coalesced, the last complete file wins, and nothing is left behind."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel

GUARD = 30.0


def held() -> tuple[int, int]:
    """Tasks and file descriptors of this process."""
    return len(asyncio.all_tasks()), len(list(Path("/proc/self/fd").iterdir()))


async def test_a_thousand_hangups_leave_nothing_behind(two_topics: Any) -> None:
    """1,000 SIGHUPs while the file changes: few reloads, the last file is in force, nothing is left open."""
    home, forum = two_topics.home, str(two_topics.forum.id)
    async with home.running() as daemon:
        await two_topics.asks("hello", thread=6)
        await two_topics.settled(daemon)
        await daemon.hangup()
        before, started = held(), len(daemon.notices.ready)
        for n in range(50):
            home.route("telegram", forum, "9", ("career", "systems")[n % 2])
            home.route("telegram", forum, str(1000 + n), "career")  # no two files are equal
            for _ in range(20):
                os.kill(os.getpid(), signal.SIGHUP)
            await anyio.lowlevel.checkpoint()
        with anyio.fail_after(GUARD):
            while daemon.ground.live.snapshot.settings.digest != digest(home.config):
                await daemon.notices.wait_ready(len(daemon.notices.ready) + 1)
        assert len(daemon.notices.ready) - started <= 60
        assert "Profile: systems" in await two_topics.asks("/profile", thread=9)
        await two_topics.settled(daemon)
        report = await daemon.reload()
        assert report["result"] == "unchanged"
        after = held()
    assert after[0] <= before[0]
    assert after[1] <= before[1]


def digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_reloads_asked_for_at_once_become_two_at_most(two_topics: Any) -> None:
    """Thirty `hermesd reload` at the same time get an answer each, from at most two readings of the file."""
    read = 0
    async with two_topics.home.running() as daemon:
        load = daemon.reloader._load

        async def counted() -> Any:
            nonlocal read
            read += 1
            return await load()

        daemon.reloader._load = counted
        two_topics.home.route("telegram", str(two_topics.forum.id), "9", "career")
        reports: list[Any] = []

        async def ask() -> None:
            reports.append((await daemon.reloader.reload()).epoch)

        async with anyio.create_task_group() as tasks:
            for n in range(30):
                tasks.start_soon(ask, name=f"ask {n}")
    assert reports == [2] * 30
    assert read <= 2
