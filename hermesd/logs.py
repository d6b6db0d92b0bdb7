"""The log of the daemon: structured lines without secrets, without control characters, and never a flood.

A `Logging` is built once by the composition root and handed down as bound loggers; nothing here is global.
What a line goes through: rate limit → plain values → redaction → one line of JSON, or of text for a terminal.
"""

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self, TextIO, cast
from urllib.parse import quote

import structlog

from hermesd.clock import Clock
from hermesd.plain import escape
from hermesd.ports.log import Log

Format = Literal["auto", "json", "console"]
Level = Literal["debug", "info", "warning", "error"]
HIDDEN = "[hidden]"
#: shorter secrets would hide half of the words of every line
SHORTEST_SECRET = 6
#: bytes after which a profile's log file gives way to a new one
FULL_FILE = 5_000_000
#: how many full ones are kept
OLD_FILES = 2
#: libraries that print whole requests, tokens in their addresses included, at INFO
CHATTY = ("httpx", "httpcore", "telegram", "openai", "anthropic", "uvicorn", "aiosqlite", "asyncio")

_SHAPES = re.compile(
    r"\d{6,12}:[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])"  # Telegram, also right behind the `bot` of its addresses
    r"|\bsk-[A-Za-z0-9_-]{16,}"  # model providers
    r"|xox[a-z]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}"  # Slack
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{8,}"  # any Authorization header
)
_NAMES = re.compile(r"(?i)^(.*[_-])?(token|secret|password|passwd|api[_-]?key|authorization|cookie)$")
_LEVELS: Mapping[str, int] = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


@dataclass(slots=True)
class Redaction:
    """Hides every known secret, and whatever is shaped like one."""

    #: the first SHORTEST_SECRET characters → secrets that begin so, the longest first. No regular expression: with the
    #: keys of a thousand profiles that one takes 200 µs for each value of a line, and 60 ms to build after each new key
    _known: dict[str, list[str]] = field(default_factory=dict)

    def add(self, secret: str) -> None:
        """Hide this value from now on, also percent-encoded and as JSON writes it."""
        if len(secret) < SHORTEST_SECRET:
            return
        for spelling in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
            alike = self._known.setdefault(spelling[:SHORTEST_SECRET], [])
            if spelling not in alike:
                alike.append(spelling)
                alike.sort(key=len, reverse=True)

    def text(self, text: str) -> str:
        """The text with every secret replaced."""
        beginnings = [text[at : at + SHORTEST_SECRET] for at in range(len(text) - SHORTEST_SECRET + 1)]
        if not self._known.keys().isdisjoint(beginnings):
            text = "".join(self._pieces(text))
        return _SHAPES.sub(HIDDEN, text)

    def _pieces(self, text: str) -> Iterator[str]:
        at = 0
        while at < len(text):
            alike = self._known.get(text[at : at + SHORTEST_SECRET], ())
            found = next((secret for secret in alike if text.startswith(secret, at)), None)
            yield HIDDEN if found is not None else text[at]
            at += len(found) if found is not None else 1

    def value(self, value: Any, name: str = "") -> Any:
        """The value as plain JSON data without secrets; a key named like a secret hides its value whole."""
        if value is None or isinstance(value, bool):
            return value
        if name and _NAMES.match(name):
            return HIDDEN
        if isinstance(value, int | float):
            return value
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item, str(key)) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in value]
        return self.text(str(value))


@dataclass(slots=True)
class Pacing:
    """Lets one line a second of each kind through and counts the rest."""

    #: monotonic seconds
    clock: Callable[[], float]
    #: kind → (when its last line went out, how many were held back since)
    _seen: dict[tuple[Any, ...], tuple[float, int]] = field(default_factory=dict)

    def admit(self, kind: tuple[Any, ...]) -> int | None:
        """How many lines of this kind were held back before this one; None = hold this one back too."""
        now = self.clock()
        at, held = self._seen.get(kind, (float("-inf"), 0))
        if now - at < 1.0:
            self._seen[kind] = (at, held + 1)
            return None
        if len(self._seen) > 4096:
            self._seen = {old: seen for old, seen in self._seen.items() if now - seen[0] < 60}
        self._seen[kind] = (now, 0)
        return held

    def held(self) -> dict[tuple[Any, ...], int]:
        """What was held back and never mentioned yet."""
        return {kind: count for kind, (_, count) in self._seen.items() if count}


