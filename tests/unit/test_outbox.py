"""The sender: in order, nothing lost, nothing twice without a mark, one chat never in the way of another."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from hermesd.adapter.registry import AdapterRegistry, Bot
from hermesd.adapter.supervisor import close
from hermesd.address import AdapterKey, Address
from hermesd.database import Database
from hermesd.delivery.outbox import Outbox
from hermesd.delivery.policy import DUPLICATE_MARK
from hermesd.errors import Ambiguous, Migrated, RateLimited, Rejected, Unauthorized, Unreachable
from hermesd.ledger import chat, delivery
from hermesd.ledger.schema import MIGRATIONS
from hermesd.message import Outgoing
from hermesd.ports import BotState
from hermesd.testing.clock import ManualClock
from hermesd.testing.host import MemoryLog
from hermesd.testing.scripted import Platform, ScriptedAdapter, ScriptedSettings

MAIN, OTHER = AdapterKey("scripted", "main"), AdapterKey("scripted", "other")


@dataclass
class Rig:
    """One boot's sender over a real ledger."""

    outbox: Outbox
    ledger: Database
    bots: AdapterRegistry
    platform: Platform
    clock: ManualClock
    moved: list[tuple[str, str]]

    def at(self, chat: str = "c1", thread: str | None = None, key: AdapterKey = MAIN) -> Address:
        return Address(key, chat, thread)

    async def post(self, *texts: str, chat: str = "c1", key: AdapterKey = MAIN) -> None:
        for text in texts:
            await self.outbox.post(self.at(chat, key=key), text)

    async def rows(self) -> dict[str, tuple[str, int]]:
        """text -> (state, attempts)."""
        sql = "SELECT text, state, attempts FROM delivery"
        return await self.ledger.read(lambda tx: {t: (s, n) for t, s, n in tx.execute(sql)})

    async def stands(self, text: str, state: str) -> None:
        """Return once that part is in that state; each look is a round trip to the database thread."""
        with anyio.fail_after(10):
            while (await self.rows()).get(text, ("", 0))[0] != state:
                pass

    async def idle(self) -> None:
        """Return once no part is open."""
        with anyio.fail_after(10):
            while any(s in ("pending", "attempting", "ambiguous") for s, _ in (await self.rows()).values()):
                pass

    def up(self, key: AdapterKey = MAIN) -> Bot:
        """The bot has a fresh adapter and is up."""
        bot = self.bots.get(key)
        if bot is None:
            bot = Bot(key, ScriptedSettings(platform="scripted", bot_id=key.bot_id), "f", self.clock)
            self.bots.add(bot)
        bot.report(BotState.STARTING)
        bot.adapter = ScriptedAdapter(key, self.platform)
        bot.report(BotState.UP)
        return bot


@asynccontextmanager
async def booted(
    folder: Path, boot: int = 1, platform: Platform | None = None, clock: ManualClock | None = None, up: bool = True
) -> AsyncIterator[Rig]:
    clock, platform, log = clock or ManualClock(), platform or Platform(), MemoryLog()
    async with Database.opened(folder / "ledger.db", MIGRATIONS, log=log, clock=clock) as db:
        bots, moved = AdapterRegistry(), list[tuple[str, str]]()
        outbox = Outbox(
            db, bots, boot=boot, clock=clock, log=log, on_migrated=lambda _, old, new: moved.append((old, new))
        )
        rig = Rig(outbox, db, bots, platform, clock, moved)
        if up:
            rig.up()
        await outbox.recover()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outbox.run)
            with anyio.fail_after(20):
                yield rig
            tasks.cancel_scope.cancel()


class Script:
    """Ends the n-th send of a text with the n-th entry; None and beyond the end: it arrives."""

    def __init__(self, **ends: list[Exception | None]) -> None:
        self.ends = ends

    async def __call__(self, message: Outgoing) -> None:
        ends = self.ends.get(message.text.removeprefix(DUPLICATE_MARK), [])
        end = ends.pop(0) if ends else None
        if end is not None:
            raise end


