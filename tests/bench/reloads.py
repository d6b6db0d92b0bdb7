"""SIGHUP with ten thousand routes: how long until they are in force, and how long the loop stands still for it."""

import asyncio
import shutil
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

from rig import Plan, daemon, fakes, stalls

ROUTES = 10_000


@dataclass(frozen=True, slots=True)
class Reload:
    """One form of routes, the middle of several rounds."""

    #: milliseconds from the signal to READY=1
    took: float
    #: milliseconds
    stall: float


async def measure(folder: Path, form: str, rounds: int) -> Reload:
    """Start with ten thousand routes in `mapping` or `list` form, change one, reload; again and again."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokens = ("1:AAA", "2:BBB")
    plan = Plan(folder, tokens, 1, 28, "null")
    took, stood = [], []
    async with fakes(tokens) as world:
        plan.write(world.telegram, routes=text(form, 0))
        async with daemon(replace(plan), watch=True) as (running, end):
            for number in range(1, rounds + 1):
                plan.write(world.telegram, routes=text(form, number))
                began = time.monotonic()
                running.send(signal.SIGHUP)
                await end.wait("RELOADING=1")
                ready = await end.wait("READY=1")
                took.append(ready - began)
                await asyncio.sleep(0.3)  # a stall is noted when it is over
                stood.append(stalls(folder, began, time.monotonic()))
    return Reload(sorted(took)[len(took) // 2] * 1000, sorted(stood)[len(stood) // 2] * 1000)


def text(form: str, changed: int) -> str:
    """The routes as YAML; `changed` moves one topic to another profile."""
    lines = ["routes:"]
    if form == "mapping":
        lines.append("  telegram:")
        for chat in range(ROUTES // 100):
            lines.append(f'    "{-1_000_000_000_000 - chat}":')
            lines += [f'      "{topic + 2}": p{_profile(chat, topic, changed)}' for topic in range(100)]
    else:
        for chat in range(ROUTES // 100):
            lines += [
                f'  - {{name: r{chat}-{topic}, platform: telegram, chat_id: "{-1_000_000_000_000 - chat}", '
                f'thread_id: "{topic + 2}", profile: p{_profile(chat, topic, changed)}}}'
                for topic in range(100)
            ]
    return "\n".join(lines) + "\n"


def _profile(chat: int, topic: int, changed: int) -> int:
    return (chat * 100 + topic + (changed if chat == topic == 0 else 0)) % 28
