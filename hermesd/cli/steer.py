"""`hermesd pause`, `resume`, `reload`: change what the running daemon does."""

from typing import Annotated, Any

import typer

from hermesd.cli import show
from hermesd.cli.place import ConfigOption, JsonOption, StateOption, find

ScopeArgument = Annotated[
    str,
    typer.Argument(metavar="SCOPE", help="all, bot:PLATFORM/BOT, profile:NAME or chat:ADDRESS."),
]


def pause(
    scope: ScopeArgument = "all",
    note: Annotated[str, typer.Option("--note", "-m", help="Why; shown in the chats and in status.")] = "",
    config: ConfigOption = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Stop answering, everywhere or in one place. Messages are kept; a restart changes nothing."""
    answer = find(config, state).ask("pause", scope=scope, note=note)
    if json:
        show.data(answer)
    else:
        scope, before = answer.get("scope", scope), "" if answer.get("changed", True) else " (it was paused already)"
        show.done(f"paused {scope}{before}; messages are kept until `hermesd resume {scope}`")


def resume(
    scope: ScopeArgument = "all", config: ConfigOption = None, state: StateOption = None, json: JsonOption = False
) -> None:
    """Answer again, the kept messages first."""
    place = find(config, state)
    answer = place.ask("resume", scope=scope)
    if json:
        show.data(answer)
        return
    before = "" if answer.get("changed", True) else " (it was not paused)"
    show.done(f"resumed {answer.get('scope', scope)}{before}")
    for pause in place.ask("status").get("paused", []):
        show.line(f"still paused: {pause.get('scope')}", lead="‖ ", lead_style="yellow")


def reload(config: ConfigOption = None, state: StateOption = None, json: JsonOption = False) -> None:
    """Read the configuration and the profiles again; a bad file changes nothing."""
    report = find(config, state).ask("reload")
    if json:
        show.data(report)
    else:
        _report(report)
    if report.get("result") == "rejected":
        raise typer.Exit(show.EXIT_CONFIG)


def _report(report: dict[str, Any]) -> None:
    result = report.get("result", "?")
    if result == "rejected":
        show.line("the new configuration is refused; the old one goes on, whole", lead="✗ ", lead_style="red bold")
    elif result == "unchanged":
        show.done(f"nothing changed; still epoch {report.get('epoch', '?')}")
    else:
        show.done(f"reloaded: epoch {report.get('epoch', '?')}")
    for name, lead in (("applied", "+"), ("needs_restart", "↻"), ("rejected", "✗")):
        for change in report.get(name, []):
            show.line(change, lead=f"  {lead} ")
