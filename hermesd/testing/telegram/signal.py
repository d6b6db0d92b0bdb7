"""Waking whoever waits for the fake to change, without sleeping."""

import asyncio
from collections.abc import Callable


class Signal:
    """A condition whose notifier is synchronous: the world changes in plain functions."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()

    def notify(self) -> None:
        """Wake everybody to look again."""
        for event in self._waiting:
            event.set()

    async def until(self, true: Callable[[], bool]) -> None:
        """Return once `true()` holds; it is asked again after every change."""
        while not true():
            event = asyncio.Event()
            self._waiting.add(event)
            try:
                await event.wait()
            finally:
                self._waiting.discard(event)
