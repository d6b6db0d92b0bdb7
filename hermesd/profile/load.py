"""From a folder to everything that is known about a profile, or to a list of what is wrong with it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from hermesd.errors import ConfigError, Problem
from hermesd.profile import secrets as env
from hermesd.profile.document import Document, read, resolved
from hermesd.profile.home import Home
from hermesd.profile.secrets import Secrets
from hermesd.profile.settings import ProfileSettings, stray
from hermesd.settings import plain
from hermesd.settings.document import shown

#: turns the `model:` block into the settings an engine is built from; raises ValueError or pydantic's ValidationError
ModelReader = Callable[[Any], Any]


_OURS = "Value error, "
_MESSAGES = {
    "extra_forbidden": "unknown key",
    "tuple_type": "expected a list",
    "dict_type": "expected a mapping (`key: value`)",
    "model_type": "expected a mapping (`key: value`)",
    "model_attributes_type": "expected a mapping (`key: value`)",
    "bool_parsing": "expected true or false",
    "bool_type": "expected true or false",
    "int_parsing": "expected a whole number",
}


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
    typos, notes = stray(document.root)
    warnings = tuple(_typo(document, *typo) for typo in typos)
    settings, errors = _settings(document, values, read_model)
    found = (*faults, *document.problems, *errors)
    return Blueprint(home, None if found else settings, values, soul, (*found, *warnings), notes, digest)


def _broken(home: Home, problems: tuple[Problem, ...]) -> Blueprint:
    digest = hashlib.sha256(repr(problems).encode("utf-8", "replace")).digest()
    return Blueprint(home, None, Secrets(), "", problems, (), digest)


def _typo(document: Document, key: str, meant: str) -> Problem:
    name = document.root.key(key)
    message = f"{shown(key)!r} is not a key of a profile"
    return Problem(document.file, name.line, name.column, shown(key), message, f"did you mean {meant!r}?", "warning")


def _settings(
    document: Document, values: Secrets, read_model: ModelReader
) -> tuple[ProfileSettings | None, tuple[Problem, ...]]:
    known = document.root.only(ProfileSettings.model_fields)
    data, problems = plain(known, file=document.file)
    # the model reader resolves its own references: a key never becomes part of the settings
    block = data.pop("model", None)
    data, missing = resolved(data, document, lambda text: env.resolve(text, values))
    model, wrong = (None, ()) if block is None else _read(document, ("model",), read_model, block)
    settings, more = _read(document, (), ProfileSettings.model_validate, data)
    found = (*problems, *missing, *wrong, *more)
    return (None if found else settings.model_copy(update={"model": model})), found


def _read(
    document: Document, path: tuple[str | int, ...], reader: Callable[[Any], Any], data: Any
) -> tuple[Any, tuple[Problem, ...]]:
    try:
        return reader(data), ()
    except ValidationError as error:
        return None, tuple(
            document.problem((*path, *one["loc"]), _MESSAGES.get(one["type"]) or one["msg"].removeprefix(_OURS))
            for one in error.errors(include_url=False, include_input=False)
        )
    except ValueError as error:
        return None, (document.problem(path, str(error)),)
