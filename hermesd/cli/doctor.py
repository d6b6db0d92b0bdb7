"""`hermesd doctor`: look at the machine, the files and every bot, and name the step that mends each finding."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from hermesd.cli import show
from hermesd.cli.place import ConfigOption, JsonOption, StateOption, find

if TYPE_CHECKING:  # the ports bring pydantic with them
    from hermesd.ports import Finding

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "error": ("✗", "red bold")}


def doctor(config: ConfigOption = None, state: StateOption = None, json: JsonOption = False) -> None:
    """Check the machine, the files and every bot; each finding names the exact step that mends it."""
    from hermesd.cli import examine

    groups = examine.everything(find(config, state))
    if json:
        show.data([{"about": about, "findings": [asdict(item) for item in found]} for about, found in groups])
    else:
        for about, found in groups:
            _print(about, found)
    sick = any(finding.level == "error" for _, findings in groups for finding in findings)
    raise typer.Exit(show.EXIT_FAILED if sick else 0)


def _print(about: str, findings: "list[Finding]") -> None:
    show.line(about, style="bold")
    for finding in findings:
        mark, style = _MARKS[finding.level]
        show.line(finding.what, lead=f"  {mark} ", lead_style=style)
        if finding.fix:
            show.line(finding.fix, lead="    → ", lead_style="cyan")
