"""Opening one database file: private, checked, migrated. Runs on the database's own thread."""

import errno
import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from hermesd.database.fault import damaged, translate
from hermesd.database.migration import Migration, migrate
from hermesd.errors import LedgerUnavailable, OperatorError, StateError

#: seconds a statement waits for a foreign lock before the writer's own back-off takes over
_BUSY = 0.1
#: the same while opening, where nobody else waits for the thread
_BUSY_OPENING = 5.0
#: seconds quick_check may take; a larger file is trusted after that
_CHECK_BUDGET = 0.5
#: bytes the journal keeps on disk between checkpoints
_WAL_KEEP = 8 * 1024 * 1024
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EIO})


def open_file(
    path: Path,
    migrations: Sequence[Migration],
    *,
    cache_kib: int,
    monotonic: Callable[[], float],
    crash: Callable[[str], None],
) -> sqlite3.Connection:
    """A connection in autocommit mode to a file that is private, sound and of the newest schema.

    Raises StateError (not ours, too new, damaged, a symlink) or LedgerUnavailable (locked, disk full, no descriptors).
    """
    try:
        _make_private(path)
    except OSError as error:
        raise _refusal(path, error) from error
    tx = None
    try:
        tx = sqlite3.connect(path, timeout=_BUSY_OPENING, isolation_level=None, cached_statements=256)
        _configure(tx, cache_kib)
        _check(tx, path, monotonic)
        migrate(tx, str(path), migrations, crash)
        tx.execute(f"PRAGMA busy_timeout = {int(_BUSY * 1000)}")
    except BaseException as error:
        if tx is not None:
            tx.close()
        raise translate(str(path), error) from error
    return tx


def _make_private(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    wal = path.with_name(path.name + "-wal")
    # SQLite gives -wal and -shm the mode of the main file, so that one must be private before SQLite sees it
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise StateError(f"{path} is not a regular file", hint="move it away; hermesd then makes its own")
        if stat.S_IMODE(found.st_mode) & 0o077:
            os.fchmod(handle, 0o600)
    finally:
        os.close(handle)
    if found.st_size == 0 and _size(wal) > 0:
        # SQLite would delete the journal of an empty file, and with it the last committed work
        raise StateError(
            f"{path} is empty or gone, but its journal {wal.name} is not",
            hint=f"restore {path.name} beside it, or move {wal.name} away to begin anew; nothing was changed",
        )


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _refusal(path: Path, error: OSError) -> OperatorError:
    if error.errno in _PASSING:
        return LedgerUnavailable(
            f"{path} cannot be opened now: {error.strerror}", hint="free space or descriptors; the next try may work"
        )
    if path.is_symlink():
        return StateError(
            f"{path} is a symbolic link", hint="put the file itself there, or set --state to its real place"
        )
    return StateError(f"{path} cannot be opened: {error.strerror}", hint="check the folder's owner and mode")


def _configure(tx: sqlite3.Connection, cache_kib: int) -> None:
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
        "temp_store = MEMORY",
        "trusted_schema = OFF",
        f"cache_size = -{cache_kib}",
        f"journal_size_limit = {_WAL_KEEP}",
        "wal_autocheckpoint = 1000",
    ):
        tx.execute(f"PRAGMA {pragma}").close()


def _check(tx: sqlite3.Connection, path: Path, monotonic: Callable[[], float]) -> None:
    deadline = monotonic() + _CHECK_BUDGET
    tx.set_progress_handler(lambda: monotonic() > deadline, 10_000)
    try:
        verdict = str(tx.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        tx.set_progress_handler(None, 0)
    if verdict != "ok":
        raise damaged(str(path), verdict)
