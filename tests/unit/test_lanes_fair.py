"""Lanes: one at a time in each conversation, fair between profiles, never above a limit."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.address import AdapterKey, Address, ConversationKey
from hermesd.gateway.lanes import Bounds, Lanes
from hermesd.ledger.turn import Turn, TurnState
from hermesd.lineage import Lineage, Origin
from hermesd.testing.host import MemoryLog

BOT = AdapterKey("scripted", "main")


def turn(name: str, lane: str = "a", profile: str = "p", attempts: int = 0, message: str | None = None) -> Turn:
    key = ConversationKey(profile, Address(BOT, lane), "dm")
    return Turn(
        0, name, None, key, None, "r", "u", "U", message, name, Origin.PERSON, Lineage(name, "h"), 1, TurnState.QUEUED,
        "", attempts, 0.0, None, None,
    )  # fmt: skip


@dataclass
class Work:
    """Turns that run until the test lets them end."""

    bounds: Bounds
    began: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    holding: set[str] = field(default_factory=set)
    go: dict[str, asyncio.Event] = field(default_factory=dict)
    active: Counter[str] = field(default_factory=Counter)
    broke: list[str] = field(default_factory=list)
    #: how one turn's run goes, instead of waiting
    acts: dict[str, Callable[[Turn], Awaitable[None]]] = field(default_factory=dict)
    lanes: Lanes = field(init=False)
    log: MemoryLog = field(default_factory=MemoryLog)

    def __post_init__(self) -> None:
        self.lanes = Lanes(
            self.run, held=lambda t: "pause" if t.profile in self.holding else None, on_hold=self.tell,
            bounds=lambda: self.bounds, log=self.log,
        )  # fmt: skip

    async def tell(self, one: Turn, reason: str) -> None:
        self.told.append((one.id, reason))

    async def run(self, one: Turn) -> None:
        self.began.append(one.id)
        self.active[f"lane {one.key.encode()}"] += 1
        self.active[f"profile {one.profile}"] += 1
        self.active["all"] += 1
        self.check(one)
        try:
            if (act := self.acts.get(one.id)) is not None:
                await act(one)
            else:
                await self.go.setdefault(one.id, asyncio.Event()).wait()
        finally:
            for name in (f"lane {one.key.encode()}", f"profile {one.profile}", "all"):
                self.active[name] -= 1
            self.ended.append(one.id)

    def check(self, one: Turn) -> None:
        most = {f"lane {one.key.encode()}": 1, f"profile {one.profile}": self.bounds.turns_per_profile,
                "all": self.bounds.turns}  # fmt: skip
        self.broke += [name for name, limit in most.items() if self.active[name] > limit]

    def end(self, *names: str) -> None:
        for name in names:
            self.go.setdefault(name, asyncio.Event()).set()


@asynccontextmanager
async def working(turns: int = 64, per_profile: int = 8, queue: int = 32) -> AsyncIterator[Work]:
    work = Work(Bounds(turns, per_profile, queue))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work.lanes.run)
        await settle()
        with anyio.fail_after(20):
            yield work
        tasks.cancel_scope.cancel()


async def settle() -> None:
    await anyio.wait_all_tasks_blocked()


async def test_a_conversation_is_answered_in_order_one_at_a_time() -> None:
    """Ten messages in one lane run strictly one behind the other, first in first out (TRN-06)."""
    async with working() as work:
        for n in range(10):
            work.lanes.offer(turn(f"t{n}"))
        for n in range(10):
            await settle()
            assert work.began == [f"t{i}" for i in range(n + 1)]
            work.end(f"t{n}")
        await settle()
    assert work.broke == []


async def test_no_more_run_than_allowed_for_a_profile_and_overall() -> None:
    """Three per profile and five overall hold, and a free place is taken at once."""
    async with working(turns=5, per_profile=3) as work:
        for profile in "pq":
            for n in range(5):
                work.lanes.offer(turn(f"{profile}{n}", lane=f"{profile}{n}", profile=profile))
        await settle()
        assert sorted(work.began) == ["p0", "p1", "p2", "q0", "q1"]
        work.end("p0")
        await settle()
        assert work.lanes.total == 5
        work.end(*(f"{p}{n}" for p in "pq" for n in range(5)))
        await settle()
        assert work.lanes.total == 0
    assert work.broke == []


async def test_one_profile_cannot_keep_another_from_starting() -> None:
    """A profile with 1,000 busy conversations gets no second place before another's single turn started (ISO-13)."""
    async with working(turns=4, per_profile=4) as work:
        for n in range(1000):
            work.lanes.offer(turn(f"flood{n}", lane=f"l{n}", profile="flood"))
        await settle()
        assert len(work.began) == 4
        work.lanes.offer(turn("single", lane="s", profile="quiet"))
        await settle()
        work.end("flood0")
        await settle()
        assert work.began[4:] == ["single"]


