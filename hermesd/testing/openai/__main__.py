"""`python -m hermesd.testing.openai --port N`: the fake model server as a process of its own."""

import argparse
import asyncio
import signal
import sys

import uvloop

from hermesd.testing.openai.server import FakeOpenAI


async def serve(port: int, keep: int) -> None:
    """Serve until SIGTERM or SIGINT; the first line of output is the base URL."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with FakeOpenAI(port=port, keep=keep) as fake:
        sys.stdout.write(f"{fake.base_url}\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    """Read the two options and serve."""
    parser = argparse.ArgumentParser(prog="python -m hermesd.testing.openai", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one; the base URL is printed")
    parser.add_argument("--keep", type=int, default=1000, help="how many requests GET /_seen remembers")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.keep))


if __name__ == "__main__":
    main()
