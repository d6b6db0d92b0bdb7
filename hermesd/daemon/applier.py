"""Taking up a configuration that was read anew: one write, one swap, then only the bots that need it."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hermesd import audit
from hermesd.daemon.fleet import FleetChange
from hermesd.daemon.house import Ground, House
from hermesd.database import Tx
from hermesd.gateway.hold import UNAVAILABLE
from hermesd.gateway.live import Snapshot
from hermesd.ledger import boot, pause
from hermesd.profile import ProfileDiff, Survey
from hermesd.reload import Report, differences
from hermesd.settings import Loaded, Settings


def fingerprint(settings: Settings, profiles: str) -> str:
    """Identifies a configuration with everything it leads to; an epoch belongs to one of these."""
    return hashlib.sha256(f"{settings.digest}:{profiles}".encode()).hexdigest()


@dataclass(slots=True)
class Applier:
    """Applies what a reload has read."""

    ground: Ground
    #: read the configuration file, given the profiles that exist
    read: Callable[[frozenset[str]], Awaitable[Loaded]]
    #: called with each configuration that was applied: log levels, secrets to hide
    applied: Callable[[Settings], None]
    #: what this process started with: settings that only a new process takes up are compared with these
    started: Settings
    house: House | None = None
    _survey: Survey | None = None

    async def load(self) -> Loaded:
        """Read the configuration and every profile; nothing changes yet."""
        self._survey = await self.ground.profiles.survey()
        return await self.read(frozenset(self._survey.blueprints))

    async def apply(self, new: Settings) -> Report:
        """Swap in one step, then restart only the bots that need it."""
        if self.house is None or self._survey is None:
            raise RuntimeError("a reload before the house stood")
        live, at, survey = self.ground.live, self.ground.clock.now(), self._survey
        old = live.snapshot
        changed, (_, fixed) = differences(old.settings, new)[0], differences(self.started, new)
        epoch = await self.ground.ledger.write(
            lambda tx: _record(tx, fingerprint(new, survey.digest), old.epoch, changed, at)
        )
        # from here to the new snapshot nothing waits: no message meets new profiles with old routes
        diff = self.ground.profiles.adopt(survey)
        live.snapshot = Snapshot.of(epoch, new, at)
        self.applied(new)
        fleet = await self.house.fleet.apply(new.bots)
        self.house.lanes.refresh()
        applied = (*(f"{name} changed" for name in changed), *_profiles(diff), *_bots(fleet))
        return Report(
            "applied" if applied else "unchanged", epoch, at, applied,
            tuple(f"{name}: takes effect at the next start" for name in fixed),
            tuple(str(problem) for problem in diff.problems if problem.level == "error"),
        )  # fmt: skip


def _record(tx: Tx, digest: str, current: int, changed: tuple[str, ...], at: float) -> int:
    epoch = boot.config_epoch(tx, digest, at=at)
    if epoch != current:
        audit.append(
            tx, at=at, kind="config.applied", actor="operator", subject=f"epoch {epoch}",
            detail={"changed": list(changed)},
        )  # fmt: skip
        pause.forget_notices(tx, UNAVAILABLE)
    return epoch


def _profiles(diff: ProfileDiff) -> tuple[str, ...]:
    return (
        *(f"profile {name} added" for name in diff.added),
        *(f"profile {name} changed" for name in diff.changed),
        *(f"profile {name} removed" for name in diff.removed),
        *(f"profile {name} kept as it was: its files have errors" for name in diff.kept),
    )


def _bots(change: FleetChange) -> tuple[str, ...]:
    return (
        *(f"bot {key} started" for key in change.started),
        *(f"bot {key} stopped" for key in change.stopped),
        *(f"bot {key} restarted" for key in change.restarted),
    )
