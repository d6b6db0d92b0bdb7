"""`hermesd status`, `bots`, `sessions`: what the running daemon is doing."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.text import Text

from hermesd.cli import show
from hermesd.cli.place import ConfigOption, JsonOption, LimitOption, Place, StateOption, find
from hermesd.errors import UserError

#: a bot in one of these states is not to be counted on
_SICK = ("degraded", "conflict", "unauthorized")


def status(
    config: ConfigOption = None,
    state: StateOption = None,
    json: JsonOption = False,
    healthy: Annotated[
        bool, typer.Option("--healthy", help="Say nothing; exit 0 when it is well, 1 when not.")
    ] = False,
) -> None:
    """Show how the daemon, its bots and its queues are doing."""
    answer = find(config, state).ask("status")
    if healthy:
        raise typer.Exit(0 if is_healthy(answer) else show.EXIT_FAILED)
    if json:
        show.data(answer)
        return
    _overview(answer)
    show.line("")
    _bots(answer.get("bots", []))
    _remarks(answer)


def bots(config: ConfigOption = None, state: StateOption = None, json: JsonOption = False) -> None:
    """List the bots and how each is doing."""
    answer = find(config, state).ask("bots")
    if json:
        show.data(answer)
    else:
        _bots(answer)


def sessions(
    profile: Annotated[str, typer.Argument(help="Whose sessions.")],
    limit: LimitOption = 20,
    config: ConfigOption = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """List a profile's conversations, the newest first."""
    place = find(config, state)
    known(place, profile)
    answer = place.ask("sessions", profile=profile, limit=limit)
    if json:
        show.data(answer)
        return
    show.table(
        ("session", "title", "exchanges", "last used", ""),
        (
            (
                row.get("id"),
                row.get("title"),
                row.get("exchanges"),
                show.short_moment(row.get("updated_at")),
                Text("closed" if row.get("closed_at") else "open", style="dim"),
            )
            for row in answer
        ),
        fold=("title",),
        empty=f"no sessions of {profile} yet",
    )


def known(place: Place, profile: str) -> None:
    """Raises UserError, with the likely name, when the running daemon has no such profile."""
    names = [row["name"] for row in place.ask("profiles")]
    if profile not in names:
        near = difflib.get_close_matches(profile, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names) or 'none'}"
        raise UserError(f"there is no profile {profile!r}", hint=hint)


def is_healthy(answer: Mapping[str, Any]) -> bool:
    """Whether the daemon does its work: turns may run and the disk takes writes. A sick bot is not a sick daemon."""
    return not answer.get("safe_mode") and answer.get("database", {}).get("state") == "ok"


def _overview(answer: Mapping[str, Any]) -> None:
    configuration, turns = answer.get("config", {}), answer.get("turns", {})
    deliveries, profiles = answer.get("deliveries", {}), answer.get("profiles", {})
    database, unreadable = answer.get("database", {}), answer.get("quarantined", 0)
    show.line(
        f"hermesd {answer.get('version', '?')}: {'running' if is_healthy(answer) else 'running, but not well'}",
        lead="● ",
        lead_style="green" if is_healthy(answer) else "yellow",
        style="bold",
    )
    loaded = show.moment(configuration.get("loaded_at"))
    show.pairs(
        (
            ("process", f"{answer.get('pid', '?')}, up {show.span(answer.get('uptime'))}"),
            ("config", f"{configuration.get('path', '?')}, epoch {answer.get('epoch', '?')}, loaded {loaded or '?'}"),
            ("state", answer.get("state")),
            ("database", " ".join(filter(None, (database.get("state"), database.get("detail"))))),
            ("turns", _counts(turns, "running", "queued", "done_today", "failed_today")),
            ("deliveries", _counts(deliveries, "pending", "parked", "ambiguous")),
            *((("unreadable", f"{unreadable} events are kept as they came"),) if unreadable else ()),
            ("profiles", profiles.get("total", 0)),
            *(("open", link) for link in answer.get("links", [])),
        )
    )


def _bots(rows: list[Mapping[str, Any]]) -> None:
    show.table(
        ("bot", "state", "since", "restarts", "detail"),
        (
            (
                row.get("key"),
                row.get("state"),
                show.short_moment(row.get("since")),
                row.get("restarts"),
                row.get("detail"),
            )
            for row in rows
        ),
        fold=("detail",),
        optional=("restarts", "detail"),
        empty="no bots: add one under `bots:` in the configuration, or run `hermesd init`",
    )
    for row in rows:
        if row.get("state") in _SICK and row.get("fix"):
            show.line(f"{row['key']}: {row['fix']}", lead="→ ", lead_style="cyan")


def _remarks(answer: Mapping[str, Any]) -> None:
    if answer.get("safe_mode"):
        show.line(f"safe mode, messages are kept and none answered: {answer['safe_mode']}", lead="! ", lead_style="red")
    for broken in answer.get("profiles", {}).get("broken", []):
        show.line(f"profile {broken.get('name')} cannot run: {broken.get('reason')}", lead="! ", lead_style="yellow")
    for pause in answer.get("paused", []):
        note = f" ({pause['note']})" if pause.get("note") else ""
        said = f"paused: {pause.get('scope')} by {pause.get('by')} since {show.moment(pause.get('at'))}{note}"
        show.line(said, lead="‖ ", lead_style="yellow")
    reload = answer.get("last_reload") or {}
    if reload.get("rejected"):
        what = "was rejected" if reload.get("result") == "rejected" else "left something out"
        show.line(f"the last reload ({show.moment(reload.get('at'))}) {what}:", lead="! ", lead_style="yellow")
        for reason in reload["rejected"]:
            show.line(reason, lead="    ")
    for waiting in reload.get("needs_restart", []):
        show.line(waiting, lead="↻ ", lead_style="yellow")


def _counts(values: Mapping[str, Any], *names: str) -> str:
    return ", ".join(f"{values.get(name, 0)} {name.replace('_', ' ')}" for name in names)
