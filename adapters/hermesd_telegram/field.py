"""Reading outside JSON: every wrong shape is a ValueError that names the field, never the value."""

from collections.abc import Mapping
from typing import Any

#: ids and dates fit in here; more is not from Telegram
_MOST = 2**53


class Malformed(ValueError):
    """Outside data is not what the platform's own description says."""


def whole(source: Mapping[str, Any], name: str) -> int:
    """A required integer."""
    value = source.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not -_MOST < value < _MOST:
        raise Malformed(f"{name} is not an integer")
    return value


def maybe_whole(source: Mapping[str, Any], name: str) -> int | None:
    """An optional integer."""
    return None if source.get(name) is None else whole(source, name)


def words(source: Mapping[str, Any], name: str) -> str:
    """An optional string, empty when absent; half surrogates, which no database takes, become U+FFFD."""
    value = source.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Malformed(f"{name} is not a string")
    if value.isascii():
        return value
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def table(source: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A required object."""
    value = source.get(name)
    if not isinstance(value, Mapping):
        raise Malformed(f"{name} is not an object")
    return value


def maybe_table(source: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """An optional object."""
    return None if source.get(name) is None else table(source, name)


def tables(source: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """An optional list of objects."""
    value = source.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        raise Malformed(f"{name} is not a list of objects")
    return value


def flag(source: Mapping[str, Any], name: str) -> bool:
    """An optional boolean; absent is false, anything but a boolean is malformed."""
    value = source.get(name, False)
    if not isinstance(value, bool):
        raise Malformed(f"{name} is not a boolean")
    return value
