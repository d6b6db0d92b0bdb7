"""A profile's folder in the Hermes layout: which files it holds, and reading them without leaving it."""

import errno
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hermesd.errors import ConfigError, Problem, UserError

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
#: names nobody may create: they are commands, accounts, or the profile everybody starts with
RESERVED = frozenset({"hermes", "default", "test", "tmp", "root", "sudo"})
FOLDERS = ("memories", "skills", "logs", "workspace")

_SOUL_CAP = 20_000
_FILE_CAP = 256 * 1024


@dataclass(frozen=True, slots=True)
class Home:
    """Where one profile's files lie."""

    name: str
    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def env(self) -> Path:
        return self.path / ".env"

    @property
    def memories(self) -> Path:
        return self.path / "memories"

    @property
    def skills(self) -> Path:
        return self.path / "skills"

    @property
    def log(self) -> Path:
        return self.path / "logs" / "hermesd.log"

    @property
    def workspace(self) -> Path:
        return self.path / "workspace"

    @property
    def database(self) -> Path:
        return self.path / "hermesd.db"

    def read(self, name: str, *, private: bool = False) -> str | None:
        """The text of one file directly in this folder; None when it is missing.

        Raises ConfigError for a link, a file that is too long or no UTF-8, and for a `private` one others can read.
        """
        try:
            folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                # a name checked first and opened later could be swapped in between: the open itself refuses links
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
                handle = os.open(name, flags, dir_fd=folder)
            finally:
                os.close(folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(name, error) from error
        with os.fdopen(handle, "rb") as file:
            self._check(name, os.fstat(handle), private=private)
            data = file.read(_FILE_CAP + 1)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise self.refusal(name, f"is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error

    def soul(self) -> str:
        """SOUL.md, first in every prompt; of a long one the first 14,000 and the last 4,000 characters."""
        text = (self.read("SOUL.md") or "").strip()
        if len(text) <= _SOUL_CAP:
            return text
        head, tail = _SOUL_CAP * 7 // 10, _SOUL_CAP * 2 // 10
        return f"{text[:head]}\n\n[… {len(text) - head - tail:,} characters left out …]\n\n{text[-tail:]}"

    def prepare(self) -> None:
        """Make the folders a running profile needs, readable by this user only."""
        for name in FOLDERS:
            (self.path / name).mkdir(mode=0o700, exist_ok=True)

    def faults(self) -> tuple[Problem, ...]:
        """What makes this folder unusable as a home: links out of it, or others who may write into it."""
        found = []
        if stat.S_IMODE(self.path.lstat().st_mode) & 0o022:
            found.append(self._problem("", "can be written by others", f"chmod 700 {self.path}"))
        for name in FOLDERS:
            if (self.path / name).is_symlink():
                hint = "move the real folder here; `terminal.cwd` may name a place elsewhere"
                found.append(self._problem(name, "is a symbolic link", hint))
        return tuple(found)

    def refusal(self, name: str, message: str, hint: str = "") -> ConfigError:
        """The error for one file of this folder."""
        return ConfigError((self._problem(name, message, hint),))

    def _problem(self, name: str, message: str, hint: str) -> Problem:
        return Problem(str(self.path / name) if name else str(self.path), 0, 0, "", message, hint)

    def _unreadable(self, name: str, error: OSError) -> ConfigError:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return self.refusal(name, "is reached through a symbolic link", "put the file itself there")
        return self.refusal(name, f"cannot be read: {error.strerror}", "check its owner and mode")

    def _check(self, name: str, found: os.stat_result, *, private: bool) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise self.refusal(name, "is not a regular file")
        if found.st_size > _FILE_CAP:
            raise self.refusal(name, f"is longer than {_FILE_CAP:,} bytes")
        if private and stat.S_IMODE(found.st_mode) & 0o077:
            raise self.refusal(name, "holds secrets and can be read by others", f"chmod 600 {self.path / name}")

    @classmethod
    def create(cls, profiles_dir: Path, name: str, *, reserved: bool = False) -> Self:
        """Make a new, empty home. Raises UserError for a name that is not allowed or taken.

        `reserved` lets the daemon itself make `default`.
        """
        if not allowed(name) or (name in RESERVED and not reserved):
            raise UserError(
                f"{name!r} cannot be a profile's name",
                hint="lower-case letters, digits, - and _, at most 64, and none of " + ", ".join(sorted(RESERVED)),
            )
        profiles_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        home = cls(name, profiles_dir / name)
        try:
            home.path.mkdir(mode=0o700)
        except FileExistsError as error:
            raise UserError(f"there is already a profile {name!r}", hint="choose another name") from error
        home.prepare()
        return home


def allowed(name: str) -> bool:
    """Whether a profile may be called this: one spelling only, nothing a path or a person could misread."""
    return _NAME.fullmatch(name) is not None


def survey(profiles_dir: Path) -> tuple[tuple[Home, ...], tuple[Problem, ...]]:
    """Every home below the folder, by name, and what looks like one but is none; hidden entries are skipped."""
    homes: list[Home] = []
    problems: list[Problem] = []
    try:
        entries = sorted(os.scandir(profiles_dir), key=lambda entry: entry.name)
    except OSError as error:
        hint = "create it, or set profiles_dir in the configuration"
        return (), (Problem(str(profiles_dir), 0, 0, "profiles_dir", f"cannot be read: {error.strerror}", hint),)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():
            message = "is a symbolic link: two names for one home, or a way out of this folder"
            problems.append(Problem(entry.path, 0, 0, "", message, "move the real folder here", "warning"))
        elif entry.is_dir(follow_symlinks=False):
            if allowed(entry.name):
                homes.append(Home(entry.name, Path(entry.path)))
            else:
                message = "is not a profile's name: lower-case letters, digits, - and _, at most 64"
                problems.append(Problem(entry.path, 0, 0, "", message, "rename the folder", "warning"))
    return tuple(homes), tuple(problems)
