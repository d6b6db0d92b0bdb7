"""A profile's workspace folder, opened so that no name leads out of it.

Every component is opened from its parent's descriptor and never through a link, so neither `..`, nor a symbolic
link, nor one that appears between two steps can point anywhere else. Blocking; callers run it in a thread.
"""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hermesd.errors import UserError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: NONBLOCK: a pipe or device must not hold the thread
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder listing."""

    #: relative to the workspace
    path: str
    is_folder: bool
    size: int


@dataclass(frozen=True, slots=True)
class Workspace:
    """Files below one root."""

    root: Path

    def read(self, path: str, cap: int) -> bytes:
        """At most `cap` bytes of a regular file. Raises UserError."""
        parts = _parts(path)
        if not parts:
            raise UserError("the path names no file")
        with self._folder(parts[:-1]) as folder, _explained(path):
            return _read(parts[-1], folder, path, cap)

    def write(self, path: str, data: bytes) -> None:
        """Replace or create a file (0600) and the folders on the way (0700), whole or not at all. Raises UserError."""
        parts = _parts(path)
        if not parts:
            raise UserError("the path names no file")
        with self._folder(parts[:-1], create=True) as folder, _explained(path):
            with suppress(FileNotFoundError):
                if stat.S_ISDIR(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode):
                    raise UserError(f"{path} is a folder")
            temporary = f".{secrets.token_hex(8)}.tmp"
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(temporary, flags, 0o600, dir_fd=folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.rename(temporary, parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
                raise

    def walk(self, path: str, depth: int) -> Iterator[Entry]:
        """What lies below a folder, sorted, links left out, `depth` levels deep. Raises UserError."""
        parts = _parts(path)
        with self._folder(parts) as folder:
            yield from _walk(folder, "/".join(parts), min(depth, _DEEPEST))

    @contextmanager
    def _folder(self, parts: list[str], *, create: bool = False) -> Iterator[int]:
        if create:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _explained("the workspace"):
            handle = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for index, part in enumerate(parts):
                with _explained("/".join(parts[: index + 1])):
                    if create:
                        with suppress(FileExistsError):
                            os.mkdir(part, 0o700, dir_fd=handle)
                    below = os.open(part, _FOLDER, dir_fd=handle)
                os.close(handle)
                handle = below
            yield handle
        finally:
            os.close(handle)


def _parts(path: str) -> list[str]:
    if "\0" in path or len(path) > 4096:
        raise UserError("this is not a usable path")
    if path.startswith(("/", "~")):
        raise UserError(
            f"{path!r} is outside the workspace", hint="paths are relative to the workspace, like notes/a.md"
        )
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UserError(f"{path!r} leaves the workspace", hint="paths are relative to the workspace, without ..")
    if len(parts) > _DEEPEST or any(len(os.fsencode(part)) > 255 for part in parts):
        raise UserError("the path is too long")
    return parts


def _read(name: str, folder: int, path: str, cap: int) -> bytes:
    handle = os.open(name, _FILE, dir_fd=folder)
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise UserError(f"{path} is not a file")
        return file.read(cap)


def _walk(folder: int, prefix: str, depth: int) -> Iterator[Entry]:
    with os.scandir(folder) as listing:
        found = sorted((entry for entry in listing if not entry.is_symlink()), key=lambda entry: entry.name)
    for entry in found:
        path = f"{prefix}/{entry.name}" if prefix else entry.name
        if not entry.is_dir(follow_symlinks=False):
            try:
                yield Entry(path, is_folder=False, size=entry.stat(follow_symlinks=False).st_size)
            except FileNotFoundError:
                continue
            continue
        yield Entry(path, is_folder=True, size=0)
        if depth > 1:
            try:
                below = os.open(entry.name, _FOLDER, dir_fd=folder)
            except OSError:
                continue
            try:
                yield from _walk(below, path, depth - 1)
            finally:
                os.close(below)


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn the kernel's refusals into words for the model."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", hint="list_files shows what is there") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder") from None
    except OSError as error:
        # ELOOP and ENOTDIR are what a symbolic link gives when links are not followed
        raise UserError(f"{path} cannot be opened in the workspace: {os.strerror(error.errno or 0)}") from None
