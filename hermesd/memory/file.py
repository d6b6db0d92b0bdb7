"""One memory file on disk: locked, written whole, never at the cost of a human's edit."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hermesd.errors import UserError
from hermesd.memory.entries import parse, round_trips

#: bytes read at most; a memory file is far smaller
_READ_CAP = 256 * 1024
_ATTEMPTS = 5

Version = tuple[int, int, int] | None


def read(path: Path) -> str:
    """The text; empty where there is no file. Blocking."""
    return _read(path)[0]


def change(path: Path, seed: Callable[[], str], edit: Callable[[str], str]) -> str:
    """Replace the file by `edit(its text)` and return that; `seed` gives the text of a missing file. Blocking.

    Under a lock file that keeps out threads and processes alike; an edit somebody makes in an editor meanwhile is
    seen and edited instead of overwritten.
    Raises what `edit` raises and leaves the file alone then.
    """
    _make_private(path.parent)
    with _locked(path):
        for _ in range(_ATTEMPTS):
            text, version = _read(path)
            new = edit(text if version is not None else seed())
            temporary = _write_beside(path, new)
            if _version(path) == version:
                temporary.rename(path)
                _sync_folder(path.parent)
                return new
            temporary.unlink()
    raise UserError(f"{path.name} keeps changing while it is edited", hint="try again when the editor is closed")


def undrifted(path: Path, text: str) -> tuple[str, ...]:
    """The entries of a file that only holds entries.

    A file edited by hand so that rewriting would change it is copied to `.bak.<time>` first and then refused with
    UserError.
    """
    if round_trips(text):
        return parse(text)
    backup = path.with_name(f"{path.name}.bak.{int(time.time())}")
    if not backup.exists():
        _write_beside(path, text).rename(backup)
    raise UserError(
        f"{path.name} was edited by hand and would change by rewriting it; a copy is in {backup.name}",
        hint="put entries between lines that hold only §, each once, then try again",
    )


def _make_private(folder: Path) -> None:
    # `parents=True` would give the folders between the umask's mode
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(path: Path) -> tuple[str, Version]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return "", None
    with os.fdopen(handle, "rb") as file:
        stat = os.fstat(file.fileno())
        text = file.read(_READ_CAP).decode("utf-8", "replace")
    return text.removeprefix("\ufeff"), (stat.st_ino, stat.st_size, stat.st_mtime_ns)


def _version(path: Path) -> Version:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _write_beside(path: Path, text: str) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
