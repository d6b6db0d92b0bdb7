"""From a file to `Settings`, or to the list of everything that is wrong with it."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from hermesd.errors import ConfigError, Problem
from hermesd.ports import AdapterPlugin, BotSettings
from hermesd.route import AmbiguousRoutes, RouteTable
from hermesd.settings import crosscheck
from hermesd.settings.document import SIZE, Document, ListNode, MapNode, Node, Scalar, key_path, parse, read, shown
from hermesd.settings.model import SECTIONS, FileSettings, Settings
from hermesd.settings.name import is_profile_name
from hermesd.settings.routes import FoundRoute, RouteForms
from hermesd.settings.validation import nearest, unknown_key, validate

#: keys with forms of their own
_FORMS = ("bots", "routes", "gateway")


class Surroundings(Protocol):
    """What a configuration is read in; `Environment` is one."""

    @property
    def state(self) -> Path:
        """The state directory; `profiles_dir` is below it."""
        ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """What reading a file came to."""

    #: None when any problem is an error
    settings: Settings | None
    #: all of them, sorted by place; warnings too
    problems: tuple[Problem, ...]
    #: SHA-256 of the file; empty when it could not be read
    digest: str

    @property
    def errors(self) -> tuple[Problem, ...]:
        """Problems that keep the file from being used."""
        return tuple(problem for problem in self.problems if problem.level == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Problems it can be used in spite of."""
        return tuple(problem for problem in self.problems if problem.level == "warning")

    def required(self) -> Settings:
        """The settings. Raises ConfigError with every problem."""
        if self.settings is None:
            raise ConfigError(self.problems)
        return self.settings


def load(
    path: Path, *, env: Surroundings, plugins: Mapping[str, AdapterPlugin], profiles: Collection[str] | None = None
) -> Loaded:
    """Read and check one file; whatever is wrong is a problem, never an exception. Safe in a worker thread.

    `plugins` by platform; `profiles` are the names that exist, by default the folders of `profiles_dir`.
    """
    try:
        with path.open("rb") as stream:
            raw: bytes | None = stream.read(SIZE + 1)
    except OSError:
        raw = None  # `read` names the reason
    document = read(path, text=raw)
    return _loaded(document, hashlib.sha256(raw).hexdigest() if raw is not None else "", env, plugins, profiles)


