"""The orderly end, and the frozen one: SIGTERM in the middle of work, twice, and a loop that stands still."""

import signal
import time
from pathlib import Path

import pytest
import verdict
from processes import service, world
from town import CHATS, Town

pytestmark = [pytest.mark.kill, pytest.mark.timeout(180)]

HERE = Path(__file__).parent
#: turns that run when the signal comes
RUNNING = 20


async def _busy(town: Town) -> list[str]:
    """Twenty people ask at once; returns when every one of their turns is with the model."""
    keys = [await town.say("alpha", CHATS[n % 2], 300 + n) for n in range(RUNNING)]
    await town.asked(RUNNING)
    return keys


async def _check(town: Town) -> None:
    assert verdict.seen(town.questions, await town.answers()) == []
    assert verdict.stored(town.state) == []


async def test_sigterm_lets_twenty_running_turns_finish(tmp_path: Path) -> None:
    """With time enough, SIGTERM ends the daemon with 0 after every running turn is done; each is answered once."""
    async with world() as outside:
        town = Town(tmp_path, outside, model="delay-2", drain=25.0)
        await town.build()
        async with service(tmp_path, "-m", "hermesd", *town.arguments, env=town.env) as running:
            await running.until("READY=1")
            keys = await _busy(town)
            running.signal(signal.SIGTERM)
            await running.until("STOPPING=1")
            assert await running.ended() == 0
        assert verdict.states(town.state) == {"done": RUNNING}
        await _resume(town, keys)


async def test_sigterm_parks_what_does_not_finish_in_time(tmp_path: Path) -> None:
    """With five seconds and a model that hangs, the daemon ends with 0 in time; the next start answers each once."""
    budget = 5.0
    async with world() as outside:
        town = Town(tmp_path, outside, model="hang", drain=budget)
        await town.build()
        async with service(tmp_path, "-m", "hermesd", *town.arguments, env=town.env) as running:
            await running.until("READY=1")
            keys = await _busy(town)
            began = time.monotonic()
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
            assert time.monotonic() - began <= 0.85 * budget
        assert await town.answers() == []
        await _resume(town, keys)


async def test_a_second_sigterm_ends_the_drain(tmp_path: Path) -> None:
    """Whoever does not want to wait signals again: the daemon ends at once, and the next start answers each once."""
    budget = 60.0
    async with world() as outside:
        town = Town(tmp_path, outside, model="hang", drain=budget)
        await town.build()
        async with service(tmp_path, "-m", "hermesd", *town.arguments, env=town.env) as running:
            await running.until("READY=1")
            keys = await _busy(town)
            running.signal(signal.SIGTERM)
            await running.until("STOPPING=1")
            began = time.monotonic()
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
            assert time.monotonic() - began <= 0.2 * budget
        await _resume(town, keys)


async def _resume(town: Town, keys: list[str]) -> None:
    """The next start, with a model that answers."""
    town.choose("worst-case")
    async with service(town.folder, "-m", "hermesd", *town.arguments, env=town.env) as running:
        assert await town.answered(keys), (town.folder / "log").read_text()[-3000:]
        running.signal(signal.SIGTERM)
        assert await running.ended() == 0
    await _check(town)


@pytest.mark.parametrize("point", ["freeze:model.before", "freeze:send.before"])
async def test_a_frozen_loop_ends_itself(tmp_path: Path, point: str) -> None:
    """When the loop stands still the process ends within WatchdogSec, shows its stacks, and the next start goes on
    (OPS-03).
    """
    watchdog = {"WATCHDOG_USEC": "2000000"}
    async with world() as outside:
        town = Town(tmp_path, outside)
        await town.build()
        command = (str(HERE / "full.py"), point, "1", *town.arguments)
        async with service(tmp_path, *command, env={**town.env, **watchdog}) as running:
            await running.until("READY=1")
            keys = [await town.say("alpha", CHATS[0], 111)]
            assert await running.ended() == 1
        assert "Timeout" in (tmp_path / "log").read_text()
        await _resume(town, keys)
