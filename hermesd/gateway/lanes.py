"""One turn at a time in each conversation, first in first out, fair between profiles, bounded overall."""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from hermesd.address import AdapterKey
from hermesd.gateway.hold import Hold
from hermesd.ledger.turn import Turn
from hermesd.ports import Log


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many turns may run and wait."""

    #: running at once, all profiles together
    turns: int
    #: running at once for one profile
    turns_per_profile: int
    #: waiting in one conversation behind the running one
    lane_queue: int


@dataclass(slots=True)
class Running:
    """A turn in progress."""

    turn: Turn
    scope: anyio.CancelScope


@dataclass(slots=True)
class Lane:
    """One conversation's queue."""

    name: str
    profile: str
    waiting: deque[Turn] = field(default_factory=deque)
    running: Running | None = None
    #: in a profile's line for its next turn
    ready: bool = False
    #: its head could not begin a moment ago and is tried again later
    resting: bool = False


#: runs in which the daemon died after which a turn runs without others of its kind: the next crash shows the culprit
SUSPECT_ATTEMPTS = 2


class Lanes:
    """Decides which waiting turn runs next. Holds nothing that the ledger does not."""

    def __init__(
        self,
        run: Callable[[Turn], Awaitable[None]],
        *,
        held: Callable[[Turn], Hold | None],
        on_hold: Callable[[Turn, Hold], Awaitable[None]],
        bounds: Callable[[], Bounds],
        log: Log,
    ) -> None:
        self._run_turn = run
        self._held = held
        self._on_hold = on_hold
        self._bounds = bounds
        self._log = log
        self._lanes: dict[str, Lane] = {}
        #: per profile the lanes whose head may run, and the order in which profiles take turns
        self._ready: dict[str, deque[Lane]] = {}
        self._rotation: deque[str] = deque()
        self._running: dict[str, int] = {}
        #: the one suspect that may run, and the lanes whose suspects wait for it
        self._suspect: Lane | None = None
        self._suspects: deque[Lane] = deque()
        self._total = 0
        self._tasks: TaskGroup | None = None
        self._open = True
        self._quiet = anyio.Event()

    # --- questions -------------------------------------------------------------------------------------------------

    def waiting(self, lane: str) -> int:
        """How many turns wait in a conversation, the running one not counted."""
        known = self._lanes.get(lane)
        return len(known.waiting) if known else 0

    def running(self, lane: str) -> Running | None:
        known = self._lanes.get(lane)
        return known.running if known else None

    def is_full(self, lane: str, coming: int = 0) -> bool:
        """Whether a conversation takes no more, `coming` ones that are about to be offered counted."""
        return self.waiting(lane) + coming >= self._bounds().lane_queue

    @property
    def total(self) -> int:
        """Turns running now."""
        return self._total

    # --- work ------------------------------------------------------------------------------------------------------

    def offer(self, turn: Turn) -> None:
        """Put a queued turn at the end of its lane and start what may start."""
        name = turn.key.encode()
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(name, turn.profile)
        lane.waiting.append(turn)
        self._line_up(lane)
        self._dispatch()

    def put_back(self, turn: Turn, until: Callable[[], Awaitable[None]]) -> None:
        """A turn that could not begin is the head of its lane again, which rests until then or until `refresh`."""
        name = turn.key.encode()
        lane = self._lanes.setdefault(name, Lane(name, turn.profile))
        lane.waiting.appendleft(turn)
        if self._tasks is not None and not lane.resting:
            lane.resting = True
            self._tasks.start_soon(self._rest, lane, until, name=f"rest:{turn.id}")

    def replace(self, key: AdapterKey, message_key: str, turn: Callable[[Turn], Turn]) -> None:
        """Change a waiting turn in memory after the ledger changed it."""
        for lane in self._lanes.values():
            for n, waiting in enumerate(lane.waiting):
                if waiting.message_key == message_key and waiting.address.adapter == key:
                    lane.waiting[n] = turn(waiting)

    def drop_waiting(self, match: Callable[[Turn], bool]) -> list[Turn]:
        """Take waiting turns out of memory; the caller has decided about their rows, or will load them again."""
        dropped = []
        for lane in list(self._lanes.values()):
            gone = [turn for turn in lane.waiting if match(turn)]
            if gone:
                lane.waiting = deque(turn for turn in lane.waiting if not match(turn))
                dropped += gone
            self._forget_if_idle(lane)
        return dropped

    def refresh(self) -> None:
        """Something that held turns back may have changed: look at every lane again."""
        for lane in self._lanes.values():
            lane.resting = False
            self._line_up(lane)
        self._dispatch()

    async def run(self) -> None:
        """Run turns until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            self.refresh()
            await anyio.sleep_forever()

    async def drain(self) -> None:
        """Start nothing new; return when nothing runs."""
        self._open = False
        if self._total:
            await self._quiet.wait()

    def cancel_all(self) -> tuple[Turn, ...]:
        """Cancel what still runs (the end of a drain's budget) and say what it was."""
        running = [lane.running for lane in self._lanes.values() if lane.running]
        for one in running:
            one.scope.cancel()
        return tuple(one.turn for one in running)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _line_up(self, lane: Lane) -> None:
        if lane.ready or lane.running or lane.resting or not lane.waiting or self._tasks is None:
            return
        reason = self._held(lane.waiting[0])
        if reason is not None:
            self._tasks.start_soon(self._tell, lane.waiting[0], reason, name=f"hold:{lane.waiting[0].id}")
            return
        if lane.waiting[0].attempts >= SUSPECT_ATTEMPTS:
            if self._suspect not in (None, lane):
                if lane not in self._suspects:
                    self._suspects.append(lane)
                return
            self._suspect = lane
        lane.ready = True
        if lane.profile not in self._ready:
            self._ready[lane.profile] = deque()
            self._rotation.append(lane.profile)
        self._ready[lane.profile].append(lane)

    def _clear(self, lane: Lane) -> None:
        """The suspect of this lane ended well, or will not run now: the next one may."""
        if self._suspect is lane:
            self._suspect = None
        while self._suspect is None and self._suspects:
            self._line_up(self._suspects.popleft())

    async def _rest(self, lane: Lane, until: Callable[[], Awaitable[None]]) -> None:
        await until()
        lane.resting = False
        self._line_up(lane)
        self._dispatch()

    async def _tell(self, turn: Turn, reason: Hold) -> None:
        await self._on_hold(turn, reason)

    def _dispatch(self) -> None:
        bounds = self._bounds()
        while self._open and self._total < bounds.turns and self._rotation:
            # whoever has the fewest running is next; among equals, whoever has waited longest
            profile = min(self._rotation, key=lambda name: self._running.get(name, 0))
            if self._running.get(profile, 0) >= bounds.turns_per_profile:
                return
            self._rotation.remove(profile)
            lane = self._ready[profile].popleft()
            if self._ready[profile]:
                self._rotation.append(profile)
            else:
                del self._ready[profile]
            lane.ready = False
            if lane.waiting:
                self._begin(lane)
            else:
                self._clear(lane)
                self._forget_if_idle(lane)

    def _begin(self, lane: Lane) -> None:
        if self._tasks is None:
            return
        if self._held(lane.waiting[0]) is not None:
            self._line_up(lane)
            self._clear(lane)
            return
        turn = lane.waiting.popleft()
        lane.running = Running(turn, anyio.CancelScope())
        self._total += 1
        self._running[lane.profile] = self._running.get(lane.profile, 0) + 1
        self._tasks.start_soon(self._work, lane, lane.running, name=f"turn:{turn.id}")

    async def _work(self, lane: Lane, running: Running) -> None:
        try:
            with running.scope:
                await self._run_turn(running.turn)
        except Exception as error:  # noqa: BLE001  # the wall between conversations: one broken turn stops no lane
            self._log.error("turn crashed", action="turn.crash", turn=running.turn.id, exc_info=error)
        finally:
            lane.running = None
            self._total -= 1
            self._running[lane.profile] -= 1
            if not self._running[lane.profile]:
                del self._running[lane.profile]
            self._clear(lane)
            self._line_up(lane)
            self._forget_if_idle(lane)
            self._dispatch()
            if not self._open and not self._total:
                self._quiet.set()

    def _forget_if_idle(self, lane: Lane) -> None:
        if not lane.waiting and not lane.running and not lane.ready:
            self._lanes.pop(lane.name, None)
