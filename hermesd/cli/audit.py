"""`hermesd audit`: what was decided, and the proof that nobody changed the record. Works on a stopped daemon too."""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from hermesd.cli import show
from hermesd.cli.place import ConfigOption, JsonOption, LimitOption, Place, StateOption, find
from hermesd.errors import StateError

if TYPE_CHECKING:
    from hermesd.audit import AuditEvent

Answer = TypeVar("Answer")


def tail(
    limit: LimitOption = 50,
    kind: Annotated[str | None, typer.Option("--kind", "-k", help="Only this kind, e.g. turn.refused.")] = None,
    config: ConfigOption = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Show the newest decisions, the last one at the bottom."""
    place = find(config, state)
    rows = place.ask("audit_tail", limit=limit, kind=kind) if place.alive() else _tail_offline(place, limit, kind)
    if json:
        show.data(rows)
        return
    show.table(
        ("id", "when", "kind", "decision"),
        ((row.get("id"), show.short_moment(row.get("at")), row.get("kind"), sentence(row)) for row in rows),
        fold=("decision",),
        empty="no decisions yet" if kind is None else f"no decisions of the kind {kind} yet",
    )


def sentence(row: Mapping[str, Any]) -> str:
    """Who, about what, towards what, by which rule: `telegram/main:111: telegram/main:-100:6 → career`."""
    actor, subject, target, rule = (str(row.get(name) or "") for name in ("actor", "subject", "target", "rule"))
    about = f"{actor}: {subject}" if subject and subject != actor else actor
    return about + (f" → {target}" if target else "") + (f" ({rule})" if rule else "")


def verify(config: ConfigOption = None, state: StateOption = None, json: JsonOption = False) -> None:
    """Walk the whole hash chain; exit 1 when a row was changed, removed or slipped in."""
    place = find(config, state)
    result = place.ask("audit_verify") if place.alive() else _verify_offline(place)
    if json:
        show.data(result)
    elif result.get("ok"):
        show.done(f"the audit log is whole: {result.get('count', 0)} rows")
    else:
        said = f"the audit log is broken at row {result.get('first_bad')}: it {result.get('why')}"
        show.line(said, lead="✗ ", lead_style="red bold")
        show.line(f"{result.get('count', 0)} rows before it hold", lead="  ")
    if not result.get("ok"):
        raise typer.Exit(show.EXIT_FAILED)


def plain(event: "AuditEvent") -> dict[str, Any]:
    """One event as JSON; hashes in hexadecimal."""
    return {key: value.hex() if isinstance(value, bytes) else value for key, value in asdict(event).items()}


def _tail_offline(place: Place, limit: int, kind: str | None) -> list[dict[str, Any]]:
    from hermesd import audit  # the daemon answers in the usual case, without this

    return [plain(event) for event in _read(place, lambda tx: audit.tail(tx, limit, kind=kind))]


def _verify_offline(place: Place) -> Mapping[str, Any]:
    from hermesd import audit
    from hermesd.ledger import boot

    return asdict(_read(place, lambda tx: audit.verify(tx, boot.anchor(tx))))


def _read(place: Place, question: Callable[[sqlite3.Connection], Answer]) -> Answer:
    """Ask the ledger of a stopped daemon, which is opened for reading only."""
    ledger = place.state / "ledger.db"
    if not ledger.exists():
        raise StateError(f"there is no ledger at {ledger}", hint="name the state directory with --state")
    try:
        with closing(sqlite3.connect(f"{ledger.resolve().as_uri()}?mode=ro", uri=True)) as tx:
            return question(tx)
    except sqlite3.Error as error:
        raise StateError(f"cannot read {ledger}: {error}", hint="see `hermesd doctor`") from error
