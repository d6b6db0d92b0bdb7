"""A reload: parse, validate, compare, swap as a whole, and say what came of it. A bad file changes nothing."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import anyio

from hermesd.clock import Clock
from hermesd.errors import Problem
from hermesd.ports import Log
from hermesd.settings import Loaded, Settings

#: settings that only a new process can take up
FIXED = ("profiles_dir", "api", "crash_limit")
#: seconds the taking up of a configuration may last, however the daemon is asked to stop meanwhile
APPLY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Report:
    """What one reload did."""

    result: Literal["applied", "unchanged", "rejected"]
    epoch: int
    #: Unix seconds
    at: float
    applied: tuple[str, ...] = ()
    needs_restart: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def differences(old: Settings, new: Settings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which top-level settings changed: those a reload takes up, and those that need a restart. Pure."""
    changed = [name for name in type(new).model_fields if name != "digest" and getattr(old, name) != getattr(new, name)]
    return tuple(n for n in changed if n not in FIXED), tuple(n for n in changed if n in FIXED)


def refused(problems: tuple[Problem, ...], epoch: int, at: float) -> Report:
    """The report of a file that cannot be used."""
    return Report("rejected", epoch, at, rejected=tuple(str(p) for p in problems if p.level == "error"))


class Reloader:
    """One reload at a time; requests that arrive meanwhile become one more."""

    def __init__(
        self,
        *,
        load: Callable[[], Awaitable[Loaded]],
        apply: Callable[[Settings], Awaitable[Report]],
        epoch: Callable[[], int],
        clock: Clock,
        log: Log,
    ) -> None:
        self._load = load
        self._apply = apply
        self._epoch = epoch
        self._clock = clock
        self._log = log
        self._lock = anyio.Lock()
        self._asked = 0
        self._done = 0
        self.last: Report | None = None

    async def reload(self) -> Report:
        """Read the configuration as it is now, or as a reload that began after this call has read it."""
        self._asked += 1
        mine = self._asked
        async with self._lock:
            if self.last is not None and self._done >= mine:
                return self.last
            serving = self._asked
            self.last = await self._once()
            self._done = serving
            return self.last

    async def _once(self) -> Report:
        loaded = await self._load()
        if loaded.settings is None:
            report = refused(loaded.problems, self._epoch(), self._clock.now())
        else:
            # once begun it is seen to its end, whoever asked and went away: never half a configuration
            with anyio.fail_after(APPLY_SECONDS, shield=True):
                report = await self._apply(loaded.settings)
        say = self._log.error if report.result == "rejected" else self._log.info
        say(
            f"reload {report.result}", action="config.reload", epoch=report.epoch, applied=report.applied,
            needs_restart=report.needs_restart, rejected=report.rejected,
        )  # fmt: skip
        return report
