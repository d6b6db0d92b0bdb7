"""From a folder to everything that is known about a profile, or to a list of what is wrong with it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hermesd.errors import ConfigError, Problem
from hermesd.profile import secrets as env
from hermesd.profile.document import Document, place, read, resolved
from hermesd.profile.home import Home
from hermesd.profile.secrets import Secrets
from hermesd.profile.settings import ProfileSettings, stray
from hermesd.settings import Node, plain, validate
from hermesd.settings.document import shown

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
    document = read(text, str(home.config))
    typos, notes = stray(document.root.entries)
    warnings = tuple(_typo(document, *typo) for typo in typos)
    settings, errors = _settings(document, values, read_model)
    found = (*faults, *document.problems, *errors)
    return Blueprint(home, None if found else settings, values, soul, (*found, *warnings), notes, digest)


def _broken(home: Home, problems: tuple[Problem, ...]) -> Blueprint:
    digest = hashlib.sha256(repr(problems).encode("utf-8", "replace")).digest()
    return Blueprint(home, None, Secrets(), "", problems, (), digest)


def _typo(document: Document, key: str, meant: str) -> Problem:
    name = document.root.entries[key][0]
    message = f"{shown(key)!r} is not a key of a profile"
    return Problem(document.file, name.line, name.column, shown(key), message, f"did you mean {meant!r}?", "warning")


def _settings(
    document: Document, values: Secrets, read_model: ModelReader
) -> tuple[ProfileSettings | None, tuple[Problem, ...]]:
    model, problems = _model(document, read_model)
    keys = [key for key in ProfileSettings.model_fields if key != "model"]
    node, missing = resolved(document.only(keys), document.file, lambda text: env.resolve(text, values))
    settings, wrong = validate(ProfileSettings, node, file=document.file)
    problems = (*problems, *missing, *wrong)
    if settings is None or problems:
        return None, problems
    return settings.model_copy(update={"model": model}), ()


def _model(document: Document, read_model: ModelReader) -> tuple[Any, tuple[Problem, ...]]:
    # the model reader resolves its own references: a key never becomes part of the settings
    node = document.root.get("model")
    block, problems = plain(node, file=document.file, key="model")
    if node is None or block is None or problems:
        return None, tuple(problems)
    try:
        return read_model(block), ()
    except ValidationError as error:
        return None, tuple(_wrong(document.file, node, one["loc"], one["msg"]) for one in error.errors())
    except ValueError as error:
        return None, (_wrong(document.file, node, (), str(error)),)


def _wrong(file: str, node: Node, path: tuple[str | int, ...], message: str) -> Problem:
    key = ".".join(map(str, ("model", *path)))
    return Problem(file, *place(node, path), key, message.removeprefix("Value error, "))
