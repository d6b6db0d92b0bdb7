"""A tool that launches a child process and keeps what the child saw."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hermesd.ports import Effect, ToolSpec, TurnContext

#: four parts between blank lines, then the environment as it was handed over
_CHILD = "umask; echo; pwd -P; echo; ls /proc/$$/fd; echo; ls -A; echo; cat /proc/$$/environ"


class LookoutTool:
    """`lookout`: starts a child through the turn's own `launch`.

    Appends a line of JSON to `report`: `profile`, `turn`, `address`, and of the child `env`, `cwd`, `umask`, `files`
    (its open descriptors) and `here` (names in its folder). The model gets the child's words.
    """

    spec = ToolSpec(
        name="lookout",
        description="Look around in a child process.",
        parameters={"type": "object", "properties": {}, "additionalProperties": False},
        effect=Effect.READ,
    )

    def __init__(self, report: Path) -> None:
        self.report = report

    async def run(self, turn: TurnContext, arguments: Mapping[str, Any]) -> str:
        result = await turn.launch(["/bin/sh", "-c", _CHILD], 30.0)
        umask, cwd, files, here, environment = result.stdout.split("\n\n", 4)
        line = {
            "profile": turn.profile,
            "turn": turn.turn_id,
            "address": str(turn.address),
            "env": dict(pair.partition("=")[::2] for pair in environment.split("\0") if pair),
            "cwd": cwd,
            "umask": int(umask, 8),
            "files": files.split(),
            "here": here.split(),
        }
        handle = os.open(self.report, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(handle, json.dumps(line).encode() + b"\n")
        finally:
            os.close(handle)
        return f"{result.stdout}{result.stderr}"

    def seen(self) -> list[dict[str, Any]]:
        """Every look so far."""
        return [json.loads(line) for line in self.report.read_text().splitlines()] if self.report.exists() else []
