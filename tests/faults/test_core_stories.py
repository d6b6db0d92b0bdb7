"""The core under what really happens: many topics, long absences, set clocks, crash loops, echoing bots, full logs."""

import asyncio
import random
from typing import Any

import anyio
import pytest

from hermesd.clock import SystemClock
from hermesd.delivery.policy import DUPLICATE_MARK
from hermesd.errors import Unreachable
from hermesd.message import Outgoing
from hermesd.ports import BotState


async def test_every_token_returns_to_its_own_topic(home: Any) -> None:
    """50 topics over two bots, 600 messages, reloads, a crash and failing sends in between: each answer is in the bot,
    chat and topic of its message, in order, none is one behind (DLV-08).
    """
    home.bot("second")
    home.settings["limits"] = {"lane_queue": 200}
    for name in ("a", "b"):
        home.profile(name)
    dice = random.Random(8)

    async def on_send(message: Outgoing) -> None:
        await asyncio.sleep(0)
        if dice.random() < 0.02:
            raise Unreachable("away")

    async def answers(profile: str, request: Any, gate: Any) -> str:
        for _ in range(dice.randrange(5)):
            await asyncio.sleep(0)
        return request.prompt

    home.platform.on_send, home.models.answers = on_send, answers
    said: dict[tuple[str, str, str], list[str]] = {}
    serial = 0
    for life in range(2):
        async with home.crashing() if life == 0 else home.running() as daemon:
            for n in range(300):
                bot, topic = dice.choice(["main", "second"]), str(dice.randrange(25))
                token, serial = f"<{serial:03}>", serial + 1
                said.setdefault((bot, "forum", topic), []).append(token)
                await daemon.says(token, to=bot, chat="forum", thread=topic)
                if n % 75 == 40:
                    home.route("forum", dice.choice(["a", "b"]), thread=str(dice.randrange(25)))
                    home.save()
                    await daemon.reloader.reload()
            if life == 1:
                while (await daemon.rows(_OPEN))[0][0]:
                    await home.clock.advance(1.0)
    _all_at_home(home, said)


def _all_at_home(home: Any, said: dict[tuple[str, str, str], list[str]]) -> None:
    heard: dict[tuple[str, str, str], list[str]] = {}
    for one in home.platform.sent:
        heard.setdefault((one.address.adapter.bot_id, one.address.chat_id, one.address.thread_id), []).append(one.text)
    moved = home.settings["routes"]["scripted"]["forum"]
    assert sum(place[2] not in moved for place in said) > 20
    for place, tokens in said.items():
        plain = [text for text in heard[place] if not text.startswith(DUPLICATE_MARK)]
        assert len(plain) == len(set(plain)), place
        once = list(dict.fromkeys(text.removeprefix(DUPLICATE_MARK) for text in heard[place]))
        # a reload may move a topic to another profile, whose turns do not wait for the first one's
        assert (sorted(once) if place[2] in moved else once) == tokens, place


_OPEN = """
SELECT (SELECT count(*) FROM inbound WHERE state = 'received')
     + (SELECT count(*) FROM turn WHERE state IN ('queued', 'running'))
     + (SELECT count(*) FROM delivery WHERE state IN ('pending', 'attempting', 'ambiguous'))
"""


async def test_messages_of_an_absence_are_all_accounted_for(home: Any) -> None:
    """Two hours down, then 50 messages at once: each is answered or visibly refused, none silently dropped (ING-07)."""
    async with home.running() as daemon:
        await daemon.asks("before")
    await home.clock.advance(7200.0)
    events = [home.platform.event(f"n{n}", chat=f"c{n % 5}") for n in range(50)]
    async with home.running() as daemon:
        await daemon.bot().receive(*events, cursor="50")
        await daemon.settled()
        assert await daemon.rows("SELECT count(*) FROM inbound WHERE state IN ('queued', 'refused')") == [(51,)]
        assert await daemon.rows("SELECT value FROM cursor") == [("50",)]
    assert len(home.platform.sent) == 51


async def test_two_echoing_bots_do_not_talk_to_each_other(home: Any) -> None:
    """Whatever one bot writes is read by the other as a bot's words: no turn, the circle never begins (ING-15)."""
    home.bot("second")
    async with home.running() as daemon:
        await daemon.says("hello", chat="room", kind="group")
        for _ in range(5):
            many = len(home.platform.sent)
            for one in list(home.platform.sent):
                other = "second" if one.address.adapter.bot_id == "main" else "main"
                await daemon.says(one.text, to=other, chat="room", kind="group", user="the-bot", bot=True)
            await daemon.settled()
            assert len(home.platform.sent) == max(many, 1)
        assert await daemon.rows("SELECT count(*) FROM turn") == [(1,)]


async def test_a_clock_that_is_set_starts_nothing_and_loses_nothing(home: Any) -> None:
    """Now a day back, now a day ahead: messages are answered once, in order, repeats stay repeats, the budget day is
    the wall's own, a pairing code ends by the wall, and a restart finds nothing to do again (OPS-08).
    """
    home.settings["limits"] = {"spend": {"user": {"turns": 3}}}
    async with home.running() as daemon:
        first = await daemon.says("n0")
        for n, jump in enumerate((-86_400.0, 86_400.0, 86_400.0, -86_400.0), 1):
            await daemon.settled()
            home.clock.jump(jump)
            await daemon.says(f"n{n}")
            assert await daemon.bot().receive(first) == 0
        await daemon.settled()
        days = await daemon.rows("SELECT turns FROM usage WHERE scope = 'user' ORDER BY day")
    assert days == [(1,), (3,), (1,)]
    home.clock.jump(-86_400.0)
    async with home.running() as daemon:
        await daemon.settled()
        assert daemon.ground.live.safe_mode == ""
    texts = [text for text in home.platform.texts() if not text.startswith("(")]
    assert texts == [f"default: n{n}" for n in range(5)]


