"""`hermesd check`: everything that is wrong with the configuration, at once, before it is used."""

from collections.abc import Iterable
from dataclasses import asdict
from itertools import groupby

import typer
from rich.text import Text

from hermesd.cli import show
from hermesd.cli.place import ConfigOption, JsonOption, StateOption, find
from hermesd.errors import Problem
from hermesd.plain import escape


def check(config: ConfigOption = None, state: StateOption = None, json: JsonOption = False) -> None:
    """Read the configuration and every profile and list all problems.

    Exits 0 when all is good, 1 when it starts but something named will not work, 78 when the file is refused.
    """
    from hermesd.cli import offline

    place = find(config, state)
    reading = offline.read(place)
    problems = reading.everything
    code = show.EXIT_CONFIG if reading.refused else show.EXIT_FAILED if problems else 0
    if json:
        show.data({"config": str(place.config), "exit": code, "problems": [asdict(problem) for problem in problems]})
    else:
        _list(problems)
        _verdict(place.config.as_posix(), code, len(problems))
    raise typer.Exit(code)


def _list(problems: Iterable[Problem]) -> None:
    for file, found in groupby(problems, key=lambda problem: problem.file):
        show.line(file, style="bold")
        for problem in found:
            place = f"{problem.line}:{problem.column}" if problem.line else "–"
            mark = Text("error  ", style="red") if problem.level == "error" else Text("warning", style="yellow")
            key = Text(f"{escape(problem.key)}: ", style="cyan") if problem.key else Text("")
            lead = Text(f"  {place:>8}  ", style="dim") + mark + Text("  ")
            show.line(key + Text(escape(problem.message)), lead=lead)
            if problem.hint:
                show.line(problem.hint, lead=Text(" " * len(lead)) + Text("→ ", style="cyan"))


def _verdict(file: str, code: int, count: int) -> None:
    problems = f"{count} problem{'' if count == 1 else 's'}"
    if code == show.EXIT_CONFIG:
        show.line(f"{file} is refused: {problems}", lead="✗ ", lead_style="red bold")
    elif code:
        show.line(
            f"hermesd starts with {file}, but {problems} keep{'s' if count == 1 else ''} something from working",
            lead="! ",
            lead_style="yellow",
        )
    else:
        show.done(f"{file} is good")