async def test_parts_of_a_chat_arrive_in_order_and_once(tmp_path: Path) -> None:
    """A long text is cut, and its parts and the texts behind it arrive in the order they were stored (promise 5,
    DLV-05).
    """
    async with booted(tmp_path, platform=Platform(max_text=3)) as rig:
        await rig.post("abcdefgh", "x", "yz!1")
        assert await rig.platform.arrived(6) == ["abc", "def", "gh", "x", "yz!", "1"]
        await rig.idle()
        assert {state for state, _ in (await rig.rows()).values()} == {"sent"}
        assert [(one.part, one.of) for one in rig.platform.sent[:3]] == [(1, 3), (2, 3), (3, 3)]


async def test_many_chats_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """A chat whose send hangs holds back nobody else (DLV-03)."""
    hangs = asyncio.Event()

    async def on_send(message: Outgoing) -> None:
        if message.text == "slow":
            await hangs.wait()

    async with booted(tmp_path, platform=Platform(on_send=on_send)) as rig:
        await rig.post("slow", "behind", chat="c1")
        await rig.post("quick", chat="c2")
        assert await rig.platform.arrived(1) == ["quick"]
        hangs.set()
        assert await rig.platform.arrived(3) == ["quick", "slow", "behind"]


async def test_a_limit_parks_its_own_chat_only_and_exactly_so_long(tmp_path: Path) -> None:
    """429 with retry_after 7: no call in the window, order kept, other chats go on, nothing marked (DLV-03)."""
    platform = Platform(on_send=Script(one=[RateLimited("slow down", retry_after=7.0)]))
    async with booted(tmp_path, platform=platform) as rig:
        await rig.post("one", "two")
        await rig.clock.until_sleeping(7.0)
        await rig.post("else", chat="c2")
        assert await platform.arrived(1) == ["else"]
        tried = len(platform.tried)
        await rig.clock.advance(6.9)
        assert len(platform.tried) == tried
        await rig.clock.advance(0.2)
        assert await platform.arrived(3) == ["else", "one", "two"]


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
async def test_a_clock_that_is_set_makes_no_send_early_or_late(tmp_path: Path, jump: float) -> None:
    """The wall clock jumps a day while a chat waits: it waits exactly as long as it was asked to (OPS-08)."""
    platform = Platform(on_send=Script(one=[RateLimited("slow down", retry_after=30.0)]))
    async with booted(tmp_path, platform=platform) as rig:
        await rig.post("one")
        await rig.clock.until_sleeping(30.0)
        rig.clock.jump(jump)
        await rig.clock.advance(29.5)
        assert len(platform.tried) == 1
        await rig.clock.advance(1.0)
        assert await platform.arrived(1) == ["one"]


async def test_a_platform_that_is_away_gets_everything_in_order_afterwards(tmp_path: Path) -> None:
    """Unreachable for two hours: waits grow to five minutes, nothing given up or marked, order kept (DLV-04)."""
    away = [Unreachable("no route") for _ in range(30)]
    platform = Platform(on_send=Script(one=list(away)))
    async with booted(tmp_path, platform=platform) as rig:
        await rig.post("one", "two", "three")
        for n in range(30):
            await rig.clock.until_sleeping(min(300.0, 2.0**n))
            await rig.clock.advance(min(300.0, 2.0**n))
        assert await platform.arrived(3) == ["one", "two", "three"]


async def test_what_may_have_arrived_goes_out_again_with_a_mark(tmp_path: Path) -> None:
    """An ambiguous end is neither dropped nor repeated blindly, and what follows keeps its place (DLV-02)."""
    platform = Platform(on_send=Script(one=[Ambiguous("reset")]))
    async with booted(tmp_path, platform=platform) as rig:
        await rig.post("one", "two")
        await rig.stands("one", "ambiguous")
        await rig.clock.until_sleeping(1.0)
        await rig.clock.advance(1.0)
        assert await platform.arrived(2) == [DUPLICATE_MARK + "one", "two"]


