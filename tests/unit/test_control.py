"""The control socket: private, exact about what it takes, and clear about what it refuses."""

import asyncio
import json
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd import control
from hermesd.control import ControlServer, Request, admitted
from hermesd.errors import NotRunning, OperatorError, StateError, UserError


class Lines:
    """A log that keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def bind(self, **_: Any) -> "Lines":
        return self

    def _say(self, event: str, **values: Any) -> None:
        self.said.append((event, values))

    debug = info = warning = error = _say


async def greet(args: Mapping[str, Any]) -> Any:
    return {"hello": args.get("name", "nobody")}


def server(path: Path, log: Lines | None = None, **handlers: Any) -> ControlServer:
    return ControlServer(path, {"greet": greet, **handlers}, log or Lines())


async def ask(path: Path, name: str, /, **args: Any) -> Any:
    return await asyncio.to_thread(control.call, path, name, **args)


def talk(path: Path, line: bytes) -> dict[str, Any]:
    """Say raw bytes to the socket and read the raw answer."""
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(10)
        wire.connect(str(path))
        wire.sendall(line)
        wire.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := wire.recv(65536):
            answer += chunk
    return json.loads(answer)


async def test_a_call_reaches_its_handler_and_the_answer_comes_back(tmp_path: Path) -> None:
    """What the handler returns is what the caller gets."""
    path = tmp_path / "control.sock"
    async with server(path).running():
        assert await ask(path, "greet", name="Ann") == {"hello": "Ann"}
        assert await ask(path, "greet") == {"hello": "nobody"}


async def test_the_socket_is_private_and_leaves_with_the_server(tmp_path: Path) -> None:
    """The socket is 0600 whatever the umask, and is removed at the end."""
    path = tmp_path / "control.sock"
    async with server(path).running():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """A socket left by a killed daemon does not keep the next one from starting."""
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    async with server(path).running():
        assert await ask(path, "greet") == {"hello": "nobody"}


async def test_a_live_socket_is_never_taken(tmp_path: Path) -> None:
    """A second server on the same path is refused and the first one goes on."""
    path = tmp_path / "control.sock"
    async with server(path).running():
        with pytest.raises(StateError, match="another hermesd listens"):
            async with server(path).running():
                pass
        assert await ask(path, "greet") == {"hello": "nobody"}


async def test_what_is_not_a_socket_is_left_alone(tmp_path: Path) -> None:
    """A file that happens to stand there is never deleted."""
    path = tmp_path / "control.sock"
    path.write_text("mine")
    with pytest.raises(StateError, match="not a socket"):
        async with server(path).running():
            pass
    assert path.read_text() == "mine"


async def test_a_path_too_long_for_the_system_is_named(tmp_path: Path) -> None:
    """Both ends say which path is too long and what to do."""
    path = tmp_path / ("x" * 120) / "control.sock"
    with pytest.raises(StateError, match="shorter --state"):
        async with server(path).running():
            pass
    with pytest.raises(StateError, match="shorter --state"):
        control.call(path, "greet")


def test_without_a_daemon_the_caller_learns_how_to_start_it(tmp_path: Path) -> None:
    """No socket and a dead socket both say that hermesd is not running."""
    path = tmp_path / "control.sock"
    with pytest.raises(NotRunning, match=r"not running \(no socket at .*control.sock\)\n.*hermesd run"):
        control.call(path, "status")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(NotRunning):
        control.call(path, "status")


async def test_a_refusal_keeps_its_message_and_its_hint(tmp_path: Path) -> None:
    """An error the handler raises on purpose reaches the caller whole."""

    async def refuse(_: Mapping[str, Any]) -> Any:
        raise UserError("no such profile", hint="hermesd profiles list")

    path = tmp_path / "control.sock"
    async with server(path, refuse=refuse).running():
        with pytest.raises(OperatorError) as caught:
            await ask(path, "refuse")
        raw = await asyncio.to_thread(talk, path, Request("refuse").encode())
    assert (caught.value.message, caught.value.hint) == ("no such profile", "hermesd profiles list")
    assert raw["error"]["kind"] == "UserError"


async def test_a_broken_handler_does_not_leak_its_exception(tmp_path: Path) -> None:
    """The text of an unexpected exception stays in the log, the caller gets its kind, and the server goes on."""

    async def broken(_: Mapping[str, Any]) -> Any:
        raise ValueError("secret-token-in-text")

    path, log = tmp_path / "control.sock", Lines()
    async with server(path, log, broken=broken).running():
        with pytest.raises(OperatorError, match="ValueError") as caught:
            await ask(path, "broken")
        assert await ask(path, "greet") == {"hello": "nobody"}
    assert "secret-token" not in str(caught.value)
    assert [values["action"] for _, values in log.said] == ["control.failed"]


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"hello\n", b"[]\n", b'{"v": 2, "call": "greet"}\n', b'{"v": 1}\n', b"[" * 60_000, b"\xff\xfe\n"],
)
async def test_garbage_is_answered_with_a_refusal(tmp_path: Path, line: bytes) -> None:
    """Whatever arrives, the answer is a well-formed refusal and the next caller is served."""
    path = tmp_path / "control.sock"
    async with server(path).running():
        assert (await asyncio.to_thread(talk, path, line))["ok"] is False
        assert await ask(path, "greet") == {"hello": "nobody"}


async def test_a_request_beyond_the_cap_is_refused(tmp_path: Path) -> None:
    """A caller that never ends its line cannot fill the memory."""
    path = tmp_path / "control.sock"
    async with server(path).running():
        with pytest.raises(OperatorError, match="larger than the 64 KiB"):
            await ask(path, "greet", name="x" * 200_000)
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(str(path))
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                await asyncio.to_thread(wire.sendall, b"x" * 20_000_000)


async def test_an_answer_beyond_the_cap_is_an_error_not_a_flood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A too large answer is refused at its source."""
    monkeypatch.setattr(control, "ANSWER_CAP", 1000)
    path = tmp_path / "control.sock"
    async with server(path).running():
        with pytest.raises(OperatorError, match="too large"):
            await ask(path, "greet", name="x" * 2000)


