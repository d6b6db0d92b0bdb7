"""`hermesd routes`: which conversation goes to which profile, and why."""

from typing import Annotated, Any

import typer

from hermesd.cli import show
from hermesd.cli.place import ConfigOption, JsonOption, StateOption, find

OfflineOption = Annotated[bool, typer.Option("--offline", help="Ask the file, not the running daemon.")]


def list_(
    offline: OfflineOption = False, config: ConfigOption = None, state: StateOption = None, json: JsonOption = False
) -> None:
    """List the routes, the most specific first."""
    place = find(config, state)
    if place.alive() and not offline:
        rows = place.ask("routes")
    else:
        from hermesd.cli.offline import routes

        rows = routes(place)
    if json:
        show.data(rows)
        return
    show.table(
        ("match", "profile", "role", "written at"),
        ((row.get("match"), row.get("profile"), row.get("role"), row.get("where")) for row in rows),
        fold=("match", "written at"),
        optional=("role",),
        empty="no routes: every conversation goes to `default_profile`",
    )


def explain(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="platform/bot:chat[:thread]; /whereami prints it.")],
    user: Annotated[str | None, typer.Option("--user", "-u", help="As this user id.")] = None,
    offline: OfflineOption = False,
    config: ConfigOption = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Say which profile answers at an address, and which routes were considered."""
    place = find(config, state)
    if place.alive() and not offline:
        answer = place.ask("explain", address=address, user=user)
    else:
        from hermesd.cli.offline import explain as explain_offline

        answer = explain_offline(place, address, user)
    if json:
        show.data(answer)
    else:
        _explained(address, answer)


def _explained(address: str, answer: dict[str, Any]) -> None:
    profile = answer.get("profile")
    if profile:
        show.line(f"{address} → {profile}", style="bold")
    else:
        show.line(f"{address} → nobody: the person gets a visible refusal", style="bold")
    if answer.get("why"):
        show.line(str(answer["why"]), lead="  because ", lead_style="dim")
    for step in (step for step in answer.get("considered", [])[1:] if step.strip() != answer.get("why")):
        show.line(str(step).strip(), lead="  · ", lead_style="dim")