async def test_a_mistake_of_an_adapter_is_doubt(tmp_path: Path) -> None:
    """An exception nobody knows counts as `may have arrived`, and the sender lives on (DLV-02)."""
    platform = Platform(on_send=Script(one=[KeyError("oops")]))
    async with booted(tmp_path, platform=platform) as rig:
        await rig.post("one")
        await rig.clock.until_sleeping(1.0)
        await rig.clock.advance(1.0)
        assert await platform.arrived(1) == [DUPLICATE_MARK + "one"]


async def test_doubt_outlives_a_limit_behind_it(tmp_path: Path) -> None:
    """Reset, then 429, then success: the copy that arrives is still marked (DLV-02)."""
    platform = Platform(on_send=Script(one=[Ambiguous("reset"), RateLimited("wait", retry_after=5.0)]))
    async with booted(tmp_path, platform=platform) as rig:
        await rig.post("one")
        for wait in (1.0, 5.0):
            await rig.clock.until_sleeping(wait)
            await rig.clock.advance(wait)
        assert await platform.arrived(1) == [DUPLICATE_MARK + "one"]


async def test_a_platform_that_shows_repeats_once_gets_no_mark(tmp_path: Path) -> None:
    """Where sends are idempotent the same id goes out again as it was (DLV-01)."""
    platform = Platform(on_send=Script(one=[Ambiguous("reset")]), idempotent=True)
    async with booted(tmp_path, platform=platform) as rig:
        await rig.post("one")
        await rig.clock.until_sleeping(1.0)
        await rig.clock.advance(1.0)
        assert await platform.arrived(1) == ["one"]
        assert platform.tried[0].delivery_id == platform.tried[1].delivery_id


async def test_a_part_nobody_will_take_does_not_block_the_next(tmp_path: Path) -> None:
    """Rejected for good: recorded with its reason, tried once, and the chat goes on (DLV-04, DLV-07)."""
    platform = Platform(on_send=Script(one=[Rejected("too long", reason="too_long")]))
    async with booted(tmp_path, platform=platform) as rig:
        await rig.post("one", "two")
        assert await platform.arrived(1) == ["two"]
        assert (await rig.rows())["one"] == ("failed", 1)


async def test_a_closed_topic_parks_its_part_until_the_bot_is_built_again(tmp_path: Path) -> None:
    """TOPIC_CLOSED: set aside, nothing goes anywhere else, and it goes out unmarked once taken up (ING-13)."""
    platform = Platform(on_send=Script(one=[Rejected("closed", reason="thread_closed")]))
    async with booted(tmp_path, platform=platform) as rig:
        await rig.post("one", "two")
        assert await platform.arrived(1) == ["two"]
        assert (await rig.rows())["one"][0] == "parked"
        await rig.outbox.take_up(MAIN)
        assert await platform.arrived(2) == ["two", "one"]


async def test_a_chat_that_moved_is_followed_in_order(tmp_path: Path) -> None:
    """400 migrate amid a queue: everything goes to the new id in order, nothing more to the old (ING-12)."""

    async def on_send(message: Outgoing) -> None:
        if message.address.chat_id == "old":
            raise Migrated("moved", new_chat_id="new")

    async with booted(tmp_path, platform=Platform(on_send=on_send)) as rig:
        await rig.post("one", "two", "three", chat="old")
        await rig.platform.arrived(3)
        assert rig.platform.texts("new") == ["one", "two", "three"]
        assert [one.address.chat_id for one in rig.platform.tried].count("old") == 1
        assert rig.moved == [("old", "new")]


