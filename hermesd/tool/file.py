"""The file tools: read, write, list and search, inside the profile's workspace only."""

import asyncio
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from hermesd.errors import UserError
from hermesd.ports import Effect, ToolSpec, TurnContext
from hermesd.tool.workspace import Workspace

#: bytes of a file that are read or written at most
FILE_CAP = 1_000_000
_LISTED = 500
_SEARCHED_FILES = 2_000
_SEARCHED_BYTES = 20_000_000
_MATCHES = 100

_PATH = {"type": "string", "description": "relative to the workspace", "maxLength": 4096}


def _parameters(*required: str, **properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


class ReadFileTool:
    """Shows a text file, whole or some lines of it."""

    spec = ToolSpec(
        "read_file",
        "Read a text file of your workspace.",
        _parameters(
            "path",
            path=_PATH,
            offset={"type": "integer", "minimum": 1, "description": "first line, from 1"},
            limit={"type": "integer", "minimum": 1, "description": "number of lines"},
        ),
        Effect.READ,
    )

    async def run(self, turn: TurnContext, arguments: Mapping[str, Any]) -> str:
        workspace = Workspace(turn.workspace)
        raw = await asyncio.to_thread(workspace.read, arguments["path"], FILE_CAP + 1)
        text = raw[:FILE_CAP].decode("utf-8", "replace")
        if "offset" in arguments or "limit" in arguments:
            first = arguments.get("offset", 1) - 1
            text = "".join(text.splitlines(keepends=True)[first : first + arguments.get("limit", FILE_CAP)])
        cut = f"\n[only the first {FILE_CAP:,} bytes were read]" if len(raw) > FILE_CAP else ""
        return f"{text}{cut}" or "(empty)"


class WriteFileTool:
    """Creates or replaces a text file."""

    spec = ToolSpec(
        "write_file",
        "Create or replace a text file in your workspace; folders are made as needed.",
        _parameters("path", "content", path=_PATH, content={"type": "string", "maxLength": FILE_CAP}),
        Effect.WRITE,
    )

    async def run(self, turn: TurnContext, arguments: Mapping[str, Any]) -> str:
        data = arguments["content"].encode()
        if len(data) > FILE_CAP:
            raise UserError(f"the content is larger than {FILE_CAP:,} bytes")
        await asyncio.to_thread(Workspace(turn.workspace).write, arguments["path"], data)
        return f"wrote {len(data):,} bytes to {arguments['path']}"


class ListFilesTool:
    """Shows what is in a folder."""

    spec = ToolSpec(
        "list_files",
        "List files and folders of your workspace.",
        _parameters(path=_PATH, depth={"type": "integer", "minimum": 1, "maximum": 10, "description": "levels, 2"}),
        Effect.READ,
    )

    async def run(self, turn: TurnContext, arguments: Mapping[str, Any]) -> str:
        def work() -> str:
            lines: list[str] = []
            for entry in Workspace(turn.workspace).walk(arguments.get("path", ""), arguments.get("depth", 2)):
                if len(lines) == _LISTED:
                    lines.append("[more is left out; list a folder of it]")
                    break
                lines.append(f"{entry.path}/" if entry.is_folder else f"{entry.path}  {entry.size:,} bytes")
            return "\n".join(lines) or "(nothing here)"

        return await asyncio.to_thread(work)


class SearchFilesTool:
    """Finds lines that contain a text."""

    spec = ToolSpec(
        "search_files",
        "Find lines containing a text (plain, any case) in the files of your workspace.",
        _parameters(
            "text",
            text={"type": "string", "maxLength": 1000},
            path=_PATH,
            name={"type": "string", "description": "only files with such a name, like *.md", "maxLength": 100},
        ),
        Effect.READ,
    )

    async def run(self, turn: TurnContext, arguments: Mapping[str, Any]) -> str:
        wanted = arguments["text"].casefold()
        if not wanted.strip():
            raise UserError("there is no text to look for")

        def work() -> str:
            lines = list(_matches(Workspace(turn.workspace), wanted, arguments))
            return "\n".join(lines) or "(no match)"

        return await asyncio.to_thread(work)


def _matches(workspace: Workspace, wanted: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    files, left, found = 0, _SEARCHED_BYTES, 0
    for entry in workspace.walk(arguments.get("path", ""), 32):
        if entry.is_folder or not fnmatchcase(entry.path.rpartition("/")[2], arguments.get("name", "*")):
            continue
        files += 1
        if files > _SEARCHED_FILES or left <= 0:
            yield "[not everything was searched; give a folder as path]"
            return
        try:
            raw = workspace.read(entry.path, min(FILE_CAP, left))
        except UserError:
            continue
        left -= len(raw)
        for number, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1):
            if wanted in line.casefold():
                found += 1
                yield f"{entry.path}:{number}: {line.strip()[:300]}"
                if found == _MATCHES:
                    yield "[more matches are left out]"
                    return
