"""The door for adapters: stored in one commit, then handed to the bot's own pump."""

from collections.abc import Sequence

import anyio
from anyio.abc import TaskGroup

from hermesd.address import AdapterKey
from hermesd.gateway.decider import Decider
from hermesd.gateway.desk import Desk
from hermesd.gateway.pump import Pump
from hermesd.ledger import inbound
from hermesd.message import RawEvent


class Intake:
    """Takes events from adapters and brings each to a decision."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._decider = Decider(desk, lambda key: self._pump(key).nudge())
        self._pumps: dict[AdapterKey, Pump] = {}
        self._tasks: TaskGroup | None = None

    async def ingest(self, key: AdapterKey, events: Sequence[RawEvent], cursor: str | None) -> int:
        """Store events and the cursor in one commit; only then does the adapter acknowledge them."""
        at = self._desk.clock.now()
        fresh = await self._desk.ledger.write(lambda tx: inbound.store(tx, key, events, cursor, at=at))
        if fresh:
            self._pump(key).push(fresh)
        return len(fresh)

    async def recover(self, key: AdapterKey) -> int:
        """At boot, once the bot's adapter can parse: what an earlier boot had stored and not decided."""
        left = await self._desk.ledger.read(lambda tx: inbound.left_over(tx, key))
        if left:
            self._pump(key).push(left)
        return len(left)

    async def run(self) -> None:
        """Decide until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            self._decider.start(tasks)
            for pump in self._pumps.values():
                pump.start(tasks)
            await anyio.sleep_forever()

    async def settled(self) -> None:
        """Return when every stored event has been decided (drain)."""
        for pump in list(self._pumps.values()):
            await pump.empty()
        await self._decider.settled()

    def _pump(self, key: AdapterKey) -> Pump:
        pump = self._pumps.get(key)
        if pump is None:
            pump = self._pumps[key] = Pump(key, self._decider.decide)
            if self._tasks is not None:
                pump.start(self._tasks)
        return pump

    def migrated(self, key: AdapterKey, old_chat: str, new_chat: str) -> None:
        """The ledger moved a chat: follow in memory."""
        self._decider.migrated(key, old_chat, new_chat)
