"""What has to happen now and then: proof of life for systemd, and forgetting what is old."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import anyio

from hermesd.clock import Clock
from hermesd.database import Database, Tx
from hermesd.errors import HermesdError
from hermesd.ledger import delivery, inbound, pause, usage
from hermesd.ledger import turn as turns
from hermesd.notify import Notifier, Watchdog
from hermesd.ports import Log
from hermesd.turn.limits import day_of

#: identities of messages are kept at least this long, whatever the configuration says
LEAST_DAYS = 30
_DAY = timedelta(days=1).total_seconds()
#: seconds between two rounds of forgetting
_PURGE_EVERY = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Upkeep:
    """The daemon's own housekeeping."""

    ledger: Database
    notifier: Notifier
    watchdog: Watchdog
    clock: Clock
    log: Log

    async def prove_life(self) -> None:
        """Feed the watchdog while the loop turns and the ledger answers; runs until cancelled."""
        if self.watchdog.period <= 0:
            return
        progress = {"ledger": self.clock.monotonic()}
        while True:
            try:
                with anyio.fail_after(self.watchdog.period / 2):
                    await self.ledger.read(lambda tx: tx.execute("SELECT 1").fetchone())
                progress["ledger"] = self.clock.monotonic()
            except (TimeoutError, HermesdError) as error:
                self.log.error("the ledger does not answer", action="watchdog.late", error=type(error).__name__)
            if self.watchdog.due(progress, self.clock.monotonic()):
                self.notifier.alive()
            await self.clock.sleep(self.watchdog.interval)

    async def forget(self, retention_days: Callable[[], int]) -> None:
        """Delete what is older than the retention in force, now and every few hours; runs until cancelled."""
        while True:
            before = self.clock.now() - max(retention_days(), LEAST_DAYS) * _DAY

            def purge(tx: Tx, before: float = before) -> None:
                inbound.purge(tx, raw_before=before, rows_before=before)
                delivery.purge(tx, before=before)
                turns.purge(tx, before=before)
                pause.purge(tx, before=before)
                usage.purge(tx, before_day=day_of(before))

            await self.ledger.write(purge)
            await self.clock.sleep(_PURGE_EVERY)
