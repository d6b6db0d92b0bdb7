"""The real command with named points: `full.py POINT NTH run --config … --state …` kills itself at one of them.

`freeze:POINT` stops the event loop there instead, as code that never returns does.
"""

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from hermesd import daemon
from hermesd.__main__ import main
from hermesd.adapter.host import Host
from hermesd.agent.engine import ModelEngine
from hermesd.tool.gate import Gate
from hermesd_telegram.adapter import TelegramAdapter


@dataclass(slots=True)
class Points:
    """Kills, or freezes, this very process at the n-th passage of one named point."""

    name: str
    left: int

    def crash(self, point: str) -> None:
        if point != self.name.removeprefix("freeze:"):
            return
        self.left -= 1
        if self.left == 0 and self.name.startswith("freeze:"):
            threading.Event().wait()
        elif self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def around(owner: type, method: str, name: str, points: Points) -> None:
    """Put a point before and one behind every call of a method."""
    real: Callable[..., Awaitable[Any]] = getattr(owner, method)

    async def called(*given: Any, **named: Any) -> Any:
        points.crash(f"{name}.before")
        result = await real(*given, **named)
        points.crash(f"{name}.after")
        return result

    setattr(owner, method, called)


if __name__ == "__main__":
    points = Points(sys.argv[1], int(sys.argv[2]))
    sys.argv[1:3] = []
    around(Host, "ingest", "ingest", points)
    around(TelegramAdapter, "send", "send", points)
    around(ModelEngine, "run", "model", points)
    around(Gate, "call", "tool", points)
    daemon.run = partial(daemon.run, crash=points.crash)
    main()
