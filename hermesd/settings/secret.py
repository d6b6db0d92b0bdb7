"""Secrets by reference: read when needed, never printed."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hermesd.errors import SecretUnavailable
from hermesd.ports import SecretRef

#: bytes of a secret file
_LARGEST = 64 * 1024


class Secret(str):
    """A secret's text; its repr shows nothing, so tracebacks and debug output stay clean."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('…')"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where references of the configuration file lead."""

    #: the daemon's own variables, or one profile's
    env: Mapping[str, str] = field(repr=False)
    #: systemd's CREDENTIALS_DIRECTORY
    credentials_dir: Path | None
    #: relative file references start here: the configuration file's folder
    base_dir: Path

    def read(self, ref: SecretRef) -> Secret:
        """The secret, without the line break at its end. Raises SecretUnavailable, which names the reference only."""
        match ref.source:
            case "env":
                value = self.env.get(ref.name, "")
                fix = f"set {ref.name} in the environment of the daemon"
            case "file":
                value = _file(ref, self.base_dir / Path(ref.name).expanduser(), private=True)
                fix = "write the secret into the file"
            case "credential":
                value = self._credential(ref)
                fix = "check LoadCredential= of the unit"
        value = value.rstrip("\r\n")
        if not value.strip():
            raise SecretUnavailable(f"the secret {ref} is missing or empty", hint=fix)
        return Secret(value)

    def _credential(self, ref: SecretRef) -> str:
        if "/" in ref.name or ref.name in (".", ".."):
            raise SecretUnavailable(f"{ref} is not the name of a credential", hint="a name has no slash")
        if self.credentials_dir is None:
            raise SecretUnavailable(
                f"the secret {ref} needs systemd's credentials, and CREDENTIALS_DIRECTORY is not set",
                hint=f"add LoadCredential={ref.name}:/PATH to the unit, or use {{file: PATH}}",
            )
        # systemd grants access by ACL, which shows as group bits although nobody else may read
        return _file(ref, self.credentials_dir / ref.name, private=False)


def _file(ref: SecretRef, path: Path, *, private: bool) -> str:
    try:
        # opened first, judged afterwards: the file that is judged is the file that is read
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SecretUnavailable(f"the secret {ref} is not a file", hint="name a regular file")
            if private and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SecretUnavailable(f"other users may read the secret {ref}", hint=f"run: chmod 600 {path}")
            return stream.read(_LARGEST).decode("utf-8")
    except OSError as error:
        reason = error.strerror or "input/output error"
        raise SecretUnavailable(f"the secret {ref} cannot be read: {reason}", hint=f"check {path}") from None
    except UnicodeDecodeError:
        raise SecretUnavailable(f"the secret {ref} is not text", hint=f"check {path}") from None
    except ValueError:
        raise SecretUnavailable(f"{ref} is not a path") from None