async def test_conversations_of_one_profile_take_turns() -> None:
    """A chat with many messages waiting does not hold back its profile's other chats."""
    async with working(per_profile=1) as work:
        for n in range(5):
            work.lanes.offer(turn(f"busy{n}", lane="busy"))
        work.lanes.offer(turn("other", lane="other"))
        work.end("busy0", "busy1", "busy2", "busy3", "busy4", "other")
        await settle()
        assert work.began[:2] == ["busy0", "other"]


async def test_a_held_turn_waits_with_a_word_and_goes_on_when_looked_at_again() -> None:
    """Paused: nothing of the profile starts, it is told, others go on; after `refresh` it runs in order."""
    async with working() as work:
        work.holding.add("p")
        work.lanes.offer(turn("t1"))
        work.lanes.offer(turn("t2"))
        work.lanes.offer(turn("o", lane="o", profile="q"))
        await settle()
        assert work.began == ["o"]
        assert work.told[0] == ("t1", "pause")
        work.holding.clear()
        work.lanes.refresh()
        await settle()
        assert work.began == ["o", "t1"]
        work.end("t1")
        await settle()
        assert work.began == ["o", "t1", "t2"]


async def test_a_pause_that_comes_while_a_turn_is_lined_up_holds_it() -> None:
    """Between its place in the line and its start a turn is looked at once more."""
    async with working(turns=1) as work:
        work.lanes.offer(turn("first", lane="f", profile="q"))
        work.lanes.offer(turn("second", lane="s"))
        await settle()
        work.holding.add("p")
        work.end("first")
        await settle()
        assert work.began == ["first"]
        work.holding.clear()
        work.lanes.refresh()
        await settle()
        assert work.began == ["first", "second"]


async def test_a_turn_that_cannot_begin_rests_at_the_head_of_its_lane() -> None:
    """Put back: tried again when its time has come and not before, ahead of what came later; nothing spins (RT-02)."""
    rested, tries = asyncio.Event(), []

    async def away(one: Turn) -> None:
        tries.append(one.id)
        if len(tries) == 1:
            work.lanes.put_back(one, rested.wait)

    async with working() as work:
        work.acts["t1"] = away
        work.lanes.offer(turn("t1"))
        work.lanes.offer(turn("t2"))
        await settle()
        work.lanes.offer(turn("t3"))
        await settle()
        assert work.began == ["t1"]
        assert work.lanes.total == 0
        rested.set()
        await settle()
        assert work.began == ["t1", "t1", "t2"]


async def test_a_resting_lane_is_tried_at_once_after_a_refresh() -> None:
    """A reload does not wait for the rest to be over (RT-02)."""
    never = asyncio.Event()

    async def away(one: Turn) -> None:
        if work.began.count("t1") == 1:
            work.lanes.put_back(one, never.wait)

    async with working() as work:
        work.acts["t1"] = away
        work.lanes.offer(turn("t1"))
        await settle()
        work.lanes.refresh()
        await settle()
        assert work.began == ["t1", "t1"]


