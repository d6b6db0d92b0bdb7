"""From a folder to everything that is known about a profile, or to a list of what is wrong with it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hermesd.errors import ConfigError, HermesdError, Problem
from hermesd.profile import secrets as env
from hermesd.profile.document import Document, parse
from hermesd.profile.home import Home
from hermesd.profile.secrets import Secrets
from hermesd.profile.settings import ProfileSettings, stray

#: turns the `model:` block into the settings an engine is built from; raises ValueError or pydantic's ValidationError
ModelReader = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """One profile as its files describe it at one moment."""

    home: Home
    #: None when it cannot run; `problems` says why
    settings: ProfileSettings | None
    secrets: Secrets
    #: SOUL.md, capped
    soul: str
    problems: tuple[Problem, ...]
    #: keys of a Hermes configuration that have no meaning here
    notes: tuple[str, ...]
    #: changes whenever config.yaml, .env or SOUL.md do
    digest: bytes

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that keep it from running."""
        return tuple(problem for problem in self.problems if problem.level == "error")


def load(home: Home, read_model: ModelReader) -> Blueprint:
    """Read one profile's files. Never raises for what they contain."""
    try:
        faults = home.faults()
        values = env.read(home)
        text = home.read("config.yaml") or ""
        soul = home.soul()
    except ConfigError as error:
        return _broken(home, error.problems)
    except OSError as error:
        return _broken(home, (Problem(str(home.path), 0, 0, "", f"cannot be read: {error.strerror}"),))
    digest = hashlib.sha256(repr((text, soul, sorted(values.items()), faults)).encode("utf-8", "replace")).digest()
    try:
        document = parse(text, home, "config.yaml")
    except ConfigError as error:
        return Blueprint(home, None, values, soul, (*faults, *error.problems), (), digest)
    typos, notes = stray(list(document.data))
    warnings = tuple(_typo(home, document, *typo) for typo in typos)
    settings, errors = _validate(home, document, values, read_model)
    usable = settings if not faults and not errors else None
    return Blueprint(home, usable, values, soul, (*faults, *errors, *warnings), notes, digest)


def _broken(home: Home, problems: tuple[Problem, ...]) -> Blueprint:
    digest = hashlib.sha256(repr(problems).encode("utf-8", "replace")).digest()
    return Blueprint(home, None, Secrets(), "", problems, (), digest)


def _typo(home: Home, document: Document, key: str, meant: str) -> Problem:
    place = document.place((key,))
    return Problem(
        str(home.config), *place, key, f"{key!r} is not a key of a profile", f"did you mean {meant!r}?", "warning"
    )


def _validate(
    home: Home, document: Document, values: Secrets, read_model: ModelReader
) -> tuple[ProfileSettings | None, tuple[Problem, ...]]:
    data = dict(document.data)
    block = data.pop("model", None)
    problems: list[Problem] = []
    settings = model = None
    try:
        # the model reader resolves its own references: a key never becomes part of the settings
        model = None if block is None else read_model(block)
    except ValueError as error:
        problems += _problems(home, document, ("model",), error)
    try:
        resolved = env.resolve({key: data[key] for key in data if key in ProfileSettings.model_fields}, values)
        settings = ProfileSettings(**resolved, model=model)
    except (ValueError, HermesdError) as error:
        problems += _problems(home, document, (), error)
    return (None if problems else settings), tuple(problems)


def _problems(
    home: Home, document: Document, prefix: tuple[str | int, ...], error: ValueError | HermesdError
) -> list[Problem]:
    file = str(home.config)
    if isinstance(error, ValidationError):
        found = []
        for one in error.errors(include_input=False, include_url=False):
            path = (*prefix, *one["loc"])
            found.append(Problem(file, *document.place(path), ".".join(map(str, path)), one["msg"]))
        return found
    message, hint = (error.message, error.hint) if isinstance(error, HermesdError) else (str(error), "")
    return [Problem(file, *document.place(prefix), ".".join(map(str, prefix)), message, hint)]
