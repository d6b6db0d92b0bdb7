"""Many callers' work in one commit. Everything here runs on the database thread."""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hermesd.database.fault import passing
from hermesd.database.migration import Tx


@dataclass(slots=True, eq=False)
class Unit:
    """One caller's work: stored as a whole or not at all."""

    work: Callable[[Tx], Any]
    future: asyncio.Future[Any]
    #: monotonic seconds after which the caller no longer waits for the disk
    deadline: float | None = None
    #: committed, or refused by an error of its own; never run again
    done: bool = False
    result: Any = None
    error: BaseException | None = None


def commit(tx: Tx, units: Sequence[Unit], crash: Callable[[str], None]) -> None:
    """Run the units and commit them together; each is `done` afterwards, with its result or its own error.

    A unit that raises takes back its own changes only. Raises sqlite3.Error when the file refuses the transaction;
    units not `done` then left no trace and may be run again.
    """
    try:
        if _together(tx, units, crash):
            return
        if len(units) > 1 and _guarded(tx, units, crash):
            return
        for unit in units:
            _together(tx, (unit,), crash)
    except BaseException:
        _undo(tx)
        raise


def _together(tx: Tx, units: Sequence[Unit], crash: Callable[[str], None]) -> bool:
    # savepoints cost two statements a unit and nearly no unit fails: try without first
    tx.execute("BEGIN IMMEDIATE")
    for unit in units:
        try:
            unit.result = unit.work(tx)
        except BaseException as error:
            if passing(error):
                raise
            return _refused(tx, units, error)
        if not tx.in_transaction:
            raise RuntimeError(f"{unit.work!r} ended the transaction it was given")
    return _finish(tx, units, crash)


def _guarded(tx: Tx, units: Sequence[Unit], crash: Callable[[str], None]) -> bool:
    tx.execute("BEGIN IMMEDIATE")
    for unit in units:
        unit.error = None
        tx.execute("SAVEPOINT unit")
        try:
            unit.result = unit.work(tx)
        except BaseException as error:
            if passing(error):
                raise
            if not tx.in_transaction:
                return False
            unit.error = error
            tx.execute("ROLLBACK TO unit")
        tx.execute("RELEASE unit")
    return _finish(tx, units, crash)


def _finish(tx: Tx, units: Sequence[Unit], crash: Callable[[str], None]) -> bool:
    crash("commit.before")
    try:
        tx.execute("COMMIT")
    except sqlite3.Error as error:
        if passing(error):
            raise
        return _refused(tx, units, error)
    crash("commit.after")
    for unit in units:
        unit.done = True
    return True


def _refused(tx: Tx, units: Sequence[Unit], error: BaseException) -> bool:
    _undo(tx)
    if len(units) > 1:
        return False
    units[0].error = error
    units[0].done = True
    return True


def _undo(tx: Tx) -> None:
    if tx.in_transaction:
        tx.execute("ROLLBACK")
