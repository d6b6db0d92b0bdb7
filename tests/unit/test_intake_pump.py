"""The order in which one bot's events are decided."""

import asyncio
from collections.abc import Sequence

import anyio

from hermesd.address import AdapterKey
from hermesd.gateway.pump import Pump
from hermesd.ledger.inbound import Stored
from hermesd.message import RawEvent

BOT = AdapterKey("scripted", "main")


def stored(*seqs: int, again: bool = False) -> list[Stored]:
    return [Stored(n, BOT, RawEvent(str(n), {}), 0.0, again=again) for n in seqs]


async def test_left_overs_go_before_what_came_after_them_and_each_once() -> None:
    """Taken up while newer events wait, some of them among the left-overs: platform order, no event twice (ING-03)."""
    decided: list[int] = []
    go = asyncio.Event()

    async def decide(key: AdapterKey, batch: Sequence[Stored]) -> None:
        await go.wait()
        decided.extend(one.seq for one in batch)

    pump = Pump(BOT, decide)
    async with anyio.create_task_group() as tasks:
        pump.start(tasks)
        pump.push(stored(9))
        await anyio.wait_all_tasks_blocked()
        pump.push(stored(10, 11))
        pump.push(stored(3, 4, 10, again=True))
        pump.push(stored(12))
        go.set()
        await pump.empty()
        assert decided == [9, 3, 4, 10, 11, 12]
        tasks.cancel_scope.cancel()


async def test_it_is_empty_only_when_everything_has_been_decided() -> None:
    """Whoever waits for the end is not let go while a batch is in the works or more came meanwhile (OPS-02)."""
    steps: asyncio.Queue[None] = asyncio.Queue()
    decided: list[int] = []

    async def decide(key: AdapterKey, batch: Sequence[Stored]) -> None:
        await steps.get()
        decided.extend(one.seq for one in batch)

    pump = Pump(BOT, decide)
    async with anyio.create_task_group() as tasks:
        pump.start(tasks)
        await pump.empty()
        pump.push(stored(1))
        waiting = asyncio.create_task(pump.empty())
        await anyio.wait_all_tasks_blocked()
        pump.push(stored(2))
        steps.put_nowait(None)
        await anyio.wait_all_tasks_blocked()
        assert not waiting.done()
        steps.put_nowait(None)
        await waiting
        assert decided == [1, 2]
        tasks.cancel_scope.cancel()
