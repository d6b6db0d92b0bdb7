"""The control socket: how the command line talks to the running daemon, from both ends.

One request per connection, one line of JSON each way:

    → {"v": 1, "call": "status", "args": {}}
    ← {"ok": true, "data": …}   or   {"ok": false, "error": {"message": …, "hint": …, "kind": …}}

The socket is 0600 in a 0700 directory, and the kernel says who calls: only the daemon's own user and root are heard.
"""

import json
import os
import socket
import stat
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import SocketAttribute, SocketListener, SocketStream

from hermesd.errors import HermesdError, NotRunning, OperatorError, StateError, UserError

if TYPE_CHECKING:  # the command line uses this module, and the ports bring pydantic with them: 150 ms of every command
    from hermesd.ports.log import Log

VERSION = 1
#: bytes of one request line
REQUEST_CAP = 64 * 1024
#: bytes of one answer line
ANSWER_CAP = 16 * 1024 * 1024
#: the kernel's limit for a socket path is 108 bytes, the closing zero included
PATH_CAP = 107
#: seconds a connected caller has to say what it wants
PATIENCE = 5.0

#: what a handler takes and gives; the answer must be JSON
Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Request:
    """One call."""

    call: str
    args: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        return json.dumps({"v": VERSION, "call": self.call, "args": dict(self.args)}).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Request":
        """Read one line. Raises UserError for anything that is not a request of this version."""
        try:
            raw = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError("the request is not JSON") from error
        if not isinstance(raw, dict) or raw.get("v") != VERSION:
            raise UserError(
                f"the request does not speak version {VERSION} of the control protocol",
                hint="run the `hermesd` of the same version as the daemon (`hermesd version`)",
            )
        call, args = raw.get("call"), raw.get("args", {})
        if not isinstance(call, str) or not isinstance(args, dict):
            raise UserError('a request is {"v": 1, "call": NAME, "args": {…}}')
        return cls(call, args)


def failure(error: HermesdError) -> dict[str, Any]:
    """The answer that carries an error to the caller."""
    return {"ok": False, "error": {"message": error.message, "hint": error.hint, "kind": type(error).__name__}}


def admitted(caller: int, own: int) -> bool:
    """Whether a caller with this user id is heard: the daemon's own user, or root."""
    return caller in (own, 0)


@dataclass(frozen=True, slots=True)
class ControlServer:
    """Serves calls on a Unix socket while `running()` lasts."""

    #: where the socket stands; its directory exists and is private
    path: Path
    #: by call name
    handlers: Mapping[str, Handler]
    log: "Log"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen until the block ends. Raises StateError for a path that cannot be used or has a listener."""
        listening = bind(self.path)
        inode = self.path.stat().st_ino
        try:
            listener = await SocketListener.from_socket(listening)
            async with listener, anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, self._serve, name="control socket")
                yield
                tasks.cancel_scope.cancel()
        finally:
            listening.close()
            if self.path.exists() and self.path.stat().st_ino == inode:
                self.path.unlink()

    async def _serve(self, stream: SocketStream) -> None:
        async with stream:
            try:
                answer = await self._answer(stream)
                await stream.send(answer)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, TimeoutError):
                self.log.debug("a control call ended before its answer", action="control.gone")

    async def _answer(self, stream: SocketStream) -> bytes:
        try:
            with anyio.fail_after(PATIENCE):
                line = await _line(stream)  # read before any refusal: an unread request would turn it into a reset
            uid = peer(stream.extra(SocketAttribute.raw_socket))
            if not admitted(uid, os.geteuid()):
                self.log.warning("refused a control call", action="control.refused", uid=uid)
                raise UserError("only the user that runs hermesd, and root, may control it")
            request = Request.decode(line)
            answer = {"ok": True, "data": await self._call(request)}
        except HermesdError as error:
            answer = failure(error)
        encoded = json.dumps(answer, default=str).encode() + b"\n"
        if len(encoded) > ANSWER_CAP:
            encoded = json.dumps(failure(UserError("the answer is too large", hint="ask for less"))).encode() + b"\n"
        return encoded

    async def _call(self, request: Request) -> Any:
        handler = self.handlers.get(request.call)
        if handler is None:
            raise UserError(
                f"the daemon knows no call {request.call!r}",
                hint="run the `hermesd` of the same version as the daemon (`hermesd version`)",
            )
        try:
            return await handler(request.args)
        except HermesdError:
            raise
        except Exception as error:
            self.log.error("a control call failed", action="control.failed", call=request.call, exc_info=error)
            raise OperatorError(
                f"{request.call} failed inside the daemon: {type(error).__name__}", hint="its log has the details"
            ) from error


def bind(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600 from its first moment; a stale one is replaced, a live one never."""
    _check_length(path)
    if path.is_symlink() or (path.exists() and not stat.S_ISSOCK(path.stat().st_mode)):
        raise StateError(f"{path} is not a socket", hint="move it away; hermesd makes its own")
    if path.exists():
        if listens(path):
            raise StateError(f"another hermesd listens on {path}", hint="stop it first, or use another --state")
        path.unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        # Linux creates the file with the mode the socket already has, so it is never open to others, whatever the umask
        os.fchmod(listening.fileno(), 0o600)
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(16)
    except OSError as error:
        listening.close()
        raise StateError(
            f"cannot make the control socket {path}: {error.strerror}",
            hint="the state directory must be writable and on a file system with sockets",
        ) from error
    return listening


