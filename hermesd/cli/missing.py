"""Secrets that are referred to and not there: each a warning at its place, for the daemon starts without it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from hermesd.agent.settings import ModelSettings
from hermesd.errors import Problem, SecretUnavailable
from hermesd.ports import SecretRef
from hermesd.profile.document import Document, read
from hermesd.profile.load import Blueprint
from hermesd.settings import Settings


def of_bots(settings: Settings, config: Path, secret: Callable[[SecretRef], str]) -> Iterator[Problem]:
    """The tokens that the bots of this configuration would not get."""
    document = _document(config)
    for index, bot in enumerate(settings.bots):
        for name in type(bot).model_fields:
            ref = getattr(bot, name)
            if not bot.enabled or not isinstance(ref, SecretRef):
                continue
            try:
                secret(ref)
            except SecretUnavailable as error:
                yield _warning(document, ("bots", index, name), error)


def of_profile(blueprint: Blueprint) -> Iterator[Problem]:
    """The keys that the models of this profile would not get; a fallback's counts as well."""
    model = blueprint.settings.model if blueprint.settings is not None else None
    if not isinstance(model, ModelSettings):
        return
    document = _document(blueprint.home.config)
    for path, candidate in (
        (("model",), model),
        *((("model", "fallback", index), other) for index, other in enumerate(model.fallback)),
    ):
        try:
            candidate.key(blueprint.secrets)
            candidate.address(blueprint.secrets)
        except SecretUnavailable as error:
            yield _warning(document, path, error)


def _warning(document: Document, path: tuple[str | int, ...], error: SecretUnavailable) -> Problem:
    return replace(document.problem(path, error.message, error.hint), level="warning")


def _document(file: Path) -> Document:
    try:
        return read(file.read_text(encoding="utf-8-sig"), str(file))
    except (OSError, UnicodeDecodeError):
        return read("", str(file))  # it was there a moment ago; the finding is worth more than its line