async def test_a_move_that_is_announced_during_a_send_loses_nothing(tmp_path: Path) -> None:
    """The update about the migration comes while a part is on its way: each part arrives once, in order (ING-12)."""
    began, go = asyncio.Event(), asyncio.Event()

    async def on_send(message: Outgoing) -> None:
        if message.text == "one" and not go.is_set():
            began.set()
            await go.wait()
            raise Unreachable("refused")

    async with booted(tmp_path, platform=Platform(on_send=on_send)) as rig:
        await rig.post("one", "two", chat="old")
        await began.wait()
        at = rig.clock.now()
        await rig.ledger.write(lambda tx: chat.migrate(tx, MAIN, "old", "new", at=at))
        rig.outbox.migrated(MAIN, "old", "new")
        go.set()
        await rig.stands("one", "pending")
        await rig.clock.until_sleeping(1.0)
        await rig.outbox.post(rig.at("new"), "three")
        await rig.clock.advance(1.0)
        await rig.idle()
        assert rig.platform.texts("new") == ["one", "two", "three"]


async def test_what_waited_under_the_old_id_goes_before_what_came_under_the_new(tmp_path: Path) -> None:
    """Both queues meet in the new chat: first the older parts, in order, then the newer ones (ING-12)."""
    async with booted(tmp_path) as rig:
        rig.bots[MAIN].report(BotState.STARTING)
        await rig.post("one", "two", chat="old")
        await rig.post("three", chat="new")
        rig.outbox.migrated(MAIN, "old", "new")
        rig.up()
        await rig.platform.arrived(3)
        assert rig.platform.texts("new") == ["one", "two", "three"]


async def test_a_chat_that_moved_to_itself_is_not_asked_in_a_circle(tmp_path: Path) -> None:
    """A migration answer that names the same id waits like an error instead of spinning (DLV-07)."""
    platform = Platform(on_send=Script(one=[Migrated("moved", new_chat_id="c1")]))
    async with booted(tmp_path, platform=platform) as rig:
        await rig.post("one")
        await rig.clock.until_sleeping(1.0)
        assert len(platform.tried) == 1
        await rig.clock.advance(1.0)
        assert await platform.arrived(1) == ["one"]


async def test_a_bot_without_an_adapter_keeps_its_messages_and_the_loop_turns(tmp_path: Path) -> None:
    """An adapter fails and waits for its restart: the queue waits without spinning and goes out then (OPS-01)."""
    async with booted(tmp_path) as rig:
        bot = rig.bots[MAIN]
        bot.report(BotState.DEGRADED, "the adapter failed")
        await close(bot, MemoryLog())
        await rig.post("one")
        await rig.post("quick", chat="c2")
        assert rig.platform.texts() == []
        rig.up()
        assert sorted(await rig.platform.arrived(2)) == ["one", "quick"]
        await rig.stands("one", "sent")
        assert (await rig.rows())["one"][1] == 1


async def test_a_token_that_is_refused_waits_for_a_new_one(tmp_path: Path) -> None:
    """401 on a send: the bot shows it, everything waits, and goes out unmarked after the repair (DLV-07)."""
    platform = Platform(on_send=Script(one=[Unauthorized("401")]))
    async with booted(tmp_path, platform=platform) as rig:
        await rig.post("one", "two")
        await rig.clock.until_sleeping(1.0)
        assert rig.bots[MAIN].state is BotState.UNAUTHORIZED
        await rig.clock.advance(60.0)
        await rig.rows()
        assert len(platform.tried) == 1
        rig.up()
        assert await platform.arrived(2) == ["one", "two"]


async def test_a_bot_that_leaves_takes_its_queue_aside_and_finds_it_again(tmp_path: Path) -> None:
    """Removed: its parts are parked, other bots untouched; configured again: sent in order (RT-06)."""
    async with booted(tmp_path) as rig:
        rig.up(OTHER)
        rig.bots[MAIN].report(BotState.STARTING)
        await rig.post("one", "two")
        bot = rig.bots.remove(MAIN)
        assert bot is not None
        bot.leave()
        await rig.outbox.park(MAIN, "gone")
        assert {state for state, _ in (await rig.rows()).values()} == {"parked"}
        await rig.post("late")
        await rig.stands("late", "parked")
        await rig.post("mine", key=OTHER)
        assert await rig.platform.arrived(1) == ["mine"]
        rig.up()
        await rig.outbox.take_up(MAIN)
        assert await rig.platform.arrived(4) == ["mine", "one", "two", "late"]