@dataclass(slots=True)
class Logging:
    """Everything a log line needs, in one object of the daemon's."""

    clock: Clock
    stream: TextIO
    #: `auto`: text where a person watches, JSON lines everywhere else
    form: Format
    #: the least serious level that is written
    level: Level
    pacing: Pacing
    redaction: Redaction = field(default_factory=Redaction)
    #: what the command line said, which the configuration file does not change
    _said: tuple[Format | None, Level | None] = (None, None)

    @classmethod
    def on(cls, clock: Clock, stream: TextIO, *, form: Format | None = None, level: Level | None = None) -> Self:
        """A log on this stream; what is given here stays, whatever `tune` says."""
        return cls(clock, stream, form or "auto", level or "info", Pacing(clock.monotonic), _said=(form, level))

    def tune(self, form: Format, level: Level) -> None:
        """Take up what the configuration says, from the next line on."""
        said_form, said_level = self._said
        self.form, self.level = said_form or form, said_level or level

    def logger(self, *, file: Path | None = None, **bound: Any) -> Log:
        """A logger with these values on every line; `file` gets a copy of each line as JSON, mode 0600."""
        return cast(
            "Log",
            structlog.wrap_logger(
                _Sink(self, file),
                processors=[self._render],
                wrapper_class=structlog.make_filtering_bound_logger(10),
                context_class=dict,
                cache_logger_on_first_use=False,
                **bound,
            ).bind(),
        )

    @contextmanager
    def routed(self) -> Iterator[None]:
        """Take over what libraries write through `logging` and `warnings`, from WARNING up, until the block ends."""
        root, bridge = logging.getLogger(), _Bridge(self.logger())
        kept = (root.handlers[:], root.level, {name: logging.getLogger(name).level for name in CHATTY})
        root.handlers[:], root.level = [bridge], logging.WARNING
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.captureWarnings(True)
        try:
            yield
        finally:
            logging.captureWarnings(False)
            root.handlers[:], root.level = kept[0], kept[1]
            for name, level in kept[2].items():
                logging.getLogger(name).setLevel(level)
            self.flush()

    def flush(self) -> None:
        """Say how many lines were held back and never mentioned."""
        for kind, count in self.pacing.held().items():
            line = {"event": "lines held back", "action": "log.suppressed", "kind": kind[0], "suppressed": count}
            self.stream.write(self._line({**self._head("info"), **line}) + "\n")
        self.stream.flush()

    def _render(self, _sink: Any, method: str, event: MutableMapping[str, Any]) -> tuple[Any, ...]:
        if _LEVELS[method] < _LEVELS[self.level]:
            raise structlog.DropEvent
        # one noisy profile or bot hides nobody else's lines, and no state hides the next one
        kind = (event.get("action") or event.get("event"), method, *map(event.get, ("profile", "bot", "state")))
        held = self.pacing.admit(kind)
        if held is None:
            raise structlog.DropEvent
        if held:
            event["suppressed"] = held
        stack = _stack(event.pop("exc_info", None))
        if stack:
            event["exception"] = stack
        # the names on this level are ours
        plain = {name: self.redaction.value(value, name) for name, value in {**self._head(method), **event}.items()}
        return (self._line(plain), plain), {}

    def _head(self, level: str) -> dict[str, Any]:
        return {"at": datetime.fromtimestamp(self.clock.now(), UTC).isoformat(timespec="milliseconds"), "level": level}

    def _line(self, plain: Mapping[str, Any]) -> str:
        text = self.form == "console" or (self.form == "auto" and self.stream.isatty())
        return _console(plain) if text else _json(plain)


@dataclass(frozen=True, slots=True)
class _Sink:
    """Where a finished line goes: the stream, and a profile's own file."""

    logging: Logging
    file: Path | None

    def _write(self, line: str, plain: Mapping[str, Any]) -> None:
        # a line that cannot be written (a full disk, a closed pipe) must not end the turn that wrote it
        with suppress(OSError):
            self.logging.stream.write(line + "\n")
            self.logging.stream.flush()
        if self.file is not None:
            with suppress(OSError):
                _append(self.file, line if line.startswith("{") else _json(plain))

    debug = info = warning = error = critical = _write


def _append(file: Path, line: str) -> None:
    opened = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(opened, line.encode() + b"\n")
        full = os.fstat(opened).st_size >= FULL_FILE
    finally:
        os.close(opened)
    if full:
        _rotate(file)


def _rotate(file: Path) -> None:
    """Move `hermesd.log` to `hermesd.log.1` and so on; the oldest one goes."""
    generations = [file, *(file.with_name(f"{file.name}.{number}") for number in range(1, OLD_FILES + 1))]
    for newer, older in reversed(list(pairwise(generations))):
        if newer.exists():
            newer.replace(older)


class _Bridge(logging.Handler):
    """Carries the lines of libraries into the daemon's log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        say = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        say(record.getMessage(), action=f"library.{record.name}", exc_info=record.exc_info)


def _stack(exc_info: Any) -> str:
    """The traceback behind `exc_info`, which may be True, an exception or the triple of sys.exc_info()."""
    if exc_info is True:
        exc_info = sys.exc_info()
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    return "".join(traceback.format_exception(error)).rstrip() if isinstance(error, BaseException) else ""


def _json(plain: Mapping[str, Any]) -> str:
    return escape(json.dumps(plain, ensure_ascii=False, separators=(",", ":")))


def _console(plain: Mapping[str, Any]) -> str:
    rest = dict(plain)
    at, level, event = rest.pop("at")[11:19], rest.pop("level"), rest.pop("event", "")
    stack = rest.pop("exception", "")
    pairs = " ".join(
        f"{key}={escape(value if isinstance(value, str) else json.dumps(value))}" for key, value in rest.items()
    )
    head = f"{at} {level:<7} {escape(str(event))}  {pairs}".rstrip()
    return "\n".join([head, *("    " + escape(line) for line in stack.splitlines())])
