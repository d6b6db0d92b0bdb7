"""`hermesd profiles`: who can answer, and with what."""

from typing import Annotated, Any

import typer

from hermesd.cli import show
from hermesd.cli.place import ConfigOption, JsonOption, StateOption, find


def list_(config: ConfigOption = None, state: StateOption = None, json: JsonOption = False) -> None:
    """List the profiles and whether each can run."""
    place = find(config, state)
    if place.alive():
        rows = place.ask("profiles")
    else:
        from hermesd.cli.offline import profiles

        rows = profiles(place)
    if json:
        show.data(rows)
        return
    show.table(
        ("profile", "state", "model", "home", "reason"),
        ((row.get("name"), row.get("state"), row.get("model"), row.get("home"), row.get("reason")) for row in rows),
        empty="no profiles yet: make one below profiles/ in the state directory",
    )


def show_(
    name: Annotated[str, typer.Argument(help="The profile's name.")],
    config: ConfigOption = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Show one profile: home, model, memory, sessions. Never a secret."""
    place = find(config, state)
    if place.alive():
        answer = place.ask("profile", name=name)
    else:
        from hermesd.cli.offline import profile

        answer = profile(place, name)
    if json:
        show.data(answer)
        return
    show.line(name, style="bold")
    show.pairs((key.replace("_", " "), _cell(value)) for key, value in answer.items() if key != "name")


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return value
