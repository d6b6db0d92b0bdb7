"""The events of one bot, brought to a decision in the order they came."""

from collections.abc import Awaitable, Callable, Sequence

import anyio
from anyio.abc import TaskGroup

from hermesd.address import AdapterKey
from hermesd.ledger.inbound import Stored

#: events decided together
BATCH = 64


class Pump:
    """One bot's queue of stored events."""

    def __init__(self, key: AdapterKey, decide: Callable[[AdapterKey, Sequence[Stored]], Awaitable[None]]) -> None:
        self._key = key
        self._decide = decide
        self._queue: list[Stored] = []
        self._nudged = False
        self._work = anyio.Event()
        self._idle = anyio.Event()
        self._idle.set()

    def push(self, stored: Sequence[Stored]) -> None:
        if self._queue and stored and stored[0].seq <= self._queue[-1].seq:
            # left-overs that are taken up while newer events wait already: each once, in the order they came
            merged = {one.seq: one for one in (*stored, *self._queue)}
            self._queue = [merged[seq] for seq in sorted(merged)]
        else:
            self._queue.extend(stored)
        self._idle = anyio.Event() if self._idle.is_set() else self._idle
        self._work.set()

    def nudge(self) -> None:
        """Something that was put off may be decided now, even if nothing new came."""
        self._idle = anyio.Event() if self._idle.is_set() else self._idle
        self._nudged = True
        self._work.set()

    def start(self, tasks: TaskGroup) -> None:
        tasks.start_soon(self._run, name=f"intake:{self._key}")

    async def empty(self) -> None:
        """Return when nothing waits to be decided."""
        await self._idle.wait()

    async def _run(self) -> None:
        while True:
            await self._work.wait()
            self._work = anyio.Event()
            while self._queue or self._nudged:
                self._nudged = False
                batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
                await self._decide(self._key, batch)
            self._idle.set()
