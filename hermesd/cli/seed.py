"""Sample profiles for a state directory: each is copied once, and never again."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from hermesd.cli import show
from hermesd.errors import OperatorError, StateError

#: names of samples this state directory has had: what was deleted stays deleted
RECORD = ".seeded"
SOUL = "You are a helpful assistant. Answer briefly and say so when you do not know.\n"


def seed(samples: Path, state: Path) -> list[str]:
    """Copy each sample home that this state directory never had, private; the names of the new ones.

    A profile that is there already is never touched. Raises OperatorError when there are no samples to copy.
    """
    found = [home for home in sorted(samples.glob("*")) if home.is_dir() and not home.name.startswith(".")]
    if not found:
        raise OperatorError(f"there are no sample profiles in {samples}", hint="name the folder that holds them")
    try:
        return list(_copy(found, state))
    except OSError as error:
        raise StateError(
            f"cannot copy the sample profiles to {state}: {error.strerror}",
            hint="the state directory must be writable for the user hermesd runs as",
        ) from error


def copied(names: list[str]) -> None:
    """Say which samples are new."""
    if names:
        show.done(f"copied the sample profiles {', '.join(names)}")


def first_profile(state: Path) -> bool:
    """Make the profile `default` where there is no profile at all; whether it was made."""
    profiles = private(state) / "profiles"
    if profiles.exists() and any(path.is_dir() for path in profiles.iterdir()):
        return False
    home = private(private(profiles) / "default")
    (home / "SOUL.md").write_text(SOUL)
    (home / "SOUL.md").chmod(0o600)
    _place_for_keys(home)
    return True


def _copy(samples: list[Path], state: Path) -> Iterator[str]:
    record = private(state) / RECORD
    known = set(record.read_text().split()) if record.exists() else set()
    profiles = private(state / "profiles")
    for sample in samples:
        if sample.name in known:
            continue
        home = profiles / sample.name
        if not home.exists():
            _whole(sample, home)
            yield sample.name
        with record.open("a") as file:
            file.write(f"{sample.name}\n")


def _whole(sample: Path, home: Path) -> None:
    """Copy under another name first: a copy that was interrupted is no profile."""
    fresh = home.with_name(f".{home.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(sample, fresh)
    for folder, _, files in os.walk(fresh):
        Path(folder).chmod(0o700)
        for name in files:
            (Path(folder) / name).chmod(0o600)
    _place_for_keys(fresh)
    fresh.rename(home)


def _place_for_keys(home: Path) -> None:
    """An empty `.env`: an editor keeps its mode, where it would make a new one readable for others, and refused."""
    (home / ".env").touch(mode=0o600)


def private(folder: Path) -> Path:
    """The folder, made 0700 with every missing one above it."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return folder
