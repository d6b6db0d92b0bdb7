"""Who is looking at what, and waking them when something happens there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from hermesd_web.place import Place

#: places a sleeping watcher is told about at most; it asks anew for each anyway
_ELSEWHERE = 64


@dataclass(slots=True, eq=False)
class Watcher:
    """One open page. Level-triggered flags instead of a queue: a slow page costs nothing."""

    place: Place
    #: the transcript of `place` may have grown
    grown: bool = True
    #: somebody prepares an answer in `place`
    typing: bool = False
    #: the command menu changed
    menu: bool = True
    #: other places where something was said
    elsewhere: set[Place] = field(default_factory=set)
    _wake: anyio.Event = field(default_factory=anyio.Event)

    def wake(self) -> None:
        self._wake.set()

    async def wait(self, seconds: float) -> None:
        """Return when something happened, or after that long."""
        with anyio.move_on_after(seconds):
            await self._wake.wait()
        self._wake = anyio.Event()


class Feed:
    """The open pages of one bot."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._watchers: set[Watcher] = set()

    @property
    def full(self) -> bool:
        return len(self._watchers) >= self._most

    @contextmanager
    def watching(self, place: Place) -> Iterator[Watcher]:
        """Be told about a place until the block ends."""
        watcher = Watcher(place)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def grew(self, place: Place) -> None:
        """Something was said there."""
        for watcher in self._watchers:
            if watcher.place == place:
                watcher.grown = True
            elif len(watcher.elsewhere) < _ELSEWHERE:
                watcher.elsewhere.add(place)
            watcher.wake()

    def typing(self, place: Place) -> None:
        """An answer is being prepared there."""
        for watcher in self._watchers:
            if watcher.place == place:
                watcher.typing = True
                watcher.wake()

    def menu(self) -> None:
        """The commands changed."""
        for watcher in self._watchers:
            watcher.menu = True
            watcher.wake()
