"""A profile's YAML: the keys that mean something here, with their places; references resolve from the profile alone."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from hermesd.errors import Problem, SecretUnavailable
from hermesd.settings import MapNode, Node, Scalar, parse
from hermesd.settings.document import ListNode, key_path


@dataclass(frozen=True, slots=True)
class Document:
    """One config.yaml, read."""

    file: str
    root: MapNode
    problems: tuple[Problem, ...] = ()

    def only(self, keys: Collection[str]) -> MapNode:
        """The file reduced to these top-level keys."""
        entries = {key: entry for key, entry in self.root.entries.items() if key in keys}
        return replace(self.root, entries=entries)


def read(text: str, file: str) -> Document:
    """Read the text; an empty file is an empty mapping, anything else than a mapping a problem."""
    found = parse(text, file)
    root = found.root
    if root is None or (isinstance(root, Scalar) and root.plain and root.text in ("", "null", "~")):
        return Document(file, MapNode({}, 0, 0), found.problems)
    if isinstance(root, MapNode):
        return Document(file, root, found.problems)
    wrong = Problem(file, root.line, root.column, "", "expected a mapping (`key: value`)", "begin with `model:`")
    return Document(file, MapNode({}, 0, 0), (*found.problems, wrong))


def resolved(node: MapNode, file: str, resolve: Callable[[str], str]) -> tuple[MapNode, tuple[Problem, ...]]:
    """The tree with every text handed through `resolve`; a reference to nothing is a problem at its place."""
    problems: list[Problem] = []

    def walk(node: Node, key: str) -> Node:
        if isinstance(node, MapNode):
            return map_entries(node, key)
        if isinstance(node, ListNode):
            return replace(node, items=[walk(item, f"{key}[{n}]") for n, item in enumerate(node.items)])
        try:
            text = resolve(node.text)
        except SecretUnavailable as error:
            problems.append(Problem(file, node.line, node.column, key, error.message, error.hint))
            return node
        # what came from elsewhere is text, whatever it looks like
        return node if text == node.text else replace(node, text=text, plain=False)

    def map_entries(node: MapNode, key: str) -> MapNode:
        entries = {name: (at, walk(value, key_path(key, name))) for name, (at, value) in node.entries.items()}
        return replace(node, entries=entries)

    return map_entries(node, ""), tuple(problems)


def place(node: Node, path: tuple[str | int, ...]) -> tuple[int, int]:
    """Line and column of what `path` leads to, or of the nearest thing around it."""
    for part in path:
        if isinstance(node, MapNode) and isinstance(part, str) and part in node.entries:
            node = node.entries[part][1]
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            break
    return node.line, node.column
