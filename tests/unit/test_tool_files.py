"""The workspace and the built-in tools, on a real file system."""

import asyncio
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
import structlog

from hermesd.address import Address
from hermesd.errors import UserError
from hermesd.memory import MemoryStore
from hermesd.ports import CommandResult, Effect, ToolCall, ToolOutcome, TurnContext
from hermesd.tool.builtin import builtin_tools
from hermesd.tool.gate import Gate
from hermesd.tool.workspace import Workspace


class Journal:
    """Remembers nothing."""

    async def started(self, call: ToolCall, effect: Effect) -> ToolOutcome | None:
        return None

    async def finished(self, call: ToolCall, outcome: ToolOutcome) -> None:
        return None


class Desk:
    """A turn of one profile with every built-in tool."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.sent: list[tuple[str, Address | None]] = []
        self.turn = TurnContext(
            profile="p",
            turn_id="t",
            address=Address.parse("telegram/main:-100:6"),
            memory=MemoryStore(home).view("room"),
            workspace=home / "workspace",
            send=self.send,
            launch=self.launch,
            log=structlog.get_logger(),
        )
        self.gate = Gate(builtin_tools().select(None), self.turn, Journal())

    async def send(self, text: str, address: Address | None) -> str:
        self.sent.append((text, address))
        return "d1"

    async def launch(self, argv: Any, seconds: float) -> CommandResult:
        return CommandResult(0, "", "")

    async def use(self, name: str, /, **arguments: Any) -> ToolOutcome:
        return await self.gate.call(ToolCall("c", name, json.dumps(arguments)))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


async def test_files_are_written_and_read_back(desk: Desk):
    """write_file, read_file, list_files and search_files work together; modes are private."""
    assert not (await desk.use("write_file", path="notes/a.md", content="one\ntwo Tom\nthree")).failed
    assert (await desk.use("read_file", path="notes/a.md")).text == "one\ntwo Tom\nthree"
    assert (await desk.use("read_file", path="notes/a.md", offset=2, limit=1)).text == "two Tom\n"
    assert (await desk.use("list_files")).text == "notes/\nnotes/a.md  17 bytes"
    assert (await desk.use("search_files", text="tom", name="*.md")).text == "notes/a.md:2: two Tom"
    path = desk.home / "workspace" / "notes" / "a.md"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["a.md"]


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "a/../../secret", "~/x", "a\0b", "x" * 300, "/".join("a" * 40), "", ".", "./."]
)
async def test_paths_that_lead_out_are_refused(desk: Desk, path: str):
    """No spelling of a path reads or writes outside the workspace."""
    (desk.home / "secret").write_text("canary")
    for name, more in (("read_file", {}), ("write_file", {"content": "overwritten"})):
        outcome = await desk.use(name, path=path, **more)
        assert outcome.failed
        assert "canary" not in outcome.text
    assert (desk.home / "secret").read_text() == "canary"


async def test_links_are_never_followed(desk: Desk):
    """A symbolic link in any place of the path, or at its end, leads nowhere; writing replaces the link itself."""
    outside = desk.home / "outside"
    outside.mkdir()
    (outside / "file").write_text("canary")
    workspace = desk.home / "workspace"
    workspace.mkdir()
    (workspace / "folder").symlink_to(outside)
    (workspace / "link").symlink_to(outside / "file")
    for path in ("folder/file", "link"):
        assert (await desk.use("read_file", path=path)).failed
    assert (await desk.use("write_file", path="folder/new", content="x")).failed
    await desk.use("write_file", path="link", content="mine")
    assert (outside / "file").read_text() == "canary"
    assert [entry.name for entry in outside.iterdir()] == ["file"]
    listed = await desk.use("list_files", depth=5)
    found = await desk.use("search_files", text="canary")
    assert "outside" not in listed.text + found.text
    assert "folder" not in listed.text


async def test_only_regular_files_are_read(desk: Desk):
    """A pipe does not hold the tool, a folder is not a file."""
    (desk.home / "workspace" / "d").mkdir(parents=True)
    os.mkfifo(desk.home / "workspace" / "pipe")
    assert "not a file" in (await desk.use("read_file", path="pipe")).text
    assert (await desk.use("read_file", path="d")).failed
    assert (await desk.use("write_file", path="d", content="x")).failed


@pytest.mark.parametrize(
    ("work", "name", "arguments"),
    [
        ("read", "read_file", {"path": "a"}),
        ("write", "write_file", {"path": "b", "content": "x"}),
        ("walk", "list_files", {}),
        ("walk", "search_files", {"text": "x"}),
    ],
)
async def test_a_slow_disk_does_not_hold_the_loop(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, work: str, name: str, arguments: dict[str, Any]
):
    """While a file tool waits for the disk the event loop goes on: only the loop lets it finish here (TRN-09)."""
    await desk.use("write_file", path="a", content="x")
    loop, begun, go, real = asyncio.get_running_loop(), asyncio.Event(), threading.Event(), getattr(Workspace, work)

    def slow(*given: Any) -> Any:
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(5)
        return real(*given)

    monkeypatch.setattr(Workspace, work, slow)
    use = asyncio.create_task(desk.use(name, **arguments), name="use")
    await begun.wait()
    go.set()
    assert not (await use).failed


def test_swapping_a_folder_for_a_link_never_lets_a_read_out(tmp_path: Path):
    """While another thread swaps folder and link as fast as it can, 3,000 reads never see the outside."""
    root, outside = tmp_path / "w", tmp_path / "outside"
    (root / "real").mkdir(parents=True)
    outside.mkdir()
    (root / "real" / "f").write_text("inside")
    (outside / "f").write_text("canary")
    (root / "spare").symlink_to(outside)
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            (root / "real").rename(root / "x")
            (root / "spare").rename(root / "real")
            (root / "real").rename(root / "spare")
            (root / "x").rename(root / "real")

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    try:
        for _ in range(3000):
            try:
                seen.add(Workspace(root).read("real/f", 100))
            except UserError:
                seen.add(b"refused")
    finally:
        done.set()
        swapper.join()
    assert b"canary" not in seen


async def test_a_message_goes_back_or_to_a_named_place(desk: Desk):
    """Without an address the message goes to the turn's own place; a bot left out is the turn's own bot."""
    assert not (await desk.use("send_message", text="hello")).failed
    assert not (await desk.use("send_message", text="there", to="telegram:-200:7")).failed
    assert desk.sent == [("hello", None), ("there", Address.parse("telegram/main:-200:7"))]
    assert (await desk.use("send_message", text="x", to="nonsense")).failed
    assert (await desk.use("send_message", text="  ")).failed
    assert len(desk.sent) == 2


async def test_the_memory_tool_has_the_known_signature(desk: Desk):
    """add, replace and remove with Hermes' argument names change this context's memory."""
    assert not (await desk.use("memory", action="add", target="user", content="likes tea")).failed
    assert not (
        await desk.use("memory", action="replace", target="user", old_text="tea", content="likes coffee")
    ).failed
    assert "likes coffee" in await desk.turn.memory.read()
    assert (await desk.use("memory", action="remove", target="user")).failed
    assert not (await desk.use("memory", action="remove", target="user", old_text="coffee")).failed
    assert await desk.turn.memory.read() == ""
    assert "must be one of" in (await desk.use("memory", action="drop", target="user")).text
