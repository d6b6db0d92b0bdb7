"""Numbered steps a file's schema goes through: forward only, each in a transaction of its own."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from hermesd.errors import StateError

Tx = sqlite3.Connection

#: marks a file as ours: the four letters `hrmd`
APPLICATION_ID = 0x68726D64


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from schema `number - 1` to `number`."""

    #: 1, 2, 3 … without a gap
    number: int
    #: any number of statements, without transaction control
    sql: str


def migrate(tx: Tx, name: str, migrations: Sequence[Migration], crash: Callable[[str], None]) -> int:
    """Bring the file to the newest schema; returns how many steps ran. A step is there as a whole or not at all.

    Raises StateError for a file that is not ours or newer than this program.
    """
    _check_order(migrations)
    version = int(tx.execute("PRAGMA user_version").fetchone()[0])
    _check_owner(tx, name, version)
    newest = len(migrations)
    if version > newest:
        raise StateError(
            f"{name} has schema {version}, this hermesd knows up to {newest}: a newer hermesd has used it",
            hint="start the newer hermesd again, or restore a copy made before the upgrade; nothing was changed",
        )
    for migration in migrations[version:]:
        _apply(tx, migration, crash)
    return newest - version


def _check_order(migrations: Sequence[Migration]) -> None:
    if [migration.number for migration in migrations] != list(range(1, len(migrations) + 1)):
        raise ValueError("migrations are numbered 1, 2, 3 … without a gap")


def _check_owner(tx: Tx, name: str, version: int) -> None:
    owner = int(tx.execute("PRAGMA application_id").fetchone()[0])
    empty = version == 0 and tx.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if owner != APPLICATION_ID and not empty:
        raise StateError(
            f"{name} is an SQLite database of another program",
            hint="move it somewhere else, hermesd then makes its own; nothing was changed",
        )


def _apply(tx: Tx, migration: Migration, crash: Callable[[str], None]) -> None:
    tx.execute("BEGIN IMMEDIATE")
    try:
        for ordinal, statement in enumerate(_statements(migration.sql)):
            tx.execute(statement)
            crash(f"migration.{migration.number}.{ordinal}")
        tx.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        tx.execute(f"PRAGMA user_version = {migration.number}")
        crash(f"migration.{migration.number}.before_commit")
        tx.execute("COMMIT")
    except BaseException:
        if tx.in_transaction:
            tx.execute("ROLLBACK")
        raise
    crash(f"migration.{migration.number}.after_commit")


def _statements(script: str) -> Iterator[str]:
    # executescript() would commit on its own; SQLite itself says where a statement ends (triggers hold semicolons)
    pending = ""
    for piece in script.split(";"):
        pending += piece + ";"
        if sqlite3.complete_statement(pending):
            if pending.strip(" \n\t;"):
                yield pending
            pending = ""
    if pending.strip(" \n\t;"):
        raise ValueError(f"unfinished statement in a migration: {pending.strip()[:60]!r}")
