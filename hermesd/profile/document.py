"""A profile's YAML as a tree that knows the place of everything in it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hermesd.errors import Problem, SecretUnavailable
from hermesd.settings import ListNode, MapNode, Node, Scalar, parse
from hermesd.settings.document import key_path

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """One config.yaml, read."""

    file: str
    root: MapNode
    problems: tuple[Problem, ...] = ()

    def problem(self, path: Path, message: str, hint: str = "") -> Problem:
        """An error at the place `path` leads to, or at the nearest thing around it."""
        node: Node = self.root
        for part in path:
            found = _step(node, part)
            if found is None:
                break
            node = found
        return Problem(self.file, node.line, node.column, _dotted(path), message, hint)


def read(text: str, file: str) -> Document:
    """Read the text; an empty file is an empty mapping, anything else than a mapping a problem."""
    found = parse(text, file)
    root = found.root
    if isinstance(root, MapNode):
        return Document(file, root, found.problems)
    empty = Document(file, MapNode(0, 0), found.problems)
    if root is None or (isinstance(root, Scalar) and root.empty):
        return empty
    wrong = Problem(file, root.line, root.column, "", "expected a mapping (`key: value`)", "begin with `model:`")
    return Document(file, empty.root, (*found.problems, wrong))


def resolved(
    data: Any, document: Document, resolve: Callable[[str], str], path: Path = ()
) -> tuple[Any, tuple[Problem, ...]]:
    """Plain data with every text handed through `resolve`; a reference to nothing is a problem at its place."""
    if isinstance(data, str):
        try:
            return resolve(data), ()
        except SecretUnavailable as error:
            return data, (document.problem(path, error.message, error.hint),)
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else None
    if items is None:
        return data, ()
    found = {key: resolved(value, document, resolve, (*path, key)) for key, value in items}
    values = {key: value for key, (value, _) in found.items()}
    problems = tuple(problem for _, some in found.values() for problem in some)
    return (values if isinstance(data, dict) else list(values.values())), problems


def _step(node: Node, part: str | int) -> Node | None:
    if isinstance(node, MapNode) and isinstance(part, str):
        return node.get(part)
    return node[part] if isinstance(node, ListNode) and isinstance(part, int) and part < len(node) else None


def _dotted(path: Path) -> str:
    text = ""
    for part in path:
        text = key_path(text, part) if isinstance(part, str) else f"{text}[{part}]"
    return text
