"""`python audited.py EVENTS LOOKOUT run …`: hermesd, with every change of the process's own surroundings written down.

Each `os.putenv`, `os.unsetenv`, `os.chdir`, `os.fchdir` and every write to `os.environ` becomes a line of EVENTS.
"""

import os
import sys

EVENTS = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
WATCHED = frozenset({"os.putenv", "os.unsetenv", "os.chdir", "os.fchdir", "os.chroot"})


def hook(event: str, arguments: tuple[object, ...]) -> None:
    if event in WATCHED:
        os.write(EVENTS, f"{event} {arguments!r}\n".encode())


sys.addaudithook(hook)
lookout = sys.argv[2]
del sys.argv[1:3]

from pathlib import Path  # noqa: E402  # nothing may be loaded before the hook

import hermesd.daemon.house  # noqa: E402  # likewise
from hermesd.cli.app import main  # noqa: E402  # likewise
from hermesd.testing.daemon import LookoutTool  # noqa: E402  # likewise
from hermesd.tool.builtin import builtin_tools  # noqa: E402  # likewise
from hermesd.tool.registry import ToolRegistry  # noqa: E402  # likewise


def tools() -> ToolRegistry:
    registry = builtin_tools()
    registry.register("lookout", LookoutTool(Path(lookout)))
    return registry


hermesd.daemon.house.builtin_tools = tools
if lookout == "misbehave":
    os.chdir("/")
main()
