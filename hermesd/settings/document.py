"""YAML read strictly: every scalar keeps its source text and its place, and nothing is guessed.

Read event by event from PyYAML's C parser, so a large file parsed in a thread lets other threads run in between.
Refused with their place: syntax errors, duplicate keys, anchors, aliases, merge keys, tags, directives, several
documents, nesting deeper than DEPTH, files above SIZE and trees above NODES.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import yaml
from yaml.error import MarkedYAMLError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from yaml.reader import ReaderError

from hermesd.errors import Problem

#: containers within containers
DEPTH = 40
#: bytes
SIZE = 16 * 1024 * 1024
#: scalars, mappings and sequences
NODES = 1_000_000
#: a file worse than this is not read to its end
PROBLEMS = 100

_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
_SHORTEST_TOKEN = 28
_LONG_TOKEN = re.compile(rf"[A-Za-z0-9_:/+=-]{{{_SHORTEST_TOKEN},}}")
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


class Scalar(NamedTuple):
    """One value or key as it is written. Made when asked for: see MapNode."""

    text: str
    #: not quoted and not a block: may mean a number, a boolean or null
    plain: bool
    #: 1-based
    line: int
    #: 1-based
    column: int

    @property
    def empty(self) -> bool:
        """Whether nothing, or `null`, is written."""
        return self.plain and self.text in ("", "null", "~")


class MapNode:
    """A mapping; keys are text, so `6` and `"6"` are one key.

    Scalars lie in it as exact tuples of atoms, which the garbage collector does not visit: a full collection over a
    large file's hundred thousand scalars would stop every thread for longer than a reload may.
    """

    __slots__ = ("_entries", "column", "line")

    def __init__(self, line: int, column: int, entries: "dict[str, _Entry] | None" = None) -> None:
        self.line = line
        self.column = column
        self._entries: dict[str, _Entry] = {} if entries is None else entries

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def get(self, key: str) -> "Node | None":
        """The value under a key."""
        entry = self._entries.get(key)
        return _node(entry[1]) if entry is not None else None

    def key(self, key: str) -> Scalar:
        """A key as it is written. Raises KeyError."""
        return _scalar(key, self._entries[key][0])

    def pairs(self) -> Iterator[tuple[Scalar, "Node"]]:
        """Keys and values as they are written, in order."""
        for key, (place, value) in self._entries.items():
            yield _scalar(key, place), _node(value)

    def only(self, keys: Collection[str]) -> "MapNode":
        """The same mapping with these keys alone."""
        kept = {key: entry for key, entry in self._entries.items() if key in keys}
        return MapNode(self.line, self.column, kept)


class ListNode:
    """A sequence."""

    __slots__ = ("_items", "column", "line")

    def __init__(self, line: int, column: int, items: "list[_Raw] | None" = None) -> None:
        self.line = line
        self.column = column
        self._items: list[_Raw] = [] if items is None else items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> "Iterator[Node]":
        return map(_node, self._items)

    def __getitem__(self, index: int) -> "Node":
        return _node(self._items[index])


Node = Scalar | MapNode | ListNode
#: line << 32 | column << 1 | plain
_Place = int
_RawScalar = tuple[str, _Place]
_Raw = _RawScalar | MapNode | ListNode
_Entry = tuple[_Place, _Raw]


def _place(line: int, column: int, *, plain: bool) -> _Place:
    return line << 32 | column << 1 | plain


def _scalar(text: str, place: _Place) -> Scalar:
    return Scalar(text, bool(place & 1), place >> 32, (place & 0xFFFFFFFF) >> 1)


def _node(raw: _Raw) -> Node:
    return _scalar(*raw) if isinstance(raw, tuple) else raw


@dataclass(frozen=True, slots=True)
class Document:
    """What one file says, and what is wrong with it."""

    #: as the operator wrote it
    file: str
    #: None when the file is empty or nothing of it can be used
    root: Node | None
    problems: tuple[Problem, ...]
    #: the text `root` was read from
    text: str = field(default="", repr=False)


def read(path: Path, *, file: str | None = None, text: bytes | None = None) -> Document:
    """Read one file; whatever is wrong with it is a problem, never an exception."""
    name = str(path) if file is None else file
    try:
        if text is None:
            with path.open("rb") as stream:
                text = stream.read(SIZE + 1)
        return parse(text.decode("utf-8-sig"), name)
    except FileNotFoundError:
        return _failed(name, 0, 0, "the file does not exist", "check the path, or write a first one: hermesd init")
    except OSError as error:
        return _failed(name, 0, 0, f"the file cannot be read: {error.strerror or 'input/output error'}")
    except UnicodeDecodeError as error:
        before = (text or b"")[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        return _failed(name, line, column, "not UTF-8 text", "save the file as UTF-8")


def parse(text: str, file: str) -> Document:
    """Read YAML text; whatever is wrong with it is a problem, never an exception."""
    if len(text) > SIZE or len(text.encode("utf-8", "surrogatepass")) > SIZE:
        return _failed(file, 0, 0, f"larger than {SIZE // 1024 // 1024} MB")
    if match := _DIRECTIVE.search(text):
        line = text.count("\n", 0, match.start()) + 1
        return _failed(file, line, 1, "a line starts with `%`: YAML directives are not used here", "remove the line")
    builder = _Builder(file)
    try:
        for event in events(text):
            builder.feed(event)
    except _Enough:
        return Document(file, None, tuple(sorted(builder.problems)))
    except MarkedYAMLError as error:
        builder.problems.append(_syntax(file, error))
        return Document(file, None, tuple(sorted(builder.problems)))
    except (ReaderError, UnicodeEncodeError) as error:
        offset = error.position if isinstance(error, ReaderError) else error.start
        line, column = place_of(text, offset)
        what = "a character that YAML does not allow (a control character, or half a character)"
        return _failed(file, line, column, what, "remove the character, or write it escaped in double quotes")
    return Document(file, builder.root, tuple(sorted(builder.problems)), text)


def events(text: str) -> Iterator[Event]:
    """The raw event stream. Raises yaml.YAMLError."""
    return yaml.parse(text, Loader=yaml.CSafeLoader)


def place_of(text: str, offset: int) -> tuple[int, int]:
    """1-based line and column of a character offset."""
    breaks = [match.end() for match in _LINE_BREAK.finditer(text, 0, offset)]
    return len(breaks) + 1, offset - (breaks[-1] if breaks else 0) + 1


def key_path(parent: str, key: str) -> str:
    """Append a key to a dotted path; keys with dots or blanks are quoted."""
    key = shown(key)
    part = key if re.fullmatch(r"[\w/-]+", key) else f'"{key}"'
    return f"{parent}.{part}" if parent else part


def shown(text: str) -> str:
    """Operator text for an error message: one short line, and nothing in it that looks like a token."""
    if len(text) < _SHORTEST_TOKEN and text.isprintable():
        return text
    cut = text if len(text) <= 60 else text[:57] + "…"
    return "".join(c if c.isprintable() else "·" for c in _LONG_TOKEN.sub(_hidden, cut))


def _hidden(match: re.Match[str]) -> str:
    text = match[0]
    return "…" if any(c.isdigit() for c in text) and any(c.isalpha() for c in text) else text


class _Enough(Exception):
    """What has been found rules the whole file out."""


@dataclass(slots=True)
class _Frame:
    """A container being filled."""

    line: int
    column: int
    #: None: a sequence
    entries: dict[str, _Entry] | None
    items: list[_Raw]
    #: the key whose value comes next
    key: _RawScalar | None = None
    #: the pending key was seen before: its value is read and dropped
    repeated: bool = False


class _Builder:
    """Builds the tree from events, without recursion."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._documents = 0
        self._nodes = 0

    def feed(self, event: Event) -> None:
        if isinstance(event, ScalarEvent):
            self._scalar(event)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            self._open(event, mapping=isinstance(event, MappingStartEvent))
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            self._close()
        elif isinstance(event, AliasEvent):
            self._problem(event, "an alias (`*name`): every value is written out here", "repeat the value")
            self._put(("", _place(*_start(event), plain=True)))
        elif isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._problem(event, "a second document: one file holds one configuration", "remove the `---` line")
                raise _Enough

    def _scalar(self, event: ScalarEvent) -> None:
        if event.anchor is not None or event.tag is not None:
            self._decorated(event)
        self._put((event.value, _place(*_start(event), plain=not event.style)))

    def _open(self, event: MappingStartEvent | SequenceStartEvent, *, mapping: bool) -> None:
        if event.anchor is not None or event.tag is not None:
            self._decorated(event)
        if len(self._stack) >= DEPTH:
            self._problem(event, f"nested more than {DEPTH} levels deep")
            raise _Enough
        frame = self._stack[-1] if self._stack else None
        if frame is not None and frame.entries is not None and frame.key is None:
            self._problem(event, "a key must be one plain text", "quote it")
            raise _Enough
        line, column = _start(event)
        self._stack.append(_Frame(line, column, {} if mapping else None, []))

    def _close(self) -> None:
        frame = self._stack.pop()
        if frame.entries is None:
            self._put(ListNode(frame.line, frame.column, frame.items))
        else:
            self._put(MapNode(frame.line, frame.column, frame.entries))

    def _put(self, raw: _Raw) -> None:
        self._nodes += 1
        if self._nodes > NODES:
            node = _node(raw)
            self._add(node.line, node.column, f"more than {NODES:,} values")
            raise _Enough
        if not self._stack:
            self.root = _node(raw)
            return
        frame = self._stack[-1]
        if frame.entries is None:
            frame.items.append(raw)
        elif frame.key is not None:
            if not frame.repeated:
                frame.entries[frame.key[0]] = (frame.key[1], raw)
            frame.key, frame.repeated = None, False
        elif isinstance(raw, tuple):  # `_open` refuses containers as keys
            self._key(frame, frame.entries, raw)

    def _key(self, frame: _Frame, entries: dict[str, _Entry], raw: _RawScalar) -> None:
        name = _scalar(*raw)
        if name.plain and name.text == "<<":
            self._add(name.line, name.column, "a merge key (`<<`): every value is written out here", "copy the values")
        entry = entries.get(name.text)
        if entry is not None:
            first = _scalar(name.text, entry[0])
            place = f"line {first.line}, column {first.column}"
            self._add(name.line, name.column, f"this key stands at {place} already", "keep one of the two", name.text)
        frame.key, frame.repeated = raw, entry is not None

    def _decorated(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> None:
        if event.anchor is not None:
            self._problem(event, "an anchor (`&name`): every value is written out here", "remove it")
        if event.tag is not None:
            self._problem(
                event, "a tag (`!name`): values have no tags here", "remove it; quote the value if it is text"
            )

    def _problem(self, event: Event, message: str, hint: str = "") -> None:
        self._add(*_start(event), message, hint)

    def _add(self, line: int, column: int, message: str, hint: str = "", key: str | None = None) -> None:
        path = self._path()
        self.problems.append(
            Problem(self.file, line, column, path if key is None else key_path(path, key), message, hint)
        )
        if len(self.problems) >= PROBLEMS:
            raise _Enough

    def _path(self) -> str:
        path = ""
        for frame in self._stack:
            if frame.entries is None:
                path += f"[{len(frame.items)}]"
            elif frame.key is not None:
                path = key_path(path, frame.key[0])
        return path


def _start(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)


def _failed(file: str, line: int, column: int, message: str, hint: str = "") -> Document:
    return Document(file, None, (Problem(file, line, column, "", message, hint),))


_HINTS = (
    ("mapping values are not allowed", "the indentation is off, or a text with `: ` in it needs quotes"),
    ("cannot start any token", "indent with spaces, never tabs; quote texts that start with @ ` or %"),
    ("did not find expected key", "check the indentation and the quotes of the lines above"),
    ("could not find expected ':'", "a key lacks its `:`, or the indentation is off"),
    ("unexpected end of stream", "a quote or a bracket is not closed"),
    ("did not find expected node content", "a bracket is not closed, or a value is missing"),
    ("did not find expected ','", "a bracket is not closed, or a comma is missing"),
    ("did not find expected '-'", "check the indentation of the lines above"),
)


def _syntax(file: str, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    # libyaml's texts are fixed sentences: no part of the file is in them
    said = ", ".join(part for part in (error.context, error.problem) if part)
    if error.context_mark is not None and error.context:
        said += f" (it began at line {error.context_mark.line + 1}, column {error.context_mark.column + 1})"
    hint = next((hint for sign, hint in _HINTS if sign in said), "")
    return Problem(file, line, column, "", f"not valid YAML: {said}", hint)
