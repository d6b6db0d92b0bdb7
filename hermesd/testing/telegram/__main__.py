"""`python -m hermesd.testing.telegram --port 8081 [--state-file FILE]`: the fake Bot API as a process of its own.

Prints one line, `listening on URL`, once it does. SIGTERM and SIGINT stop it; with a state file its world is kept.
"""

import argparse
import asyncio
import contextlib
import json
import signal
from pathlib import Path

from hermesd.testing.telegram import snapshot
from hermesd.testing.telegram.server import FakeTelegram


async def serve(port: int, state: Path | None) -> None:
    """Serve until a signal."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    world = snapshot.load(json.loads(state.read_text())) if state and state.exists() else None  # noqa: ASYNC240 - before it serves
    async with FakeTelegram(world, port=port) as server:
        print(f"listening on {server.url}", flush=True)  # noqa: T201 - the line callers wait for
        await stop.wait()
    if state:
        state.write_text(json.dumps(snapshot.dump(server.world)))  # noqa: ASYNC240 - after it served


def main() -> None:
    """Read the command line and serve."""
    arguments = argparse.ArgumentParser(prog="hermesd.testing.telegram", description=__doc__)
    arguments.add_argument("--port", type=int, default=8081)
    arguments.add_argument("--state-file", type=Path, default=None)
    given = arguments.parse_args()
    run = serve(given.port, given.state_file)
    with contextlib.suppress(KeyboardInterrupt):
        try:
            import uvloop  # noqa: PLC0415 - optional here: the fake also runs where it is not built
        except ImportError:
            asyncio.run(run)
        else:
            uvloop.run(run)


if __name__ == "__main__":
    main()