async def test_an_unknown_call_names_itself(tmp_path: Path) -> None:
    """A newer command line against an older daemon gets an answer it can show."""
    path = tmp_path / "control.sock"
    async with server(path).running():
        with pytest.raises(OperatorError, match="knows no call 'dance'"):
            await ask(path, "dance")


async def test_callers_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """A call that takes its time does not hold up the next one."""
    release = asyncio.Event()

    async def slow(_: Mapping[str, Any]) -> Any:
        await release.wait()
        return "done"

    path = tmp_path / "control.sock"
    async with server(path, slow=slow).running():
        waiting = asyncio.create_task(ask(path, "slow"))
        assert await ask(path, "greet") == {"hello": "nobody"}
        assert not waiting.done()
        release.set()
        assert await waiting == "done"


@pytest.mark.parametrize(("caller", "heard"), [(1000, True), (0, True), (1001, False), (65534, False)])
def test_only_the_own_user_and_root_are_heard(caller: int, heard: bool) -> None:
    """The rule of who may control a daemon that runs as user 1000."""
    assert admitted(caller, 1000) is heard


async def test_the_kernel_says_who_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller with a foreign user id gets a refusal, whatever it sends."""
    monkeypatch.setattr(control, "peer", lambda _wire: 4242)
    path, log = tmp_path / "control.sock", Lines()
    async with server(path, log).running():
        with pytest.raises(OperatorError, match="only the user that runs hermesd"):
            await ask(path, "greet")
    assert log.said[0][1] == {"action": "control.refused", "uid": 4242}


def test_the_peer_is_read_from_the_socket() -> None:
    """`peer` gives the real user id of the other end."""
    left, right = socket.socketpair(socket.AF_UNIX)
    with left, right:
        assert control.peer(left) == os.geteuid()


@given(call=st.text(max_size=20), args=st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8)))
def test_a_request_survives_the_wire(call: str, args: dict[str, Any]) -> None:
    """Encoding is one line, and decoding gives the request back."""
    line = Request(call, args).encode()
    assert line.count(b"\n") == 1
    assert Request.decode(line) == Request(call, args)
