"""The daemon as the bench starts it: `hermesd run`, plus the null engine, a watch on the loop, and a profiler.

Signals beside the daemon's own: SIGUSR1 starts the profiler, SIGUSR2 stops it and writes what it saw.
"""

import argparse
import asyncio
import cProfile
import signal
import sys
import time
from pathlib import Path

import uvloop

from hermesd import daemon
from hermesd.clock import SystemClock
from hermesd.logs import Logging
from hermesd.settings import Environment

#: seconds between two looks at the loop, and the shortest stall worth a line
TICK, STALL = 0.002, 0.008


async def watch(file: Path) -> None:
    """Write `monotonic seconds, stall in seconds` for each time the loop came late."""
    with file.open("w", buffering=1) as lines:
        last = time.monotonic()
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            if now - last - TICK > STALL:
                lines.write(f"{now} {now - last - TICK}\n")
            last = now


async def run(given: argparse.Namespace) -> int:
    """The daemon and the watch in one loop."""
    clock = SystemClock()
    logging = Logging.on(clock, sys.stderr, form="json", level="warning")
    profiler = cProfile.Profile()
    loop = asyncio.get_running_loop()

    def write() -> None:
        profiler.disable()
        profiler.dump_stats(given.profile)

    if given.profile:
        loop.add_signal_handler(signal.SIGUSR1, profiler.enable)
        loop.add_signal_handler(signal.SIGUSR2, write)
    watching = asyncio.create_task(watch(given.stalls), name="watch") if given.stalls else None
    try:
        with logging.routed():
            environment = Environment.read(config=given.config, state=given.state)
            return await daemon.run(
                given.config, given.state, environment=environment, clock=clock, logging=logging, allow_null=True
            )
    finally:
        if watching is not None:
            watching.cancel()


def main() -> None:
    """Read the command line and run."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--config", type=Path, required=True)
    arguments.add_argument("--state", type=Path, required=True)
    arguments.add_argument("--stalls", type=Path)
    arguments.add_argument("--profile", type=Path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        raise SystemExit(runner.run(run(arguments.parse_args())))


if __name__ == "__main__":
    main()
