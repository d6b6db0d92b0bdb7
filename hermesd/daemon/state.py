"""The state directory: private, and one daemon at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hermesd.errors import StateError


@contextmanager
def held(state: Path) -> Iterator[Path]:
    """Create the directory 0700 and hold its lock until the block ends.

    The lock is the kernel's and ends with the process, however it ends. Raises StateError in one clear line.
    """
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        state.chmod(0o700)
        handle = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateError(
            f"the state directory {state} cannot be used: {error.strerror}",
            hint="create it for the user hermesd runs as, or pass another one with --state",
        ) from error
    try:
        _lock(handle, state)
        yield state
    finally:
        os.close(handle)


def _lock(handle: int, state: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise StateError(
            f"hermesd is already running on {state} (pid {owner})", hint="stop it first, or use another --state"
        ) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