async def test_a_crash_loop_stops_spending_and_goes_on_by_hand(home: Any) -> None:
    """Ten starts end in a crash: the next takes messages, asks no model, says so once per place; `resume all` goes on,
    and after a quiet while a start is a normal one again (OPS-13).
    """
    for _ in range(10):
        async with home.crashing():
            pass
    async with home.crashing() as daemon:
        assert "daemon.safe_mode" in daemon.actions()
        for n in range(3):
            await daemon.says(f"n{n}")
        await daemon.decided()
        await home.platform.arrived(1)
        assert home.models.asked == []
        assert len(await daemon.queued()) == 3
        await daemon.asks("/resume all", user="boss", chat="admin")
        await daemon.settled()
        assert home.platform.texts("c1")[-3:] == [f"default: n{n}" for n in range(3)]
        assert len(home.platform.texts("c1")) == 4
    await home.clock.advance(301.0)
    async with home.running() as daemon:
        assert daemon.ground.live.safe_mode == ""


async def test_orderly_ends_are_no_crashes(home: Any) -> None:
    """Twenty quick restarts by hand never look like a crash loop (OPS-13)."""
    for _ in range(12):
        async with home.running() as daemon:
            assert daemon.ground.live.safe_mode == ""


async def test_an_error_storm_does_not_flood_the_log(home: Any) -> None:
    """2,000 unreadable events in one second: each is on record in the ledger, the log has a few lines (OPS-14)."""
    async with home.running() as daemon:
        before = len(daemon.log)
        await daemon.bot().receive(*(home.platform.event("x", bad="storm") for _ in range(2000)))
        await daemon.settled()
        lines = [line for line in daemon.log[before:] if line.get("action") == "inbound.quarantine"]
        assert await daemon.rows("SELECT count(*) FROM inbound WHERE state = 'quarantined'") == [(2000,)]
    assert len(lines) <= 2


async def test_one_bad_bot_of_five_harms_nobody(home: Any) -> None:
    """One crashes for ever, one hangs in connect: the three others answer while both are retried (OPS-01)."""
    for name in ("bad", "hangs", "x", "y"):
        home.bot(name)
    hang = asyncio.Event()

    async def connect(key: Any) -> None:
        if key.bot_id == "bad":
            raise KeyError("broken adapter")
        if key.bot_id == "hangs":
            await hang.wait()

    home.platform.on_connect = connect
    async with home.running() as daemon:
        for _ in range(10):
            await daemon.state("bad", BotState.DEGRADED)
            for name in ("main", "x", "y"):
                assert await daemon.asks(f"to {name}", to=name, chat=name) == f"default: to {name}"
            await home.clock.advance(60.0)
        built = {key.bot_id: many for key, many in home.platform.built.items()}
        assert built.pop("bad") > 5
        assert set(built.values()) == {1}
        hang.set()
        await daemon.state("hangs", BotState.UP)


async def test_a_stop_under_load_loses_and_doubles_nothing(home: Any) -> None:
    """SIGTERM with 20 turns that never end: parked without an attempt, answered after the start (OPS-02)."""
    home.settings["drain_seconds"] = 1.0
    home.settings["limits"] = {"turns_per_profile": 64}
    began = asyncio.Semaphore(0)

    async def answers(profile: str, request: Any, gate: Any) -> str:
        began.release()
        await asyncio.Event().wait()
        return ""

    home.models.answers = answers
    async with home.running() as daemon:
        for n in range(20):
            await daemon.says(f"n{n}", chat=f"c{n}")
        for _ in range(20):
            await began.acquire()
    home.models.answers = None
    async with home.running() as daemon:
        assert await daemon.rows("SELECT count(*) FROM boot WHERE ended_at IS NULL") == [(1,)]
        await daemon.settled()
        assert await daemon.rows("SELECT DISTINCT state, attempts FROM turn") == [("done", 1)]
    assert sorted(home.platform.texts()) == sorted(f"default: n{n}" for n in range(20))


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_send_that_a_stop_cuts_off_is_marked(home: Any, signals: int) -> None:
    """SIGTERM while a send hangs: it ends within its budget, and the next start sends that part marked (OPS-02)."""
    home.settings["drain_seconds"] = 0.5
    hanging = asyncio.Event()

    async def on_send(message: Outgoing) -> None:
        hanging.set()
        await asyncio.Event().wait()

    home.platform.on_send = on_send
    with anyio.fail_after(10):
        async with home.running() as daemon:
            await daemon.says("one")
            await hanging.wait()
            if signals == 2:
                daemon.life._asked_to_stop()
    home.platform.on_send = None
    async with home.running() as daemon:
        await daemon.settled()
    assert home.platform.texts() == [DUPLICATE_MARK + "default: one"]


async def test_a_stop_on_a_full_disk_still_ends(home: Any) -> None:
    """SIGTERM while the disk takes no writes and a turn wants to end: the process ends in its budget; afterwards the
    message is answered (OPS-02, OPS-04).
    """
    home.settings["drain_seconds"] = 0.5
    home.clock = SystemClock()
    full = "PRAGMA max_page_count = 1"
    began = asyncio.Event()

    async def answers(profile: str, request: Any, gate: Any) -> str:
        if not began.is_set():
            await daemon.rows(full)
            began.set()
            return "x" * 100_000
        return "answered"

    home.models.answers = answers
    with anyio.fail_after(20):
        async with home.running() as daemon:
            await daemon.says("one")
            await began.wait()
            while daemon.ground.ledger.health.state == "ok":
                await daemon.rows("SELECT 1")
    async with home.running() as daemon:
        await daemon.settled()
    assert home.platform.texts() == ["answered"]
