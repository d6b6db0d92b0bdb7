"""A profile's YAML as plain data with the place of every key."""

from dataclasses import dataclass
from typing import Any

import yaml

from hermesd.errors import ConfigError, Problem
from hermesd.profile.home import Home

Place = tuple[int, int]
Path = tuple[str | int, ...]

_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Document:
    """One file, read."""

    data: dict[str, Any]
    #: path of a key or list entry → its line and column, 1-based
    places: dict[Path, Place]

    def place(self, path: Path) -> Place:
        """Where this key stands, or the nearest enclosing one; (0, 0) in an empty file."""
        while path not in self.places and path:
            path = path[:-1]
        return self.places.get(path, (0, 0))


class _Unfit(Exception):
    """YAML that is well formed and still not read here."""

    def __init__(self, message: str, mark: Any) -> None:
        super().__init__(message)
        self.place: Place = (mark.line + 1, mark.column + 1)


def parse(text: str, home: Home, name: str) -> Document:
    """Read YAML without aliases, duplicate keys or foreign tags. Raises ConfigError with line and column."""
    reading = _Reading()
    try:
        _check_depth(text)
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
        data = {} if root is None else reading.plain(root, ())
    except _Unfit as error:
        raise _refusal(home, name, error.place, str(error)) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise _refusal(home, name, place, str(error.problem or error.context)) from error
    except (yaml.YAMLError, ValueError) as error:
        raise _refusal(home, name, (0, 0), "is not YAML that can be read") from error
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise _refusal(home, name, (1, 1), "must be a mapping of keys to values")
    return Document(data, reading.places)


def _check_depth(text: str) -> None:
    # the C composer calls itself for every level and would overflow the stack of the whole process
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise _Unfit("is nested too deeply", event.start_mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _refusal(home: Home, name: str, place: Place, message: str) -> ConfigError:
    return ConfigError((Problem(str(home.path / name), *place, "", message, "check the YAML at that place"),))


class _Reading:
    def __init__(self) -> None:
        self.places: dict[Path, Place] = {}
        self._seen: set[int] = set()
        self._loader = yaml.CSafeLoader("")

    def plain(self, node: yaml.Node, path: Path) -> Any:
        mark = node.start_mark
        # an alias composes to the very same node; expanding them is how a few bytes become gigabytes
        if id(node) in self._seen:
            raise _Unfit("aliases are not read here", mark)
        self._seen.add(id(node))
        self.places.setdefault(path, (mark.line + 1, mark.column + 1))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, (*path, n)) for n, item in enumerate(node.value)]
        if path[:1] == ("access",) and node.tag == "tag:yaml.org,2002:int":
            # ids are strings in every spelling; YAML would read 010 as 8
            return node.value
        return self._loader.construct_object(node, deep=True)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            mark = key.start_mark
            if not isinstance(key, yaml.ScalarNode):
                raise _Unfit("a key must be plain text", mark)
            if key.value in found:
                raise _Unfit(f"{key.value[:40]!r} is given twice", mark)
            self.places[(*path, key.value)] = (mark.line + 1, mark.column + 1)
            found[key.value] = self.plain(value, (*path, key.value))
        return found
