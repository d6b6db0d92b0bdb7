"""What an SQLite error means for whoever must act."""

import sqlite3
from dataclasses import dataclass
from typing import Literal

from hermesd.errors import HermesdError, LedgerUnavailable, StateError

HealthState = Literal["ok", "busy", "full", "failed"]

# LOCKED is missing on purpose: without a shared cache it is a unit's conflict with itself, which no waiting cures
_PASSING: dict[int, HealthState] = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_PROTOCOL: "busy",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_IOERR: "failed",
    sqlite3.SQLITE_CANTOPEN: "failed",
    sqlite3.SQLITE_READONLY: "failed",
    sqlite3.SQLITE_NOMEM: "failed",
}
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_HINTS: dict[HealthState, str] = {
    "busy": "another program holds the file (a backup, an open sqlite3 shell): let it finish or close it",
    "full": "free space on this disk; hermesd resumes by itself",
    "failed": "check the disk, its mount and its permissions; hermesd resumes by itself",
}


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """How the file takes writes, for people and for readiness checks."""

    #: `busy`: somebody else holds it; `full`: no space; `failed`: any other refusal of the disk
    state: HealthState
    #: Unix seconds of the last change of `state`
    since: float
    #: the refusal in SQLite's words; empty while ok
    detail: str = ""


def passing(error: BaseException) -> HealthState | None:
    """The health state for a refusal that time may cure; None for every other error."""
    if not isinstance(error, sqlite3.Error):
        return None
    return _PASSING.get(_code(error))


def broken(error: BaseException) -> bool:
    """Whether the file's contents are damaged."""
    return isinstance(error, sqlite3.DatabaseError) and _code(error) in _BROKEN


def _code(error: sqlite3.Error) -> int:
    # the low byte is the primary code; errors raised by the Python module itself carry none
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def describe(error: sqlite3.Error) -> str:
    """SQLite's words with the name of its code."""
    return f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"


def unavailable(name: str, error: sqlite3.Error, state: HealthState) -> LedgerUnavailable:
    """What a caller hears who cannot wait any longer."""
    return LedgerUnavailable(f"{name} does not take this now: {describe(error)}", hint=_HINTS[state])


def damaged(name: str, detail: str) -> StateError:
    """What a caller hears of a damaged file."""
    return StateError(
        f"{name} is damaged: {detail}",
        hint=(
            "the file is kept as it is, with its -wal and -shm beside it; stop hermesd, move the three away together, "
            f"then restore a backup, or rescue what is left with: sqlite3 {name} .recover | sqlite3 rescued.db"
        ),
    )


def translate(name: str, error: BaseException) -> BaseException:
    """The same error in the words of our tree where it concerns the file; a caller's own mistake stays as it is."""
    if isinstance(error, HermesdError) or not isinstance(error, sqlite3.Error):
        return error
    if state := passing(error):
        return unavailable(name, error, state)
    return damaged(name, describe(error)) if broken(error) else error
