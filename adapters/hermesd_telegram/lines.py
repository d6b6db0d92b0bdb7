"""Connections to one server, each used by one request at a time.

One HTTP pool looks through all its connections for every request: with 64 of them a send costs 6 ms. A stack of pools
with one connection each costs the same for any number, and at rest only the few on top are used.
"""

import asyncio
from collections.abc import Callable

import httpx


class Lines:
    """A stack of connections; at most `most` at once, `kept` of them stay open when idle."""

    def __init__(self, connect: Callable[[], httpx.AsyncHTTPTransport], *, most: int, kept: int) -> None:
        self._connect, self._kept = connect, kept
        self._room = asyncio.Semaphore(most)
        self._idle: list[httpx.AsyncHTTPTransport] = []

    async def fetch(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        """Send a request and read its whole answer. Raises httpx.HTTPError."""
        async with self._room:
            line = self._idle.pop() if self._idle else self._connect()
            try:
                response = await line.handle_async_request(request)
                try:
                    return response, await response.aread()
                finally:
                    await response.aclose()
            finally:
                # a broken connection was closed below; the line makes a new one when it is used again
                self._idle.append(line)
                if len(self._idle) > self._kept:
                    await self._idle.pop(0).aclose()

    async def close(self) -> None:
        """Close every connection; no request may be under way."""
        while self._idle:
            await self._idle.pop().aclose()
