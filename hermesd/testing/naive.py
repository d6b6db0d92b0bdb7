"""The loop everybody writes first: poll, keep the messages in memory, answer, send.

Its next poll confirms what was not handled yet, as stock updaters do, and it stores nothing. Kill tests run their own
schedule against it to show that they can lose a message at all; benches measure the gateway against its speed.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol, TypeVar

U = TypeVar("U")


class NaiveClient(Protocol[U]):
    """What the loop needs of a platform and a model."""

    async def poll(self, offset: int | None) -> Sequence[U]:
        """Wait for updates; the platform forgets those numbered below `offset`."""
        ...

    def number(self, update: U) -> int:
        """The update's number."""
        ...

    async def answer(self, update: U) -> str:
        """Ask the model."""
        ...

    async def send(self, update: U, text: str) -> None:
        """Answer where the update came from."""
        ...


async def run(client: NaiveClient[U], *, at_once: int = 64) -> None:
    """Answer until cancelled; `at_once` updates are worked on together, in no order."""
    queue: asyncio.Queue[U] = asyncio.Queue()

    async def work() -> None:
        while True:
            update = await queue.get()
            await client.send(update, await client.answer(update))

    async with asyncio.TaskGroup() as tasks:
        for number in range(at_once):
            tasks.create_task(work(), name=f"naive worker {number}")
        offset: int | None = None
        while True:
            for update in await client.poll(offset):
                queue.put_nowait(update)
                offset = client.number(update) + 1
