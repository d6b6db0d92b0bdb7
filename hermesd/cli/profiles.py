"""`hermesd profiles`: who can answer, and with what."""

from typing import Annotated

import typer

from hermesd.cli import show, status
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
        fold=("model", "home", "reason"),
        optional=("home", "reason"),
        empty="no profiles yet: make one below profiles/ in the state directory",
    )


def show_(
    name: Annotated[str, typer.Argument(help="The profile's name.")],
    config: ConfigOption = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Show one profile: home, workspace, model, the names of its secrets. Never a secret."""
    place = find(config, state)
    if place.alive():
        status.known(place, name)
        answer = place.ask("profile", name=name)
    else:
        from hermesd.cli.offline import profile

        answer = profile(place, name)
    if json:
        show.data(answer)
        return
    show.line(name, style="bold")
    tools = "all" if answer.get("toolsets") is None else answer["toolsets"]
    show.pairs(
        (
            *((key, answer[key]) for key in ("state", "reason", "model", "home", "workspace") if answer.get(key)),
            ("toolsets", tools),
            ("secrets", answer.get("secrets")),
            *((("not used", answer["notes"]),) if answer.get("notes") else ()),
        )
    )
