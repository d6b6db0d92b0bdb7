"""The one HTTP server: listen addresses come and go with their mounts."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import anyio

from hermesd.api.limits import HttpLimits
from hermesd.api.listener import Listener
from hermesd.errors import OperatorError
from hermesd.ports import ASGIApp, Listen, Log

_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*/?")


class HttpServer:
    """Implements `ports.HttpMount` inside the running loop: no thread, no signal handler, no process-wide state.

    `async with HttpServer(log).running() as http:` owns every socket; leaving closes them, open streams included.
    """

    def __init__(self, log: Log, *, limits: HttpLimits | None = None) -> None:
        self._log = log
        self._limits = limits or HttpLimits()
        self._listeners: dict[Listen, Listener] = {}
        # opening and closing an address waits; two mounts of one address must not open it twice
        self._lock = anyio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Serve whatever is mounted until the block ends."""
        try:
            yield self
        finally:
            with anyio.CancelScope(shield=True):
                await self.close()

    async def mount(self, listen: str, path: str, app: ASGIApp, *, guarded: bool = False) -> str:
        """Serve `app` below `path` (`/` or `/name`) on `host:port`; returns the base URL without a trailing slash.

        Port 0 picks one; all mounts on that `listen` share it. Raises OperatorError: an address in use or not of this
        machine, a path taken, or an address other machines reach while the app is not `guarded` by a token.
        """
        place, path = _listen(listen), _path(path)
        if not (place.loopback or guarded):
            raise OperatorError(
                f"{place} can be reached from other machines and nothing guards it",
                hint="listen on 127.0.0.1, or set a token",
            )
        async with self._lock:
            listener = self._listeners.get(place)
            if listener is None:
                listener = await self._open(place)
            listener.add(path, app)
            return f"http://{listener.listen}{path.rstrip('/')}"

    async def unmount(self, listen: str, path: str) -> None:
        """Stop serving that path; its streams end at once, and the last one gone closes the socket."""
        place, path = _listen(listen), _path(path)
        async with self._lock:
            listener = self._listeners.get(place)
            if listener is None:
                return
            await listener.remove(path)
            if not listener.mounts:
                del self._listeners[place]
                await listener.close()

    async def close(self) -> None:
        """Close every address. Afterwards the server can be used again."""
        async with self._lock:
            while self._listeners:
                _, listener = self._listeners.popitem()
                await listener.close()

    async def _open(self, place: Listen) -> Listener:
        listener = self._listeners[place] = await Listener.open(place, self._limits, self._log)
        return listener


def _listen(text: str) -> Listen:
    try:
        return Listen.parse(text)
    except ValueError as error:
        raise OperatorError(str(error), hint="write IP:PORT") from error


def _path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise OperatorError(f"{text!r} is not a path to mount on", hint="write / or /name")
    return text.rstrip("/") or "/"
