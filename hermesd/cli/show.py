"""How the command line speaks: tables for people, JSON for programs, errors with the next step."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hermesd.errors import ConfigError, HermesdError, NotRunning
from hermesd.plain import escape

#: what a script sees; documented in docs/operations.md
EXIT_FAILED = 1
EXIT_NOT_RUNNING = 69
EXIT_CONFIG = 78

_COLOURS: Mapping[str, str] = {
    "up": "green",
    "ok": "green",
    "applied": "green",
    "unchanged": "green",
    "starting": "cyan",
    "degraded": "yellow",
    "warning": "yellow",
    "broken": "yellow",
    "conflict": "red",
    "unauthorized": "red",
    "rejected": "red",
    "error": "red",
    "stopped": "dim",
}


def code_of(error: HermesdError) -> int:
    """The exit code that tells a script what kind of help is needed."""
    if isinstance(error, NotRunning):
        return EXIT_NOT_RUNNING
    return EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED


def screen(*, stderr: bool = False) -> Console:
    """A console that neither wraps what a pipe reads nor guesses at markup in foreign text."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=None if stream.isatty() else 240)


def data(value: Any) -> None:
    """Print JSON for a program."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    print("\n".join(escape(line) for line in text.split("\n")))


def error(problem: HermesdError) -> None:
    """Say on stderr what went wrong and what to do."""
    console = screen(stderr=True)
    first, *rest = problem.message.split("\n")
    console.print(Text("✗ ", style="red bold") + Text(escape(first)))
    for line in rest:
        console.print(Text("  " + escape(line)))
    if problem.hint:
        console.print(Text("  → ", style="cyan") + Text(escape(problem.hint)))


def word(value: Any) -> Text:
    """One cell: harmless text, a state in its colour, `–` for nothing."""
    if value is None or value == "":
        return Text("–", style="dim")
    if isinstance(value, Text):
        return value
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, list | tuple):
        return Text(escape(", ".join(str(item) for item in value)) or "–")
    text = escape(str(value))
    return Text(text, style=_COLOURS.get(text, ""))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> None:
    """Print rows below their headings; `empty` is said when there are none."""
    grid = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(word(cell) for cell in row))
    screen().print(grid if grid.row_count else Text(empty, style="dim"))


def pairs(values: Iterable[tuple[str, Any]]) -> None:
    """Print `name  value` lines."""
    grid = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), show_header=False)
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for name, value in values:
        grid.add_row(name, word(value))
    screen().print(grid)


def line(text: str, *, style: str = "", lead: str = "", lead_style: str = "") -> None:
    """Print one line; `text` may come from anywhere, `lead` is ours."""
    screen().print(Text(lead, style=lead_style) + Text(escape(text), style=style))


def done(text: str) -> None:
    """Say that it worked."""
    line(text, lead="✓ ", lead_style="green bold")


def moment(seconds: Any) -> str:
    """Unix seconds as local date and time; empty for none."""
    if not isinstance(seconds, int | float) or not seconds:
        return ""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def span(seconds: Any) -> str:
    """A duration in its two largest units: `3 h 12 min`."""
    if not isinstance(seconds, int | float):
        return ""
    left = int(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts = []
    for unit, size in units:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
