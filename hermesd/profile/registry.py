"""The one door through which a profile is found by its name."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hermesd.clock import Clock
from hermesd.errors import Problem, ProfileUnavailable
from hermesd.memory import MemoryStore
from hermesd.ports import Log
from hermesd.profile.context import EngineBuilder, Lazy, ProfileContext
from hermesd.profile.home import Home, survey
from hermesd.profile.load import Blueprint, ModelReader, load
from hermesd.profile.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Survey:
    """What a look at the disk found; nothing has changed yet."""

    blueprints: Mapping[str, Blueprint]
    #: of the folder itself and of every profile, errors and warnings
    problems: tuple[Problem, ...]

    @property
    def digest(self) -> str:
        """Changes whenever anything a profile is made of does."""
        parts = (f"{name}:{one.digest.hex()}" for name, one in sorted(self.blueprints.items()))
        return hashlib.sha256("|".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ProfileDiff:
    """What adopting a survey changed."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    #: cannot run: no usable configuration now or before
    broken: tuple[str, ...] = ()
    #: their files are broken now; they go on with what they had
    kept: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


class ProfileRegistry:
    """All profiles below one folder; use it inside `async with registry.running()`."""

    def __init__(
        self,
        profiles_dir: Path,
        *,
        engines: EngineBuilder,
        read_model: ModelReader,
        log: Log,
        clock: Clock,
        log_for: Callable[[str, Path], Log] | None = None,
        open_databases: int = 64,
        crash: Callable[[str], None] = lambda point: None,
    ) -> None:
        """`log_for(name, file)` makes a profile's own log; without it, lines go to `log`."""
        self._dir = profiles_dir
        self._engines = engines
        self._read_model = read_model
        self._log = log
        self._log_for = log_for
        self._shelf = Shelf(log=log, clock=clock, limit=open_databases, crash=crash)
        self._contexts: dict[str, ProfileContext] = {}
        self._digests: dict[str, bytes] = {}
        self._broken: dict[str, tuple[Problem, ...]] = {}
        self._generation = 0
        #: of the survey that was adopted last
        self.digest = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["ProfileRegistry"]:
        """Load every profile; on leaving, close every database."""
        async with self._shelf.running():
            await self.reload()
            yield self

    async def survey(self) -> Survey:
        """Read every home, off the loop. Changes nothing but missing folders of usable homes."""
        return await asyncio.to_thread(partial(_look, self._dir, self._read_model))

    def adopt(self, found: Survey) -> ProfileDiff:
        """Make a survey what names mean from now on; contexts already handed out stay as they are.

        A profile whose files broke goes on with what it had; a folder that is gone takes its profile with it.
        """
        self._generation += 1
        self.digest = found.digest
        self._shelf.forgive()
        was = set(self._contexts)
        removed = was - set(found.blueprints)
        for name in removed:
            self._contexts.pop(name)
            self._digests.pop(name)
            self._shelf.retire(name)
        self._broken = {}
        changed, kept = set(), set()
        for name, blueprint in found.blueprints.items():
            if blueprint.settings is None and name in was:
                kept.add(name)
            elif blueprint.settings is None:
                self._broken[name] = blueprint.errors
            elif self._digests.get(name) != blueprint.digest:
                self._contexts[name] = self._context(blueprint)
                self._digests[name] = blueprint.digest
                changed.add(name)
        return ProfileDiff(
            added=_sorted(changed - was),
            removed=_sorted(removed),
            changed=_sorted(changed & was),
            broken=_sorted(self._broken),
            kept=_sorted(kept),
            problems=found.problems,
        )

    async def reload(self) -> ProfileDiff:
        """`survey` and `adopt` in one go."""
        return self.adopt(await self.survey())

    def __getitem__(self, name: str) -> ProfileContext:
        """The profile of that name as it is configured now. Raises ProfileUnavailable, which says why."""
        context = self._contexts.get(name)
        # looked at each time: a turn must not make a home anew that somebody took away
        if context is not None and context.home.path.is_dir():
            return context
        if context is not None:
            why = "its folder is gone"
        else:
            why = "its configuration has errors" if name in self._broken else "there is no such profile"
        raise ProfileUnavailable(
            f"profile {name} is not available: {why}",
            hint="your message is kept; whoever runs this bot finds the next step with `hermesd check`",
        )

    def __contains__(self, name: str) -> bool:
        return name in self._contexts

    def __iter__(self) -> Iterator[str]:
        """Names of the profiles that can run, sorted."""
        return iter(sorted(self._contexts))

    def __len__(self) -> int:
        return len(self._contexts)

    @property
    def generation(self) -> int:
        """Number of the last load."""
        return self._generation

    def unavailable(self) -> dict[str, str]:
        """Profiles that cannot run, or cannot reach their conversations, and why: for operators."""
        broken = {name: "\n".join(map(str, problems)) for name, problems in self._broken.items()}
        gone = {
            name: f"{one.home.path} is gone: put it back, or take its routes out of the configuration"
            for name, one in self._contexts.items()
            if not one.home.path.is_dir()
        }
        return {**broken, **self._shelf.quarantined(), **gone}

    @property
    def open_databases(self) -> int:
        """How many profile databases are open right now."""
        return self._shelf.opened

    def _context(self, blueprint: Blueprint) -> ProfileContext:
        home, settings = blueprint.home, blueprint.settings
        assert settings is not None  # noqa: S101 - for the type checker: callers adopt usable blueprints only
        return ProfileContext(
            name=home.name,
            generation=self._generation,
            home=home,
            settings=settings,
            secrets=blueprint.secrets,
            soul=blueprint.soul,
            memory=MemoryStore(home.path, settings.memory.limits()),
            workspace=settings.workdir(home.path, home.workspace),
            _shelf=self._shelf,
            _engine=Lazy(partial(self._engines, home.name, settings.model, blueprint.secrets)),
            _log=Lazy(partial(self._own_log, home)),
        )

    def _own_log(self, home: Home) -> Log:
        return self._log.bind(profile=home.name) if self._log_for is None else self._log_for(home.name, home.log)


def _sorted(names: set[str] | Mapping[str, object]) -> tuple[str, ...]:
    return tuple(sorted(names))


def _look(profiles_dir: Path, read_model: ModelReader) -> Survey:
    homes, problems = survey(profiles_dir)
    blueprints: dict[str, Blueprint] = {}
    for home in homes:
        found = load(home, read_model)
        blueprints[home.name] = found
        problems += found.problems
        if found.settings is not None:
            problems += _prepare(home)
    return Survey(blueprints, problems)


def _prepare(home: Home) -> tuple[Problem, ...]:
    try:
        home.prepare()
    except OSError as error:
        message = f"its folders cannot be made: {error.strerror}"
        return (Problem(str(home.path), 0, 0, "", message, "check the folder's owner and the disk", "warning"),)
    return ()
