"""How the command line speaks: tables for people, JSON for programs, errors with the next step."""

import json
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from hermesd.clock import SystemClock
from hermesd.errors import ConfigError, HermesdError, NotRunning, Problem
from hermesd.plain import escape

#: what a script sees; documented in docs/operations.md
EXIT_FAILED = 1
EXIT_NOT_RUNNING = 69
EXIT_CONFIG = 78

#: blanks before a line's end, and before the codes that end its colours
_FILLING = re.compile(r" +(?=(?:\x1b\[0m)?$)", re.MULTILINE)
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
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=None if stream.isatty() else 10_000)


def data(value: Any) -> None:
    """Print JSON for a program."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    print("\n".join(escape(line) for line in text.split("\n")))


def _put(*what: RenderableType, stderr: bool = False) -> None:
    """Print without the blanks that fill a table's lines up to its width: they break copying and `diff`."""
    console = screen(stderr=stderr)
    with console.capture() as drawn:
        console.print(*what, sep="")
    console.file.write(_FILLING.sub("", drawn.get()))
    console.file.flush()


def _beside(lead: Text, text: Text) -> RenderableType:
    """Both on one line; what does not fit goes on below `text`, not below `lead`."""
    if not lead:
        return text
    grid = Table.grid(padding=0)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(lead, text)
    return grid


def error(problem: HermesdError) -> None:
    """Say on stderr what went wrong and what to do."""
    first, *rest = problem.message.split("\n")
    _put(_beside(Text("✗ ", style="red bold"), Text(escape(first))), stderr=True)
    for line in rest:
        _put(_beside(Text("  "), Text(escape(line))), stderr=True)
    if problem.hint:
        _put(_beside(Text("  → ", style="cyan"), Text(escape(problem.hint))), stderr=True)


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


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    empty: str,
    fold: Collection[str] = (),
    optional: Collection[str] = (),
) -> None:
    """Print rows below their headings; `empty` is said when there are none.

    Columns in `fold` give way on a narrow terminal; those in `optional` are left out where no row has a value.
    """
    cells = [tuple(row) for row in rows]
    if not cells:
        _put(Text(empty, style="dim"))
        return
    grid = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    shown = [index for index, name in enumerate(columns) if name not in optional or any(row[index] for row in cells)]
    for index in shown:
        grid.add_column(columns[index], overflow="fold", no_wrap=columns[index] not in fold)
    for row in cells:
        grid.add_row(*(word(row[index]) for index in shown))
    _put(grid)


def pairs(values: Iterable[tuple[str, Any]]) -> None:
    """Print `name  value` lines; a value is never cut into lines, so that a link can be copied from a terminal."""
    known = list(values)
    width = max((len(name) for name, _ in known), default=0) + 3
    console = screen()
    for name, value in known:
        console.print(Text(name.ljust(width), style="dim") + word(value), soft_wrap=True)


def line(text: str | Text, *, style: str = "", lead: str | Text = "", lead_style: str = "") -> None:
    """Print one line; a plain `text` may come from anywhere, the rest is ours."""
    known = text if isinstance(text, Text) else Text(escape(text), style=style)
    _put(_beside(lead if isinstance(lead, Text) else Text(lead, style=lead_style), known))


def trouble(problem: Problem) -> str:
    """`file:line:column: key: what is wrong`, for a line that shows its weight and its hint in another way."""
    place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    return ": ".join(filter(None, (place, problem.key, problem.message)))


def done(text: str) -> None:
    """Say that it worked."""
    line(text, lead="✓ ", lead_style="green bold")


def moment(seconds: Any) -> str:
    """Unix seconds as local date and time; empty for none."""
    if not isinstance(seconds, int | float) or not seconds:
        return ""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def short_moment(seconds: Any) -> str:
    """As `moment`, for a narrow column: only the time where it was today."""
    if not isinstance(seconds, int | float) or not seconds:
        return ""
    then, now = (datetime.fromtimestamp(at, UTC).astimezone() for at in (seconds, SystemClock().now()))
    return then.strftime("%H:%M:%S" if then.date() == now.date() else "%Y-%m-%d %H:%M")


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