@pytest.mark.parametrize("end", [None, Ambiguous("closed"), Unreachable("closed"), Unauthorized("401")])
async def test_a_bot_may_leave_in_the_middle_of_a_send(tmp_path: Path, end: Exception | None) -> None:
    """The part on its way comes to its end, what follows is set aside whole, and the sender lives on (RT-06)."""
    began, go = asyncio.Event(), asyncio.Event()

    async def on_send(message: Outgoing) -> None:
        if message.text == "one" and not go.is_set():
            began.set()
            await go.wait()
            if end is not None:
                raise end

    async with booted(tmp_path, platform=Platform(on_send=on_send)) as rig:
        await rig.post("one", "two", "three")
        await began.wait()
        bot = rig.bots.remove(MAIN)
        assert bot is not None
        bot.leave()
        await rig.outbox.park(MAIN, "gone")
        go.set()
        await rig.stands("one", "sent" if end is None else "parked")
        rows = await rig.rows()
        assert {rows["two"][0], rows["three"][0]} == {"parked"}
        rig.up()
        await rig.outbox.take_up(MAIN)
        await rig.platform.until(lambda: len(rig.platform.sent) == 3)
        mark = DUPLICATE_MARK if isinstance(end, Ambiguous) else ""
        assert rig.platform.texts() == [mark + "one", "two", "three"]


async def test_taking_up_a_bot_sends_nothing_twice(tmp_path: Path) -> None:
    """An adapter that reconnects while parts are stored and sent repeats none of them (DLV-01)."""
    async with booted(
        tmp_path, platform=Platform(on_send=Script(first=[Rejected("closed", reason="thread_closed")]))
    ) as rig:
        await rig.post("first")
        async with anyio.create_task_group() as tasks:
            for n in range(60):
                tasks.start_soon(rig.outbox.post, rig.at(f"c{n % 7}"), f"t{n}")
                if n % 5 == 0:
                    tasks.start_soon(rig.outbox.take_up, MAIN)
        await rig.idle()
        assert sorted(rig.platform.texts()) == sorted([*(f"t{n}" for n in range(60)), "first"])


async def test_a_crash_around_a_send_is_marked_and_only_that(tmp_path: Path) -> None:
    """Killed with a part on its way: the next boot sends it again marked, the ones behind plain (DLV-01, DLV-05)."""
    async with Database.opened(tmp_path / "ledger.db", MIGRATIONS, log=MemoryLog(), clock=ManualClock()) as db:
        drafts = [delivery.Draft(f"d{n}", Address(MAIN, "c1"), n, 3, f"p{n}") for n in (1, 2, 3)]
        await db.write(lambda tx: delivery.insert(tx, drafts, turn_id=None, boot=1, at=1.0, begin_first=True))
    async with booted(tmp_path, boot=2) as rig:
        assert await rig.platform.arrived(3) == [DUPLICATE_MARK + "p1", "p2", "p3"]
        assert [one.delivery_id for one in rig.platform.sent] == ["d1", "d2", "d3"]


async def test_a_part_that_is_stored_begun_is_sent_without_a_second_write(tmp_path: Path) -> None:
    """A claimed chat's part, stored as begun, arrives once; a claim that is given back frees the chat."""
    async with booted(tmp_path) as rig:
        place = rig.at()
        assert rig.outbox.claim(place)
        assert not rig.outbox.claim(place)
        drafts = rig.outbox.drafts(place, "one")
        rows = await rig.ledger.write(
            lambda tx: delivery.insert(tx, drafts, turn_id=None, boot=1, at=1.0, begin_first=True)
        )
        await rig.post("behind")
        rig.outbox.add(rows, claimed=True)
        assert sorted(await rig.platform.arrived(2)) == ["behind", "one"]
        await rig.idle()
        while not rig.outbox.claim(place):
            await rig.rows()
        rig.outbox.release(place)
        await rig.post("again")
        assert (await rig.platform.arrived(3))[-1] == "again"


