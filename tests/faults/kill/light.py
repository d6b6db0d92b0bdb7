"""Daemons that start in a few milliseconds, to be killed: everything is imported once, each life is a fork of that.

Reads one JSON order a line from standard input (see `zygote.Order`), answers with the child's pid, and when the child
is gone with how it ended. The child runs the whole daemon (`Life`) on real files; only the platform and the model are
small, and both have named points at which the process can kill itself.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hermesd.agent.engine
import hermesd.agent.factory
import hermesd.daemon.house
import hermesd_telegram  # noqa: F401  # loaded before the fork: `load` looks at every installed adapter
import hermesd_web  # noqa: F401
from hermesd.clock import SystemClock
from hermesd.daemon.life import Life
from hermesd.daemon.state import held
from hermesd.logs import Logging
from hermesd.ports import EngineReply, EngineRequest, Row, ToolCall, ToolGate, ToolSpec, TurnContext, Usage
from hermesd.ports.tool import Effect
from hermesd.settings import Environment
from hermesd.testing import naive
from hermesd.tool.builtin import builtin_tools
from hermesd.tool.registry import ToolRegistry

sys.path.insert(0, str(Path(__file__).parent))
from wire_adapter import WireNaive, WirePlugin


@dataclass(slots=True)
class Points:
    """Kills this very process at the n-th passage of one named point."""

    name: str
    nth: int
    seen: dict[str, int] = field(default_factory=dict)

    def crash(self, point: str) -> None:
        self.seen[point] = self.seen.get(point, 0) + 1
        if point == self.name and self.seen[point] == self.nth:
            os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class OffsetClock(SystemClock):
    """The machine's clock, moved: each life is half a minute after the last, so that dying is not a crash loop."""

    offset: float = 0.0

    def now(self) -> float:
        return time.time() + self.offset


COUNT = ToolSpec("count", "counts", {"type": "object", "properties": {"text": {"type": "string"}}}, Effect.WRITE)


@dataclass(frozen=True, slots=True)
class CountTool:
    """A side effect nobody can take back: a line in a file, written before the tool knows whether it survives."""

    file: Path
    crash: Callable[[str], None]
    spec: ToolSpec = COUNT

    async def run(self, turn: TurnContext, arguments: Mapping[str, Any]) -> str:
        self.crash("tool.before")
        append(self.file, f"{turn.turn_id} {arguments['text']}")
        self.crash("tool.after")
        return "counted"


@dataclass(frozen=True, slots=True)
class ScriptEngine:
    """Echoes; uses the counting tool when asked to."""

    crash: Callable[[str], None]
    label: str = "null:script"

    async def run(
        self, request: EngineRequest, gate: ToolGate, *, spent: Callable[[Usage], Awaitable[None]] | None = None
    ) -> EngineReply:
        self.crash("model.before")
        if "use the tool" in request.prompt:
            await gate.call(ToolCall("call-1", "count", json.dumps({"text": request.prompt})))
        await asyncio.sleep(0)
        self.crash("model.after")
        text = f"ok: {request.prompt}"
        return EngineReply(text, (Row("assistant", text),), Usage(requests=1), self.label)

    async def summarise(self, rows: object, *, seconds: float) -> str:
        return "notes"


def append(file: Path, line: str) -> None:
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def run_daemon(order: Mapping[str, Any], points: Points) -> None:
    """One life of the real daemon."""

    def tools() -> ToolRegistry:
        registry = builtin_tools()
        registry.register("count", CountTool(Path(order["effects"]), points.crash))
        return registry

    hermesd.daemon.house.builtin_tools = tools
    hermesd.agent.factory.NullEngine = lambda: ScriptEngine(points.crash)
    clock = OffsetClock(order["clock"])
    state = Path(order["state"])
    logging = Logging.on(clock, sys.stderr, form="json")

    async def whole() -> None:
        plugins = {"wire": WirePlugin(points.crash)}
        await Life(
            Path(order["config"]), state, Environment.read(state=state), clock, logging, plugins, crash=points.crash,
            on_ready=lambda ready: None, allow_null=True,
        ).run()  # fmt: skip

    with held(state):
        asyncio.run(whole())


def run_naive(order: Mapping[str, Any], points: Points) -> None:
    """One life of the control."""
    effects = Path(order["effects"])

    async def all_bots() -> None:
        async with asyncio.TaskGroup() as tasks:
            for bot in order["bots"]:
                client = WireNaive(order["socket"], bot, points.crash, lambda text: append(effects, f"naive {text}"))
                tasks.create_task(naive.run(client, at_once=1), name=bot)

    asyncio.run(all_bots())


def live(order: Mapping[str, Any]) -> None:
    """The child: never returns."""
    code = 70
    try:
        errors = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(errors, 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(2, 1)
        points = Points(order["point"], order["nth"])
        (run_naive if order["naive"] else run_daemon)(order, points)
        code = 0
    except BaseException:  # noqa: BLE001 - the parent of the fork must never run the child's stack
        import traceback

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Fork a life for each order until standard input ends."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            live(json.loads(line))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        status = os.waitpid(pid, 0)[1]
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
