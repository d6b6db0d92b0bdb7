"""Resident memory by number of profiles, idle and after work, and how long a start takes to its first poll."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import turns
from rig import Plan, Program, daemon, fakes, polled, polls

TOKENS = ("1:AAA", "2:BBB")


@dataclass(frozen=True, slots=True)
class Footprint:
    """One number of profiles."""

    profiles: int
    #: megabytes
    idle: float
    after: float
    #: how many turns lie between
    turns: int
    #: seconds from the start of the process until every bot has polled
    first_poll: float
    #: the same for a second start, on what the first one left
    again: float
    lost: int


async def measure(folder: Path, profiles: int, each: int, *, chats: int = 56) -> Footprint:
    """Start on fresh files, look, run `each` turns in every chat through the model server, look again."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    async with fakes(TOKENS) as world:
        plan = Plan(folder, TOKENS, chats // 2, profiles, world.openai)
        plan.write(world.telegram)
        began, before = time.monotonic(), await polls(world)
        async with daemon(plan) as (running, _):
            await polled(world, before)
            first = time.monotonic() - began
            idle, lost, talk = running.memory(), 0, turns.Talk(world, plan)
            for number in range(each // 20):
                lost += await _round(talk, running, number)
            after = running.memory()
        began, before = time.monotonic(), await polls(world)
        async with daemon(plan):
            await polled(world, before)
            again = time.monotonic() - began
        return Footprint(profiles, idle, after, each // 20 * 20 * chats, first, again, lost)


async def _round(talk: turns.Talk, running: Program, number: int) -> int:
    result = await talk.loaded(running, 20, f"m{number}")
    return result.lost + result.doubled
