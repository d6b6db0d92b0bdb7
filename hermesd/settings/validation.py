"""A pydantic model held against a node tree: every finding has the place it is written at, and none shows a value."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hermesd.errors import HermesdError, Problem
from hermesd.settings.document import ListNode, MapNode, Node, Scalar, key_path, shown
from hermesd.settings.value import Unclear, meaning, secret_looking, whole_or_fraction

ModelT = TypeVar("ModelT", bound=BaseModel)

_MESSAGES: Mapping[str, str] = {
    "extra_forbidden": "unknown key",
    "missing": "this key is missing",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected a mapping (`key: value`)",
    "mapping_type": "expected a mapping (`key: value`)",
    "model_type": "expected a mapping (`key: value`)",
    "model_attributes_type": "expected a mapping (`key: value`)",
    "path_type": "expected a path",
}


def plain(node: Node | None, *, file: str, key: str = "") -> tuple[Any, list[Problem]]:
    """Nested dicts, lists and values of a tree; unclear scalars are problems. Whole numbers come as text."""
    reading = _Plain(file, key)
    return (None if node is None else reading.value(node)), reading.problems


def validate(
    model: type[ModelT], node: Node | None, *, file: str, key: str = ""
) -> tuple[ModelT | None, list[Problem]]:
    """Read a tree as `model`; None goes with at least one problem. No node, or an empty one, is an empty mapping."""
    if node is None or (isinstance(node, Scalar) and node.empty):
        node = MapNode(*((node.line, node.column) if node is not None else (0, 0)))
    data, problems = plain(node, file=file, key=key)
    try:
        value = model.model_validate(data)
    except ValidationError as error:
        return None, problems + _explained(error.errors(include_input=False), model, node, file, key, problems)
    except HermesdError as error:
        return None, [*problems, Problem(file, node.line, node.column, key, error.message, error.hint)]
    known = {(problem.line, problem.column) for problem in problems}
    problems += [
        Problem(file, spot.line, spot.column, _joined_path(key, trail), message, hint)
        for spot, trail, message, hint in _coerced(node, value, ())
        if (spot.line, spot.column) not in known
    ]
    return (None if problems else value), problems


def unknown_key(file: str, key: Scalar, parent: str, expected: Collection[str]) -> Problem:
    """The problem of a key nobody knows, with the near one suggested."""
    hint = nearest(key.text, expected) or f"expected {', '.join(expected)}"
    return Problem(file, key.line, key.column, key_path(parent, key.text), "unknown key", hint)


def nearest(text: str, names: Iterable[str]) -> str:
    """`did you mean …?`, or nothing."""
    near = difflib.get_close_matches(text, list(names), n=1)
    return f"did you mean {near[0]!r}?" if near else ""


def unclear(file: str, scalar: Scalar, key: str, error: Unclear) -> Problem:
    """The problem of a scalar that could mean several things."""
    secret = secret_looking(key)
    said = str(error) if secret or not scalar.text else f"{error}: `{shown(scalar.text)}`"
    return Problem(file, scalar.line, scalar.column, key, said, "put it in quotes" if secret else error.hint)


@dataclass(slots=True)
class _Plain:
    """A tree on its way to plain data; the path is put in words only for a problem."""

    file: str
    key: str
    problems: list[Problem] = field(default_factory=list)
    trail: list[str | int] = field(default_factory=list)

    def value(self, node: Node) -> Any:
        if isinstance(node, Scalar):
            return self._scalar(node)
        if isinstance(node, ListNode):
            return [self._below(index, item) for index, item in enumerate(node)]
        return {self._name(name): self._below(name.text, value) for name, value in node.pairs()}

    def _below(self, part: str | int, node: Node) -> Any:
        self.trail.append(part)
        value = self.value(node)
        self.trail.pop()
        return value

    def _scalar(self, scalar: Scalar) -> Any:
        try:
            return meaning(scalar)
        except Unclear as error:
            self.problems.append(unclear(self.file, scalar, _joined_path(self.key, self.trail), error))
            return scalar.text

    def _name(self, name: Scalar) -> str:
        if name.plain:
            try:
                if not isinstance(meaning(name), str):
                    raise Unclear("a key must be text", f'write it in quotes: "{shown(name.text)}"')
            except Unclear as error:
                path = _joined_path(self.key, [*self.trail, name.text])
                self.problems.append(unclear(self.file, name, path, error))
        return name.text


def _joined_path(key: str, trail: Iterable[str | int]) -> str:
    for part in trail:
        key = f"{key}[{part}]" if isinstance(part, int) else key_path(key, part)
    return key


_Trail = tuple[str | int, ...]


def _coerced(node: Node, value: Any, trail: _Trail) -> Iterator[tuple[Scalar, _Trail, str, str]]:
    """What pydantic takes for a boolean or a number although it is not written as one."""
    if isinstance(node, Scalar):
        if isinstance(value, bool):
            if not (node.plain and node.text in ("true", "false")):
                yield node, trail, "expected true or false", "without quotes"
        elif isinstance(value, int | float) and not whole_or_fraction(node):
            yield node, trail, "expected a number in plain decimal digits", ""
    elif isinstance(node, ListNode):
        if isinstance(value, list | tuple) and len(value) == len(node):
            for index, (item, inner) in enumerate(zip(node, value, strict=True)):
                yield from _coerced(item, inner, (*trail, index))
    else:
        for name, item in node.pairs():
            inner = value.get(name.text) if isinstance(value, Mapping) else getattr(value, name.text, None)
            if not isinstance(inner, str | None):
                yield from _coerced(item, inner, (*trail, name.text))


def _explained(
    errors: Iterable[ErrorDetails], model: type[BaseModel], node: Node, file: str, key: str, known: Iterable[Problem]
) -> list[Problem]:
    places = {(problem.line, problem.column) for problem in known}
    found: dict[tuple[int, int, str], list[tuple[str, str, str]]] = {}
    for error in errors:
        line, column, path, scalar = _locate(node, error["loc"], key, at_key=error["type"] == "extra_forbidden")
        if (line, column) not in places:
            # each branch of a union reports for itself: together they are one finding
            text = (_message(error), _description(error, model), _hint(error, model, scalar, path))
            found.setdefault((line, column, path), []).append(text)
    return [
        Problem(file, line, column, path, _joined(texts), next((hint for _, _, hint in texts if hint), ""))
        for (line, column, path), texts in found.items()
    ]


def _message(error: ErrorDetails) -> str:
    kind, said = error["type"], error["msg"]
    if kind in _MESSAGES:
        return _MESSAGES[kind]
    if kind == "value_error":
        return said.removeprefix("Value error, ")
    return said.replace("Input should be ", "expected ").replace("String should", "the text should")


def _description(error: ErrorDetails, model: type[BaseModel]) -> str:
    info = _field(model, error["loc"]) if error["type"] not in ("value_error", "extra_forbidden") else None
    return (info.description or "") if info is not None else ""


def _joined(texts: list[tuple[str, str, str]]) -> str:
    first, *rest = dict.fromkeys(text for text, _, _ in texts)
    said = " or ".join([first, *(text.removeprefix("expected ") for text in rest)])
    description = next((description for _, description, _ in texts if description), "")
    return f"{said} ({description})" if description else said


def _hint(error: ErrorDetails, model: type[BaseModel], scalar: Scalar | None, path: str) -> str:
    kind = error["type"]
    if kind == "extra_forbidden":
        names = _names(model, error["loc"][:-1])
        return nearest(str(error["loc"][-1]), names) or (f"expected {', '.join(names)}" if names else "")
    if scalar is None or secret_looking(path):
        return ""
    if kind == "string_type" and scalar.plain:
        return f'put it in quotes: "{shown(scalar.text)}"' if scalar.text else "give it a value"
    if kind == "literal_error":
        return nearest(
            scalar.text, [name.strip("'") for name in str(error.get("ctx", {}).get("expected")).split(" or ")]
        )
    return ""


def _locate(node: Node, loc: tuple[int | str, ...], key: str, *, at_key: bool) -> tuple[int, int, str, Scalar | None]:
    """Place, key path and scalar of an error; parts of `loc` that are not in the tree (union branches) are skipped."""
    line, column = node.line, node.column
    for part in loc:
        if isinstance(node, MapNode) and (inner := node.get(str(part))) is not None:
            written = isinstance(inner, Scalar) and not (inner.plain and not inner.text)
            spot = inner if written and not at_key else node.key(str(part))
            line, column, node, key = spot.line, spot.column, inner, key_path(key, str(part))
        elif isinstance(node, ListNode) and isinstance(part, int) and part < len(node):
            node = node[part]
            line, column, key = node.line, node.column, f"{key}[{part}]"
        elif isinstance(node, MapNode) and isinstance(part, str) and part == loc[-1]:
            key = key_path(key, part)
    return line, column, key, node if isinstance(node, Scalar) else None


def _field(model: type[BaseModel], loc: tuple[int | str, ...]) -> FieldInfo | None:
    models, info = [model], None
    for part in loc:
        found = [m.model_fields[part] for m in models if isinstance(part, str) and part in m.model_fields]
        if found:
            info, models = found[0], [inner for f in found for inner in _models(f.annotation)]
    return info


def _names(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys allowed in the mapping at `loc`."""
    models = [model]
    for part in loc:
        found = [m.model_fields[part] for m in models if isinstance(part, str) and part in m.model_fields]
        if found:
            models = [inner for f in found for inner in _models(f.annotation)]
    return list(dict.fromkeys(name for m in models for name in m.model_fields))


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]
