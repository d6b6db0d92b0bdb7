"""A profile's own secrets: read from its `.env`, handed on by argument, never through the process environment."""

import re
from collections.abc import Iterator, Mapping
from io import StringIO

from dotenv import dotenv_values

from hermesd.errors import SecretUnavailable
from hermesd.profile.home import Home

_REFERENCE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_NAME = re.compile(r"(?i)(key|token|secret|password|passwd|pass|credential|auth|cookie|dsn)s?(_|$)|_url$")


class Secrets(Mapping[str, str]):
    """The variables of one profile. Printing it shows their names, never a value."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})

    def __getitem__(self, name: str) -> str:
        try:
            return self._values[name]
        except KeyError:
            # the mapping must not ride along in the traceback
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self._values))})"

    def confidential(self) -> tuple[str, ...]:
        """The values a log must hide: everything named like a secret, and everything too random to be a word."""
        return tuple(value for name, value in self._values.items() if _SECRET_NAME.search(name) or _random(value))


def _random(value: str) -> bool:
    return len(value) >= 16 and not any(mark in value for mark in " /") and any(map(str.isdigit, value))


def read(home: Home) -> Secrets:
    """The profile's `.env`; empty when there is none. Raises ConfigError when others can read the file."""
    text = home.read(".env", private=True)
    if text is None:
        return Secrets()
    pairs = dotenv_values(stream=StringIO(text), interpolate=False)
    return Secrets({name: value for name, value in pairs.items() if value is not None})


def resolve(text: str, secrets: Mapping[str, str]) -> str:
    """The text with every `${NAME}` and `${env:NAME}` replaced from this profile's own mapping.

    Raises SecretUnavailable naming what is missing; the process environment is never asked.
    """
    return _REFERENCE.sub(lambda match: _value(match[1], secrets), text)


def _value(name: str, secrets: Mapping[str, str]) -> str:
    if name not in secrets:
        raise SecretUnavailable(f"${{{name}}} is not set", hint=f"add {name}=… to the profile's .env")
    return secrets[name]