async def test_a_turn_that_breaks_stops_nobody() -> None:
    """An exception out of a run is logged and the next turn of the lane starts (ING-06)."""

    async def breaks(one: Turn) -> None:
        raise RuntimeError("boom")

    async with working() as work:
        work.acts["bad"] = breaks
        work.lanes.offer(turn("bad"))
        work.lanes.offer(turn("good"))
        await settle()
        assert work.began == ["bad", "good"]
        assert [line[2]["action"] for line in work.log.lines] == ["turn.crash"]


async def test_turns_that_were_in_two_crashes_run_one_at_a_time() -> None:
    """Suspects get no company of their kind, everybody else goes on beside them: the next crash names one (ING-06)."""
    async with working() as work:
        for n in range(4):
            work.lanes.offer(turn(f"suspect{n}", lane=f"s{n}", profile=f"p{n % 2}", attempts=2))
            work.lanes.offer(turn(f"fine{n}", lane=f"f{n}", profile=f"p{n % 2}", attempts=1))
        await settle()
        assert sorted(work.began) == ["fine0", "fine1", "fine2", "fine3", "suspect0"]
        for n in range(4):
            work.end(f"suspect{n}")
            await settle()
            assert [name for name in work.began if name.startswith("s")] == [
                f"suspect{i}" for i in range(min(n + 2, 4))
            ]


async def test_a_suspect_that_is_held_makes_way_for_the_next() -> None:
    """A paused suspect does not keep the other ones waiting."""
    async with working(turns=1) as work:
        work.lanes.offer(turn("first", lane="f", profile="z"))
        work.lanes.offer(turn("held", lane="h", profile="p", attempts=2))
        work.lanes.offer(turn("next", lane="n", profile="q", attempts=2))
        await settle()
        work.holding.add("p")
        work.end("first")
        await settle()
        assert work.began == ["first", "next"]
        work.holding.clear()
        work.lanes.refresh()
        work.end("next")
        await settle()
        assert work.began == ["first", "next", "held"]


async def test_an_edit_reaches_a_waiting_turn_and_no_running_one() -> None:
    """`replace` changes what waits, by bot and message, and nothing else (ING-14)."""
    async with working() as work:
        for n in range(3):
            work.lanes.offer(turn(f"t{n}", message=f"m{n}"))
        await settle()
        for n in range(3):
            work.lanes.replace(BOT, f"m{n}", lambda one: replace(one, text="edited"))
        running = work.lanes.running(turn("x").key.encode())
        assert running is not None
        assert running.turn.text == "t0"
        waiting = work.lanes.drop_waiting(lambda one: True)
        assert [(one.id, one.text) for one in waiting] == [("t1", "edited"), ("t2", "edited")]


async def test_dropped_turns_never_run_and_leave_no_lane_behind() -> None:
    """What is taken out of memory does not start, and an emptied lane takes no place in the line."""
    async with working(turns=1) as work:
        work.lanes.offer(turn("running", lane="r", profile="q"))
        for n in range(5):
            work.lanes.offer(turn(f"t{n}", lane=f"l{n}"))
        dropped = work.lanes.drop_waiting(lambda one: one.id in {"t0", "t1", "t3"})
        assert [one.id for one in dropped] == ["t0", "t1", "t3"]
        work.end("running", "t2", "t4")
        await settle()
        assert work.began == ["running", "t2", "t4"]
        assert vars(work.lanes)["_lanes"] == {}


async def test_a_drain_starts_nothing_and_returns_when_nothing_runs() -> None:
    """Drain: running turns end, waiting ones stay, and it returns only then (OPS-02)."""
    async with working(turns=2) as work:
        for n in range(4):
            work.lanes.offer(turn(f"t{n}", lane=f"l{n}"))
        await settle()
        done = asyncio.create_task(work.lanes.drain())
        await settle()
        work.end("t0")
        await settle()
        assert not done.done()
        work.end("t1")
        await done
        assert work.began == ["t0", "t1"]


