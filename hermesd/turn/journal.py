"""The durable record of one turn's tool calls: intent before, result after."""

from hermesd.clock import Clock
from hermesd.database import Database
from hermesd.ledger import turn
from hermesd.ports import Effect, ToolCall, ToolOutcome


class TurnJournal:
    """Implements `ports.StepJournal` on the ledger."""

    def __init__(self, ledger: Database, turn_id: str, clock: Clock) -> None:
        self._ledger = ledger
        self._turn_id = turn_id
        self._clock = clock

    async def started(self, call: ToolCall, effect: Effect) -> ToolOutcome | None:
        at = self._clock.now()
        known = await self._ledger.write(lambda tx: turn.step_started(tx, self._turn_id, call, effect.value, at=at))
        return None if known is None else ToolOutcome(*known)

    async def finished(self, call: ToolCall, outcome: ToolOutcome) -> None:
        at = self._clock.now()
        await self._ledger.write(
            lambda tx: turn.step_ended(tx, self._turn_id, call.call_id, outcome.text, failed=outcome.failed, at=at)
        )
