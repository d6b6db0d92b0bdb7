"""A clock that stands still until a test moves it."""

import asyncio
import heapq
from itertools import count


class ManualClock:
    """Implements clock.Clock; `advance` wakes sleepers in the order of their time, `jump` sets the wall alone."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        #: Unix seconds
        self._wall = now
        self._monotonic = 1_000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._lain_down = asyncio.Event()

    def now(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        awake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._monotonic + seconds, next(self._order), awake))
        self._lain_down.set()
        self._lain_down = asyncio.Event()
        await awake

    @property
    def sleeping(self) -> tuple[float, ...]:
        """Seconds until each sleeper wakes, the next one first."""
        return tuple(sorted(at - self._monotonic for at, _, awake in self._sleepers if not awake.done()))

    async def until_sleeping(self, seconds: float) -> None:
        """Return once somebody sleeps for about that long."""
        while not any(abs(left - seconds) < 0.001 for left in self.sleeping):
            await self._lain_down.wait()

    async def until_lying_down(self) -> None:
        """Return once anybody sleeps."""
        while not self.sleeping:
            await self._lain_down.wait()

    def jump(self, seconds: float) -> None:
        """Somebody sets the machine's clock: only the wall moves."""
        self._wall += seconds

    async def advance(self, seconds: float) -> None:
        """Let time pass: whoever sleeps no longer than that wakes, each at its own time."""
        end = self._monotonic + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            at, _, awake = heapq.heappop(self._sleepers)
            self._pass(at - self._monotonic)
            if not awake.done():
                awake.set_result(None)
                for _ in range(3):
                    await asyncio.sleep(0)
        self._pass(end - self._monotonic)

    def _pass(self, seconds: float) -> None:
        self._monotonic += seconds
        self._wall += seconds