async def test_cancelling_ends_every_running_turn_and_says_which() -> None:
    """The end of a drain's budget: every run is cancelled, the lanes come to rest (OPS-02)."""
    async with working() as work:
        for n in range(3):
            work.lanes.offer(turn(f"t{n}", lane=f"l{n}"))
        await settle()
        drained = asyncio.create_task(work.lanes.drain())
        await settle()
        assert {one.id for one in work.lanes.cancel_all()} == {"t0", "t1", "t2"}
        await drained
        assert work.lanes.total == 0


@pytest.mark.parametrize(("most", "many", "full"), [(3, 3, False), (3, 4, True)])
async def test_a_lane_is_full_behind_the_running_turn(most: int, many: int, full: bool) -> None:
    """The running turn does not count against the queue."""
    async with working(queue=most) as work:
        for n in range(many):
            work.lanes.offer(turn(f"t{n}"))
        await settle()
        assert work.lanes.is_full(turn("x").key.encode()) is full


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    bounds=st.tuples(st.integers(1, 5), st.integers(1, 3)),
    operations=st.lists(st.sampled_from(["offer", "end", "hold", "free", "back", "crash"]), max_size=80),
)
def test_whatever_happens_limits_hold_and_every_turn_ends_once(
    seed: int, bounds: tuple[int, int], operations: list[str]
) -> None:
    """Random offers, ends, pauses, put-backs, crashes: never above a limit, one in a lane, FIFO, all end (HND-05)."""
    asyncio.run(_story(random.Random(seed), bounds, operations))


async def _story(dice: random.Random, bounds: tuple[int, int], operations: list[str]) -> None:
    async with working(turns=bounds[0], per_profile=bounds[1]) as work:
        offered: list[Turn] = []

        async def crash(one: Turn) -> None:
            raise RuntimeError("boom")

        async def back(one: Turn) -> None:
            if work.began.count(one.id) == 1:
                work.lanes.put_back(one, _soon)

        acts: dict[str, Any] = {"back": back, "crash": crash}
        for operation in operations:
            if operation in ("offer", "back", "crash"):
                name = f"t{len(offered)}"
                offered.append(turn(name, f"l{dice.randrange(4)}", f"p{dice.randrange(3)}", dice.choice([0, 0, 2])))
                if operation in acts:
                    work.acts[name] = acts[operation]
                work.lanes.offer(offered[-1])
            elif operation == "end" and offered:
                work.end(dice.choice(offered).id)
            elif operation == "hold":
                work.holding.add(f"p{dice.randrange(3)}")
            elif operation == "free":
                work.holding.clear()
                work.lanes.refresh()
            if dice.random() < 0.5:
                await asyncio.sleep(0)
        await _all_ended_once(work, offered, back)


async def _all_ended_once(work: Work, offered: list[Turn], back: Callable[[Turn], Awaitable[None]]) -> None:
    work.holding.clear()
    work.lanes.refresh()
    work.end(*(one.id for one in offered))
    await settle()
    work.lanes.refresh()
    await settle()
    assert work.broke == []
    assert set(work.ended) == {one.id for one in offered}
    for one in offered:
        assert work.ended.count(one.id) == (2 if work.acts.get(one.id) is back else 1)
    for lane in {one.key.encode() for one in offered}:
        mine = [one.id for one in offered if one.key.encode() == lane]
        assert list(dict.fromkeys(name for name in work.began if name in mine)) == mine
    assert work.lanes.total == 0
    assert vars(work.lanes)["_lanes"] == {}
    assert vars(work.lanes)["_suspect"] is None


async def _soon() -> None:
    await asyncio.sleep(0)
