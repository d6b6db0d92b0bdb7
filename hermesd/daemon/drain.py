"""The end of a daemon's life: stop intake, let turns finish or park them, send what is in flight, within a budget."""

from dataclasses import dataclass

import anyio

from hermesd.clock import Clock
from hermesd.daemon.fleet import Fleet
from hermesd.database import Database, Tx
from hermesd.delivery.outbox import Outbox
from hermesd.errors import LedgerUnavailable
from hermesd.gateway.intake import Intake
from hermesd.gateway.lanes import Lanes
from hermesd.ledger import turn as turns
from hermesd.ledger.turn import Turn
from hermesd.ports import Log

#: shares of the budget after which intake, turns and sends are given up; the rest is for closing files
INTAKE_SHARE, TURNS_SHARE, SENDS_SHARE = 0.2, 0.65, 0.8


@dataclass(frozen=True, slots=True)
class Drain:
    """Everything that has to come to rest, in order."""

    fleet: Fleet
    intake: Intake
    lanes: Lanes
    outbox: Outbox
    ledger: Database
    clock: Clock
    log: Log

    async def run(self, budget: float) -> None:
        """Come to rest within `budget` seconds; what does not finish is parked and taken up by the next start."""
        try:
            await self._come_to_rest(budget)
        finally:
            self.outbox.abandon()

    async def _come_to_rest(self, budget: float) -> None:
        end = self.clock.monotonic() + budget
        with anyio.move_on_after(budget * INTAKE_SHARE):
            await self.fleet.stop_intake()
            await self.intake.settled()
        with anyio.move_on_after(self._left(end, budget, TURNS_SHARE)):
            await self.lanes.drain()
        await self._park(self.lanes.cancel_all())
        with anyio.move_on_after(self._left(end, budget, SENDS_SHARE)):
            await self.outbox.drain()
        await self.fleet.close()

    async def give_up(self) -> None:
        """Asked a second time to stop: park what runs, now."""
        await self._park(self.lanes.cancel_all())

    async def _park(self, running: tuple[Turn, ...]) -> None:
        """Cancelled before any side effect: queued again. After one: left for the next start, which asks."""
        if not running:
            return

        def requeue(tx: Tx) -> int:
            clean = [turn for turn in running if not turns.side_effects(tx, turn.id)]
            return sum(turns.requeue(tx, turn.id, forget_attempt=True) for turn in clean)

        try:
            parked = await self.ledger.write(requeue, give_up=1.0)
        except LedgerUnavailable as error:
            # the next start finds them running under an old boot epoch and decides then
            self.log.warning("turns not parked", action="drain.park", detail=error.message)
            return
        self.log.info("turns parked", action="drain.park", cancelled=len(running), queued_again=parked)

    def _left(self, end: float, budget: float, share: float) -> float:
        return max(0.0, end - budget * (1 - share) - self.clock.monotonic())