async def test_a_stop_waits_for_what_is_on_its_way_and_begins_nothing(tmp_path: Path) -> None:
    """Drain: the send in flight ends, the next part does not begin, and it is not taken for doubtful later (OPS-02)."""
    began, go = asyncio.Event(), asyncio.Event()

    async def on_send(message: Outgoing) -> None:
        began.set()
        await go.wait()

    async with booted(tmp_path, platform=Platform(on_send=on_send)) as rig:
        await rig.post("one", "two")
        await began.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rig.outbox.drain)
            await anyio.wait_all_tasks_blocked()
            go.set()
        assert {text: state for text, (state, _) in (await rig.rows()).items()} == {"one": "sent", "two": "pending"}
    async with booted(tmp_path, boot=2) as rig:
        assert await rig.platform.arrived(1) == ["two"]


async def test_a_part_begun_but_never_sent_before_a_stop_is_not_marked(tmp_path: Path) -> None:
    """Stored as begun in the last moment before the drain ended: the next boot sends it plain (OPS-02)."""
    async with booted(tmp_path) as rig:
        place = rig.at()
        assert rig.outbox.claim(place)
        drafts = rig.outbox.drafts(place, "one")
        rows = await rig.ledger.write(
            lambda tx: delivery.insert(tx, drafts, turn_id=None, boot=1, at=1.0, begin_first=True)
        )
        rig.bots[MAIN].report(BotState.STARTING)
        rig.outbox.add(rows, claimed=True)
        await rig.outbox.drain()
        assert (await rig.rows())["one"] == ("pending", 1)
    async with booted(tmp_path, boot=2) as rig:
        assert await rig.platform.arrived(1) == ["one"]


async def test_a_cancelled_writer_loses_no_row(tmp_path: Path) -> None:
    """Whoever posts is cancelled at the worst moment: what was stored is sent, the chat is not blocked (TRN-08)."""
    async with booted(tmp_path) as rig:
        for n in range(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(rig.outbox.post, rig.at(), f"t{n}")
                await asyncio.sleep(0)
                tasks.cancel_scope.cancel()
        await rig.post("last")
        await rig.idle()
        stored = [text for text, (state, _) in (await rig.rows()).items() if state == "sent"]
        assert rig.platform.texts() == stored
        assert stored[-1] == "last"


async def test_text_that_cannot_be_encoded_is_still_sent(tmp_path: Path) -> None:
    """Lone surrogates and emptiness neither break the ledger nor block the chat (TRN-03)."""
    async with booted(tmp_path) as rig:
        await rig.post("a\ud800b", "", "ok")
        assert await rig.platform.arrived(3) == ["a?b", "(no text)", "ok"]


async def test_random_weather_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """300 parts to 9 chats through seeded errors of every kind: each arrives, in order, once or marked (DLV-02..04)."""
    dice = random.Random(20)
    arrived: list[str] = []

    async def on_send(message: Outgoing) -> None:
        roll = dice.random()
        await asyncio.sleep(0)
        if roll < 0.1:
            raise RateLimited("wait", retry_after=dice.uniform(0, 5))
        if roll < 0.2:
            raise Unreachable("away")
        if roll < 0.25:
            raise Ambiguous("lost before")
        if roll < 0.3:
            arrived.append(message.text)
            raise Ambiguous("lost after")

    async with booted(tmp_path, platform=Platform(on_send=on_send)) as rig:
        for n in range(300):
            await rig.post(f"{n:03}", chat=f"c{n % 9}")
        while any(s != "sent" for s, _ in (await rig.rows()).values()):
            await rig.clock.advance(5.0)
        for chat in range(9):
            got = [text.removeprefix(DUPLICATE_MARK) for text in rig.platform.texts(f"c{chat}")]
            assert got == [f"{n:03}" for n in range(chat, 300, 9)]
        everything = [*arrived, *rig.platform.texts()]
        unmarked = [text for text in everything if not text.startswith(DUPLICATE_MARK)]
        assert len(unmarked) == len(set(unmarked))