def load_text(
    text: str,
    *,
    file: str,
    env: Surroundings,
    plugins: Mapping[str, AdapterPlugin],
    profiles: Collection[str] | None = None,
) -> Loaded:
    """As `load`, for text that is not in a file yet."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return _loaded(parse(text, file), digest, env, plugins, profiles)


def _loaded(
    document: Document,
    digest: str,
    env: Surroundings,
    plugins: Mapping[str, AdapterPlugin],
    profiles: Collection[str] | None,
) -> Loaded:
    problems = list(document.problems)
    root = document.root
    if root is None or (isinstance(root, Scalar) and not root.text):
        if not problems:
            problems.append(Problem(document.file, 1, 1, "", "the file says nothing", "start from config/hermesd.yaml"))
    elif not isinstance(root, MapNode):
        problems.append(Problem(document.file, root.line, root.column, "", "expected a mapping (`key: value`)"))
    else:
        reading = _Reading(document.file, root, env, plugins, problems)
        settings = reading.settings(digest, profiles)
        unique = tuple(sorted(dict.fromkeys(problems)))
        refused = any(problem.level == "error" for problem in unique)
        return Loaded(None if refused else settings, unique, digest)
    return Loaded(None, tuple(sorted(problems)), digest)


@dataclass(slots=True)
class _Reading:
    """One file on its way."""

    file: str
    root: MapNode
    env: Surroundings
    plugins: Mapping[str, AdapterPlugin]
    problems: list[Problem]
    bots: list[tuple[BotSettings, MapNode, str]] = field(default_factory=list)

    def settings(self, digest: str, profiles: Collection[str] | None) -> Settings | None:
        """Read every part, so that every problem is found."""
        self._top_level_keys()
        values = self._values()
        self._bots()
        forms = RouteForms(self.file, self.problems)
        found = list(forms.routes(self.root, self._platforms()))
        values = values.model_copy(update={"profiles_dir": self.env.state / values.profiles_dir})
        if profiles is None:
            profiles = self._existing(values.profiles_dir)
        check = crosscheck.CrossCheck(self.file, self.root, self.problems, set(self.plugins), self.bots)
        used = check.everything(found, values, profiles)
        table = self._table(used, values.default_profile)
        if table is None:
            return None
        fields = {name: getattr(values, name) for name in FileSettings.model_fields}
        return Settings(**fields, bots=tuple(bot for bot, _, _ in self.bots), routes=table, digest=digest)

    def _platforms(self) -> list[str]:
        return sorted({*self.plugins, *crosscheck.PLATFORMS})

    def _top_level_keys(self) -> None:
        known = [*_FORMS, *FileSettings.model_fields]
        for name, _ in self.root.pairs():
            if name.text not in known and name.text not in self._platforms():
                self.problems.append(unknown_key(self.file, name, "", known))

    def _values(self) -> FileSettings:
        """Key by key, so that a wrong one hides nothing; it then has its default, and its problem refuses the file."""
        values: dict[str, Any] = {}
        for key in FileSettings.model_fields:
            node = self.root.get(key)
            if node is not None and not (key in SECTIONS and _nothing(node)):
                value, problems = validate(FileSettings, self.root.only([key]), file=self.file)
                self.problems += problems
                if value is not None:
                    values[key] = getattr(value, key)
        return FileSettings.model_construct(**values)

    def _bots(self) -> None:
        node = self.root.get("bots")
        if node is None or _nothing(node) or (isinstance(node, ListNode) and not len(node)):
            line, column = (node.line, node.column) if node is not None else (self.root.line, self.root.column)
            hint = "add one, for example: bots: [{platform: web, bot_id: local}]"
            self.problems.append(Problem(self.file, line, column, "bots", "no bot is configured", hint))
        elif not isinstance(node, ListNode):
            hint = "write `- platform: …` below it, one for each bot"
            self.problems.append(Problem(self.file, node.line, node.column, "bots", "expected a list of bots", hint))
        else:
            for index, item in enumerate(node):
                self._bot(item, f"bots[{index}]")

    def _bot(self, node: Node, key: str) -> None:
        platform = node.get("platform") if isinstance(node, MapNode) else None
        if not isinstance(node, MapNode) or not isinstance(platform, Scalar) or not platform.text:
            place = platform if platform is not None else node
            message = "expected a bot with a `platform`"
            hint = f"one of {', '.join(sorted(self.plugins))}"
            self.problems.append(Problem(self.file, place.line, place.column, key, message, hint))
            return
        plugin = self.plugins.get(platform.text)
        if plugin is None:
            installed = ", ".join(sorted(self.plugins)) or "none"
            hint = nearest(platform.text, self.plugins) or f"installed: {installed}"
            message = f"no adapter is installed for platform {shown(platform.text)!r}"
            path = key_path(key, "platform")
            self.problems.append(Problem(self.file, platform.line, platform.column, path, message, hint))
            return
        settings, problems = validate(plugin.settings_model, node, file=self.file, key=key)
        self.problems += problems
        if settings is not None:
            self.bots.append((settings, node, key))

    def _existing(self, folder: Path) -> set[str] | None:
        try:
            return {item.name for item in folder.iterdir() if is_profile_name(item.name) and item.is_dir()}
        except OSError as error:
            scalar = self.root.get("profiles_dir")
            line, column = (scalar.line, scalar.column) if scalar is not None else (0, 0)
            message = f"the folder of profiles cannot be read: {folder} ({error.strerror})"
            hint = "create it, or copy the samples: cp -r profiles STATE/"
            self.problems.append(Problem(self.file, line, column, "profiles_dir", message, hint))
            return None

    def _table(self, found: list[FoundRoute], default_profile: str | None) -> RouteTable | None:
        try:
            return RouteTable.build((item.route for item in found), default_profile)
        except AmbiguousRoutes as error:
            at = {item.route.where: item for item in found}
            for first, second in error.pairs:
                message = (
                    f"leads to {second.profile!r}, but {first.where} sends the same messages to {first.profile!r}"
                    if first.profile != second.profile
                    else f"{first.where} matches the same messages with another role"
                )
                hint = "keep one of the two, or make one more specific"
                self.problems.append(at[second.where].problem(self.file, message, hint))
            return None


def _nothing(node: Node) -> bool:
    return isinstance(node, Scalar) and node.empty
