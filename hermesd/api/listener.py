"""One listen address: a socket of ours, uvicorn behind it, mounts by path."""

import contextlib
import errno
import functools
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hermesd.api.limits import HttpLimits
from hermesd.api.mount import Mount
from hermesd.api.protocol import BoundedProtocol
from hermesd.errors import OperatorError
from hermesd.ports import Listen, Log

#: connections the kernel holds while the loop is busy
_BACKLOG = 256


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: the daemon has its own."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class Listener:
    """Serves every mount of one address until the last one leaves."""

    def __init__(self, listen: Listen, server: _Server, sock: socket.socket, limits: HttpLimits, log: Log) -> None:
        #: with the port the system picked
        self.listen = listen
        self.mounts: dict[str, Mount] = {}
        self._server = server
        self._socket = sock
        self._limits = limits
        self._log = log

    @classmethod
    async def open(cls, listen: Listen, limits: HttpLimits, log: Log) -> "Listener":
        """Bind and accept. Raises OperatorError that names the address and the way out."""
        sock = _bind(listen)
        bound = listen.at(sock.getsockname()[1])
        app = _Front(limits)
        config = uvicorn.Config(
            app,
            loop="none",
            http=functools.partial(BoundedProtocol, limits=limits),  # type: ignore[arg-type]  # uvicorn only calls it
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            h11_max_incomplete_event_size=limits.head,
            timeout_keep_alive=limits.keep_alive_seconds,
            timeout_graceful_shutdown=1,
            backlog=_BACKLOG,
        )
        config.load()
        server = _Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[sock])
        listener = cls(bound, server, sock, limits, log)
        app.mounts = listener.mounts
        log.info("listening", action="http.listening", address=str(bound))
        return listener

    def add(self, path: str, app: ASGIApp) -> None:
        """Serve `app` below `path`. Raises OperatorError when the path is taken."""
        if path in self.mounts:
            raise OperatorError(
                f"{path} is already served on {self.listen}", hint="give one of the two another bot_id or `listen`"
            )
        self.mounts[path] = Mount(path, app, self._log)

    async def remove(self, path: str) -> None:
        """Stop serving `path` and end its requests; unknown paths are no error."""
        mount = self.mounts.pop(path, None)
        if mount is not None:
            await mount.leave(self._limits.grace_seconds)

    async def close(self) -> None:
        """Close the socket and every connection."""
        for path in list(self.mounts):
            await self.remove(path)
        await self._server.shutdown(sockets=[self._socket])
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        self._log.info("closed", action="http.closed", address=str(self.listen))


class _Front:
    """The ASGI app of one address: health, the way to the first page, size limit, dispatch."""

    def __init__(self, limits: HttpLimits) -> None:
        self.mounts: dict[str, Mount] = {}
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self._limits.head:
            return await _answer(send, 431)
        if path == "/healthz":
            return await _answer(send, 204)
        mount = _find(self.mounts, path)
        if mount is None and path == "/" and self.mounts:
            # the fragment, and with it the token, stays in the browser and follows the redirect
            return await _answer(send, 307, location=f"{next(iter(self.mounts))}/")
        if mount is None:
            return await _answer(send, 404)
        if path == mount.path != "/":
            return await _answer(send, 307, location=f"{mount.path}/")
        body = await _body(scope, receive, self._limits.body)
        if body is None:
            return await _answer(send, 413)
        inner = {**scope, "root_path": mount.path.rstrip("/")}
        return await mount.serve(inner, _replay(body, receive), send)


def _find(mounts: dict[str, Mount], path: str) -> Mount | None:
    """The mount with the longest path that covers this one."""
    while path:
        if path in mounts:
            return mounts[path]
        path = path.rpartition("/")[0]
    return mounts.get("/")


async def _body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """The whole request body; None when it is too large or the client went away."""
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > limit:
            return None
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > limit:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    first: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return first.pop() if first else await receive()

    return again


async def _answer(send: Send, status: int, *, location: str = "") -> None:
    headers = [
        (b"content-length", b"0"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if status == 204:
        headers = headers[1:]
    if status in (413, 431):
        headers.append((b"connection", b"close"))
    if location:
        headers.append((b"location", location.encode("ascii")))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _bind(listen: Listen) -> socket.socket:
    # with the protocol named asyncio sends small answers at once; without it each waits 40 ms for an acknowledgement
    family = socket.AF_INET6 if listen.v6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # a restart must not wait for the old connections to be forgotten
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((listen.host, listen.port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise _refusal(listen, error) from error
    return sock


def _refusal(listen: Listen, error: OSError) -> OperatorError:
    match error.errno:
        case errno.EADDRINUSE:
            return OperatorError(
                f"{listen} is already in use by another program",
                hint=f"stop it (`ss -ltnp 'sport = :{listen.port}'` names it), or set another `listen`",
            )
        case errno.EADDRNOTAVAIL:
            return OperatorError(f"{listen} is not an address of this machine", hint="set `listen` to one that is")
        case errno.EACCES:
            return OperatorError(f"{listen} may not be opened", hint="choose a port above 1023 in `listen`")
        case _:
            return OperatorError(f"{listen} cannot be opened: {error.strerror}", hint="set another `listen`")
