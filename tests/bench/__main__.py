"""`make bench`: the daemon beside a bare loop, in one run. `--quick` only proves that it runs and loses nothing.

Every figure is the middle of several rounds; figures of the bare loop stand beside them, because the machine may be
busy with other things. Prints a table and writes JSON.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lookup
import memory
import reloads
import turns
from rich.console import Console
from rich.table import Table
from rig import Plan, bare, daemon, fakes

TOKENS = ("1:AAA", "2:BBB")
#: chats of the saturation run, half of them at each bot
CHATS = 56


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    unloaded: int
    rounds: int
    each: int
    #: profiles → turns in every chat
    footprints: tuple[tuple[int, int], ...]
    routes: tuple[int, ...]
    reloads: int


FULL = Size(300, 5, 20, ((1, 20), (8, 20), (28, 180), (200, 20), (1028, 0)), (10, 10_000, 1_000_000), 7)
QUICK = Size(40, 2, 5, ((28, 0),), (10, 10_000), 2)


@dataclass(slots=True)
class Row:
    """One line of the table."""

    name: str
    value: float
    unit: str
    #: the bare loop's figure of the same run
    bare: float | None = None
    #: at most (or, for rates, at least) this
    target: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(slots=True)
class Bench:
    """One run."""

    size: Size
    folder: Path
    rows: list[Row] = field(default_factory=list)
    lost: int = 0

    def add(self, name: str, value: float, unit: str, **more: Any) -> None:
        self.rows.append(Row(name, value, unit, **more))

    # --- turns -----------------------------------------------------------------------------------------------------

    async def pydantic(self) -> None:
        """The whole turn: Telegram, ledger, pydantic-ai, a model server."""
        ours, theirs = await self._pair("model", model=True)
        self._latency("turn", ours, theirs, p50=12.0, p95=30.0)
        self._rates("turn", ours, theirs, cpu=12.0, rate=80.0)

    async def null(self) -> None:
        """The gateway's own part: the same way with an engine that answers at once."""
        ours, theirs = await self._pair("null", model=False)
        self._latency("gateway", ours, theirs)
        self._rates("gateway", ours, theirs, cpu=3.0, rate=300.0)

    async def _pair(self, name: str, *, model: bool) -> tuple["Measured", "Measured"]:
        folder = self.folder / name
        folder.mkdir()
        # the two take turns, so that a busy minute of the machine hits both
        async with fakes(TOKENS) as ours, fakes(TOKENS) as theirs:
            plan = Plan(folder, TOKENS, CHATS // 2, 28, ours.openai if model else "null")
            plan.write(ours.telegram)
            async with daemon(plan) as (running, _), bare(theirs, TOKENS, model=model) as loop:
                mine, its = Measured(), Measured()
                we, they = turns.Talk(ours, plan), turns.Talk(theirs, plan)
                mine.first = statistics.median(await we.warm())
                its.first = statistics.median(await they.warm())
                for number in range(self.size.rounds):
                    count = self.size.unloaded // self.size.rounds
                    mine.alone.append(await we.unloaded(running, count))
                    its.alone.append(await they.unloaded(loop, count))
                    mine.busy.append(await we.loaded(running, self.size.each, f"r{number}"))
                    its.busy.append(await they.loaded(loop, self.size.each, f"r{number}"))
        self.lost += sum(one.lost + one.doubled for one in mine.busy)
        return mine, its

    def _latency(self, name: str, ours: "Measured", theirs: "Measured", **targets: float) -> None:
        for what in ("p50", "p95", "p99"):
            self.add(
                f"{name}: inbound → reply {what}, unloaded", ours.middle_alone(what), "ms",
                bare=theirs.middle_alone(what), target=targets.get(what),
            )  # fmt: skip

        self.add(f"{name}: the first reply of a chat after the start", ours.first, "ms", bare=theirs.first)

    def _rates(self, name: str, ours: "Measured", theirs: "Measured", *, cpu: float, rate: float) -> None:
        alone, its = ours.middle_alone("cpu"), theirs.middle_alone("cpu")
        self.add(f"{name}: CPU a turn, unloaded", alone, "ms", bare=its)
        self.add(f"{name}: CPU a turn, {CHATS} chats busy", ours.middle_busy("cpu"), "ms",
                 bare=theirs.middle_busy("cpu"), target=cpu)  # fmt: skip
        self.add(f"{name}: turns a second, {CHATS} chats", ours.middle_busy("per_second"), "/s",
                 bare=theirs.middle_busy("per_second"), target=rate, at_least=True)  # fmt: skip

    # --- the rest --------------------------------------------------------------------------------------------------

    async def footprints(self) -> None:
        """Memory and start."""
        idle: dict[int, float] = {}
        for profiles, each in self.size.footprints:
            found = await memory.measure(self.folder / f"memory{profiles}", profiles, each)
            self.lost += found.lost
            idle[profiles] = found.idle
            main = profiles == 28
            self.add(f"RSS idle, {profiles} profiles", found.idle, "MB", target=130.0 if main else None)
            if found.turns:
                self.add(f"RSS after {found.turns:,} turns, {profiles} profiles", found.after, "MB",
                         target=160.0 if main else None)  # fmt: skip
            self.add(f"start to first poll, {profiles} profiles", found.first_poll, "s", target=3.0 if main else None)
            if main:
                self.add(f"the same after {found.turns:,} turns", found.again, "s", target=3.0)
        if 1028 in idle and 28 in idle:
            self.add("RSS of 1,000 more idle profiles", idle[1028] - idle[28], "MB", target=40.0)

    async def lookups(self) -> None:
        """Routes."""
        took = {count: await asyncio.to_thread(lookup.microseconds, count) for count in self.size.routes}
        for count, micro in took.items():
            self.add(f"route lookup among {count:,}", micro, "µs", target=20.0 if count > 10_000 else None)
        for count, most in ((10_000, 2.0), (1_000_000, 8.0)):
            if count in took:
                self.add(f"route lookup, {count:,} against 10", took[count] / took[10], "x", target=most)

    async def reloads(self) -> None:
        """SIGHUP."""
        for form, most in (("mapping", 500.0), ("list", 2000.0)):
            found = await reloads.measure(self.folder / form, form, self.size.reloads)
            self.add(f"reload of 10,000 routes, {form} form", found.took, "ms", target=most)
            self.add(f"longest stall of the loop meanwhile, {form} form", found.stall, "ms", target=50.0)


@dataclass(slots=True)
class Measured:
    """Rounds of one contestant."""

    alone: list[turns.Unloaded] = field(default_factory=list)
    busy: list[turns.Loaded] = field(default_factory=list)
    #: milliseconds of a chat's first answer after the start
    first: float = 0.0

    def middle_alone(self, what: str) -> float:
        return statistics.median(getattr(one, what) for one in self.alone)

    def middle_busy(self, what: str) -> float:
        return statistics.median(getattr(one, what) for one in self.busy)


def show(bench: Bench) -> None:
    """The table."""
    table = Table(title="hermesd beside a bare loop of the same run", title_justify="left")
    for name in ("", "hermesd", "bare loop", "ratio", "target", ""):
        table.add_column(name, justify="left" if not name else "right")
    for row in bench.rows:
        ratio = f"{row.value / row.bare:.2f}" if row.bare else ""
        target = "" if row.target is None else f"{'≥' if row.at_least else '≤'} {row.target:g} {row.unit}"
        verdict = {None: "", True: "met", False: "MISSED"}[row.met]
        other = f"{row.bare:.2f} {row.unit}" if row.bare else ""
        table.add_row(row.name, f"{row.value:.2f} {row.unit}", other, ratio, target, verdict)
    Console(width=140).print(table)


async def run(given: argparse.Namespace) -> int:
    """Measure what was asked for."""
    with tempfile.TemporaryDirectory(prefix="hermesd-bench-") as folder:
        bench = Bench(QUICK if given.quick else FULL, Path(folder))
        parts: dict[str, Callable[[], Awaitable[None]]] = {
            "turn": bench.pydantic, "gateway": bench.null, "memory": bench.footprints, "routes": bench.lookups,
            "reload": bench.reloads,
        }  # fmt: skip
        for name, measure in parts.items():
            if not given.only or name in given.only:
                sys.stderr.write(f"measuring: {name}\n")
                await measure()
    show(bench)
    where = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg(),
    }
    rows = [asdict(row) | {"met": row.met} for row in bench.rows]
    report = {"tier": "quick" if given.quick else "full", "where": where, "lost_or_doubled": bench.lost, "rows": rows}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.write(f"messages lost or doubled: {bench.lost}\nwritten to {given.out}\n")
    return 1 if bench.lost else 0


def main() -> None:
    """Read the command line and measure."""
    arguments = argparse.ArgumentParser(prog="make bench", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="under a minute; only that it runs and loses nothing")
    arguments.add_argument("--only", action="append", help="turn, gateway, memory, routes or reload; may be repeated")
    arguments.add_argument("--out", type=Path, default=Path("build/bench.json"), help="where the JSON goes")
    raise SystemExit(asyncio.run(run(arguments.parse_args())))


if __name__ == "__main__":
    main()