def call(path: Path, name: str, /, *, timeout: float = 30.0, **args: Any) -> Any:
    """Ask the running daemon, and wait up to `timeout` seconds. The data of its answer, as JSON.

    Raises NotRunning when nobody listens, and the daemon's own refusal as OperatorError.
    """
    _check_length(path)
    request = Request(name, args).encode()
    if len(request) > REQUEST_CAP:
        raise OperatorError(f"this `{name}` is larger than the {REQUEST_CAP // 1024} KiB the daemon reads")
    missing = NotRunning(f"hermesd is not running (no socket at {path})", hint="start it with `hermesd run`")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wire:
        wire.settimeout(timeout)
        try:
            wire.connect(str(path))
            wire.sendall(request)
            answer = _read_answer(wire)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise missing from error
        except PermissionError as error:
            raise OperatorError(
                f"not allowed to open {path}", hint="run this as the user that runs hermesd, or as root"
            ) from error
        except TimeoutError as error:
            raise OperatorError(
                f"hermesd did not answer `{name}` within {timeout:g} s", hint="see its log, or `hermesd doctor`"
            ) from error
        except OSError as error:
            raise OperatorError(f"the control socket {path} failed: {error}") from error
    if answer.get("ok"):
        return answer.get("data")
    said = answer.get("error", {})
    raise OperatorError(str(said.get("message", "hermesd refused")), hint=str(said.get("hint", "")))


def peer(wire: socket.socket) -> int:
    """The user id of the process at the other end, as the kernel knows it."""
    layout = struct.Struct("3i")
    _pid, uid, _gid = layout.unpack(wire.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size))
    return int(uid)


async def _line(stream: SocketStream) -> bytes:
    """Everything up to the first newline or the end. Raises UserError beyond the cap."""
    line = b""
    while b"\n" not in line:
        try:
            line += await stream.receive()
        except anyio.EndOfStream:
            break
        if len(line) > REQUEST_CAP:
            raise UserError(f"the request is larger than {REQUEST_CAP // 1024} KiB")
    return line.partition(b"\n")[0]


def _read_answer(wire: socket.socket) -> dict[str, Any]:
    received = bytearray()
    while not received.endswith(b"\n"):
        chunk = wire.recv(65536)
        if not chunk:
            break
        received += chunk
        if len(received) > ANSWER_CAP:
            raise OperatorError("the daemon's answer is too large")
    if not received.endswith(b"\n"):
        raise OperatorError("hermesd ended the conversation without an answer", hint="it may have just stopped")
    answer = json.loads(received)
    if not isinstance(answer, dict):
        raise OperatorError("the daemon's answer is not an object", hint="is another program listening there?")
    return answer


def _check_length(path: Path) -> None:
    if (length := len(os.fsencode(path))) > PATH_CAP:
        raise StateError(
            f"the socket path {path} is {length} bytes long, and the system takes {PATH_CAP}",
            hint="use a shorter --state directory",
        )


def listens(path: Path) -> bool:
    """Whether a process accepts calls there; a socket that cannot be tried counts as taken."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wire:
        wire.settimeout(1.0)
        try:
            wire.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # it exists and we cannot tell: never take it from somebody
    return True
