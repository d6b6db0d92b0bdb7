"""From an event to a decision, over the real house."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from hermesd.daemon.calls import Birth, Calls
from hermesd.delivery.policy import DUPLICATE_MARK
from hermesd.message import RawEvent
from hermesd.testing.scripted import ScriptedAdapter


class Slow:
    """A model that answers when the test lets it."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, profile: str, request: Any, gate: Any) -> str:
        self.began.set()
        await self.go.wait()
        return f"{profile}: {request.prompt}"


async def test_a_message_is_answered_where_it_came_from(home: Any) -> None:
    """One message, one turn, one answer, in its own chat and thread (promise 1, promise 5)."""
    async with home.running() as daemon:
        assert await daemon.asks("hello", chat="c7", thread="t3") == "default: hello"
        (sent,) = home.platform.sent
        assert (sent.address.chat_id, sent.address.thread_id) == ("c7", "t3")
        await daemon.settled()
        assert await daemon.rows("SELECT state, attempts FROM turn") == [("done", 1)]


async def test_the_same_event_again_is_nothing_new(home: Any) -> None:
    """Handed in five times, also after a restart: stored once, answered once (ING-03)."""
    event = home.platform.event("hello")
    async with home.running() as daemon:
        assert [await daemon.bot().receive(event) for _ in range(3)] == [1, 0, 0]
        await daemon.settled()
    async with home.running() as daemon:
        assert [await daemon.bot().receive(event) for _ in range(2)] == [0, 0]
        await daemon.settled()
    assert home.platform.texts() == ["default: hello"]


async def test_the_same_message_under_new_event_ids_is_answered_once(home: Any) -> None:
    """In one batch and later, as text and as a command: one turn, one run (ING-03, ING-09)."""
    async with home.running() as daemon:
        twins = [home.platform.event("hello", key="same") for _ in range(3)]
        await daemon.bot().receive(*twins)
        await daemon.says("hello", key="same")
        for _ in range(3):
            await daemon.says("/new plans", key="command")
        await daemon.settled()
        assert await daemon.rows("SELECT count(*) FROM turn") == [(1,)]
        reasons = await daemon.rows("SELECT state, reason FROM inbound ORDER BY seq")
    assert len(home.platform.sent) == 2
    assert reasons.count(("ignored", "repeat")) == 5


async def test_update_numbers_may_jump_back(home: Any) -> None:
    """Ids are members of a set, not a high-water mark (ING-04)."""
    async with home.running() as daemon:
        for number in (900_000_000, 100_000, 900_000_001, 5):
            await daemon.says(f"n{number}", id=str(number))
        await daemon.settled()
    assert len(home.platform.sent) == 4


async def test_one_unreadable_event_stops_nobody(home: Any) -> None:
    """The bad one of three is kept and quarantined, in log and audit; both others are answered (ING-02)."""
    async with home.running() as daemon:
        bad = home.platform.event("x", bad="\ud800\x00 nonsense")
        await daemon.bot().receive(home.platform.event("a"), bad, home.platform.event("b"))
        await daemon.settled()
        assert sorted(home.platform.texts()) == ["default: a", "default: b"]
        rows = await daemon.rows("SELECT state, raw IS NOT NULL FROM inbound ORDER BY seq")
        assert rows == [("queued", 1), ("quarantined", 1), ("queued", 1)]
        assert await daemon.rows("SELECT count(*) FROM audit WHERE kind = 'inbound.quarantined'") == [(1,)]
        assert "inbound.quarantine" in daemon.actions()


async def test_a_mistake_of_ours_over_one_event_stops_no_other(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that breaks the gateway itself is quarantined alone; its neighbours are answered (ING-02)."""
    parse = ScriptedAdapter.parse

    def poisoned(self: ScriptedAdapter, event: RawEvent) -> Any:
        messages = parse(self, event)
        return [replace(one, message_key=object()) for one in messages] if event.raw["text"] == "poison" else messages

    monkeypatch.setattr(ScriptedAdapter, "parse", poisoned)
    async with home.running() as daemon:
        events = [home.platform.event(text) for text in ("a", "poison", "b", "/whoami", "c")]
        await daemon.bot().receive(*events)
        await daemon.settled()
        assert await daemon.rows("SELECT state FROM inbound WHERE seq = 2") == [("quarantined",)]
    assert len(home.platform.sent) == 4


async def test_an_event_that_kills_is_found_among_innocents(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three starts die over one of twenty events; the fourth puts it away and answers the rest (ING-06)."""

    class Died(BaseException):
        pass

    parse, deaths = ScriptedAdapter.parse, []

    def deadly(self: ScriptedAdapter, event: RawEvent) -> Any:
        if event.raw["text"] == "poison":
            deaths.append(1)
            raise Died
        return parse(self, event)

    monkeypatch.setattr(ScriptedAdapter, "parse", deadly)

    async def dies(received: list[RawEvent]) -> None:
        async with home.crashing() as daemon:
            await daemon.bot().receive(*received)
            await asyncio.Event().wait()

    events = [home.platform.event("poison" if n == 7 else f"n{n}") for n in range(20)]
    for start in range(3):
        with pytest.raises(BaseExceptionGroup):
            await dies(events if start == 0 else [])
    async with home.running() as daemon:
        await daemon.settled()
        assert await daemon.rows("SELECT event_id FROM inbound WHERE state = 'quarantined'") == [(events[7].event_id,)]
    assert len(deaths) == 3
    plain = [text for text in home.platform.texts() if not text.startswith(DUPLICATE_MARK)]
    assert len(plain) == len(set(plain))
    answered = {text.removeprefix(DUPLICATE_MARK) for text in home.platform.texts()}
    assert answered == {f"default: n{n}" for n in range(20) if n != 7}


async def test_an_edit_changes_what_still_waits_and_nothing_else(home: Any) -> None:
    """Edited while it waits: the new text is answered. While it runs, after it, by somebody else, or without a
    message: no turn, no answer (ING-14).
    """
    slow = home.models.answers = Slow()
    async with home.running() as daemon:
        await daemon.says("first", key="m1")
        await slow.began.wait()
        await daemon.says("second", key="m2")
        await daemon.says("other", key="m2", what="edit", user="eve")
        await daemon.says("2nd", key="m2", what="edit")
        await daemon.says("1st", key="m1", what="edit")
        await daemon.says("ghost", key="m9", what="edit")
        await daemon.decided()
        assert [turn.text for turn in await daemon.queued()] == ["2nd"]
        slow.go.set()
        await daemon.settled()
        await daemon.says("late", key="m2", what="edit")
        await daemon.settled()
        assert await daemon.rows("SELECT count(*) FROM turn") == [(2,)]
    assert home.platform.texts() == ["default: first", "default: 2nd"]


async def test_an_edit_in_the_same_batch_is_what_runs(home: Any) -> None:
    """Message and edit arrive together: the turn runs with the edited text, once (ING-14)."""
    async with home.running() as daemon:
        said = home.platform.event("before", key="m1")
        edit = home.platform.event("after", key="m1", what="edit")
        await daemon.bot().receive(said, edit)
        await daemon.settled()
        assert await daemon.rows("SELECT text, state FROM turn") == [("after", "done")]
    assert home.platform.texts() == ["default: after"]


@pytest.mark.parametrize("text", ["/stop", "/new", "/pause all", "/undo", "/retry"])
async def test_an_edit_is_never_a_command(home: Any, text: str) -> None:
    """A message edited into a command does nothing, before, during and after its turn (ING-14)."""
    slow = home.models.answers = Slow()
    async with home.running() as daemon:
        await daemon.says("hello", key="m1", user="boss")
        await slow.began.wait()
        await daemon.says(text, key="m1", what="edit", user="boss")
        await daemon.says(text, key="unknown", what="edit", user="boss")
        await daemon.decided()
        slow.go.set()
        await daemon.settled()
        await daemon.says(text, key="m1", what="edit", user="boss")
        await daemon.settled()
        assert await daemon.rows("SELECT state FROM turn") == [("done",)]
        assert daemon.ground.live.pauses == {}
    assert home.platform.texts() == ["default: hello"]


async def test_bots_and_service_messages_are_read_and_left(home: Any) -> None:
    """Written by a bot, a join, an event of no interest, an empty text: remembered, silent, no turn (ING-15)."""
    async with home.running() as daemon:
        await daemon.says("hello from a bot", bot=True)
        await daemon.says("joined", what="service")
        await daemon.says("x", nothing=True)
        await daemon.says("  ")
        await daemon.decided()
        reasons = [reason for (reason,) in await daemon.rows("SELECT reason FROM inbound ORDER BY seq")]
        assert reasons == ["written by a bot", "service message", "of no interest", "nothing in it"]
        assert await daemon.rows("SELECT count(*) FROM turn") == [(0,)]
    assert home.platform.sent == []


async def test_a_post_that_is_addressed_by_its_second_event_is_answered(home: Any) -> None:
    """First seen as a plain post of the group, then as a mention of the bot under the same key: one answer (ING-09)."""
    async with home.running() as daemon:
        await daemon.says("bot, hi", key="p1", kind="group", addressed=False)
        await daemon.says("bot, hi", key="p1", kind="group")
        await daemon.says("bot, hi", key="p1", kind="group", addressed=False)
        await daemon.settled()
    assert home.platform.texts() == ["default: bot, hi"]


async def test_a_bot_that_observes_never_answers(home: Any) -> None:
    """observe_only: messages and commands are stored and nothing is sent."""
    home.bot("main", observe_only=True)
    async with home.running() as daemon:
        await daemon.says("hello")
        await daemon.says("/status", user="boss")
        await daemon.decided()
    assert home.platform.sent == []


async def test_a_full_conversation_says_so_and_keeps_what_it_took(home: Any) -> None:
    """Beyond the queue each message is refused visibly; what was taken is answered in order; another chat is free."""
    home.settings["limits"] = {"lane_queue": 3}
    slow = home.models.answers = Slow()
    async with home.running() as daemon:
        await daemon.says("n0")
        await slow.began.wait()
        for n in range(1, 6):
            await daemon.says(f"n{n}")
        await daemon.says("free", chat="c2")
        await daemon.decided()
        await home.platform.arrived(2)
        assert all(text.startswith("3 messages are waiting here already") for text in home.platform.texts())
        slow.go.set()
        await daemon.settled()
    assert home.platform.texts("c1")[2:] == ["default: n0", "default: n1", "default: n2", "default: n3"]
    assert home.platform.texts("c2") == ["default: free"]


async def test_commands_between_messages_do_not_fill_a_conversation(home: Any) -> None:
    """Messages of one batch that are in their lane already count once, whatever commands stand between them."""
    home.settings["limits"] = {"lane_queue": 4}
    slow = home.models.answers = Slow()
    async with home.running() as daemon:
        events = [home.platform.event(text) for text in ("a", "/whoami", "b", "/whoami", "c", "/whoami", "d", "e")]
        await daemon.bot().receive(*events)
        await daemon.decided()
        slow.go.set()
        await daemon.settled()
    assert [text for text in home.platform.texts() if "waiting" in text] == []
    assert len(home.platform.sent) == 8


async def test_a_stranger_gets_one_code_and_an_operator_lets_them_in(home: Any) -> None:
    """Unknown in a direct message: one pairing code however often they write; approved, they may talk."""
    home.bot("main", allow=["ada"])
    async with home.running() as daemon:
        for n in range(4):
            await daemon.says(f"hi{n}", user="eve")
        await daemon.decided()
        (offer,) = await home.platform.arrived(1)
        ((code,),) = await daemon.rows("SELECT code FROM pairing WHERE state = 'asked'")
        assert code in offer
        assert "`eve`" in offer
        calls = Calls(daemon.house.desk, Birth(1, 0.0, "", home.root))
        await calls.pairing_approve({"code": code.lower()})
        await home.platform.arrived(2)
        assert await daemon.asks("now", user="eve") == "default: now"
        await daemon.settled()
    assert len(home.platform.sent) == 3


async def test_a_code_expires_and_a_new_one_is_given(home: Any) -> None:
    """After its hour a code opens nothing, and the next message brings another one."""
    home.bot("main", allow=["ada"])
    async with home.running() as daemon:
        first = await daemon.asks("hi", user="eve")
        await home.clock.advance(3601.0)
        second = await daemon.asks("hi again", user="eve")
        assert first != second
        codes = await daemon.rows("SELECT state FROM pairing ORDER BY created_at")
        assert codes == [("expired",), ("asked",)]


async def test_a_group_stranger_is_refused_once(home: Any) -> None:
    """Not on the list in a group: told once per person, with the id; nobody else's message wakes it (promise 6)."""
    home.bot("main", allow=["ada"])
    async with home.running() as daemon:
        for user in ("eve", "eve", "bob", "eve"):
            await daemon.says("hi", user=user, kind="group")
        await daemon.decided()
        texts = await home.platform.arrived(2)
        assert await daemon.rows("SELECT count(*) FROM turn") == [(0,)]
        assert await daemon.rows("SELECT count(*) FROM audit WHERE kind = 'message.refused'") == [(4,)]
    assert ["`eve`" in texts[0], "`bob`" in texts[1], len(home.platform.sent)] == [True, True, 2]


async def test_where_nothing_is_routed_it_says_so(home: Any) -> None:
    """default_profile null and no route: a visible refusal that names /whereami, no turn anywhere (RT-02)."""
    home.settings["default_profile"] = None
    async with home.running() as daemon:
        assert "/whereami" in await daemon.asks("hello")
        assert "PROFILE" in await daemon.asks("/whereami")
        assert await daemon.rows("SELECT count(*) FROM turn") == [(0,)]


async def test_a_chat_that_moved_takes_its_queue_along(home: Any) -> None:
    """Migration with messages waiting: answered under the new id; route and history follow (ING-12)."""
    home.profile("career")
    home.route("old", "career")
    slow = home.models.answers = Slow()
    async with home.running() as daemon:
        await daemon.says("one", chat="old", kind="group", user="ada")
        await slow.began.wait()
        await daemon.says("two", chat="old", kind="group", user="ada")
        await daemon.says("moved", chat="old", kind="group", what="migration", moved_to="new")
        await daemon.says("three", chat="new", kind="group", user="ada")
        await daemon.decided()
        slow.go.set()
        await daemon.settled()
    assert home.platform.texts("new") == ["career: two", "career: three"]
    assert [text for text in home.platform.texts() if text.startswith("career: one")]
    async with home.running() as daemon:
        assert await daemon.asks("four", chat="new", kind="group", user="ada") == "career: four"
        history = home.models.asked[-1][1].history
        assert {"two", "three"} <= {row.text for row in history}


async def test_surrogates_in_names_texts_and_files_are_harmless(home: Any) -> None:
    """A lone surrogate in text, display name or attachment name is answered like any other message (TRN-03)."""
    async with home.running() as daemon:
        await daemon.says("a\ud800b", name="Ev\udfff", attached=["x\ud83d.pdf"])
        (text,) = await home.platform.arrived(1)
        assert text.startswith("default: a?b\n[document attached: x?.pdf")
        await daemon.settled()
        assert await daemon.rows("SELECT state FROM inbound") == [("queued",)]


async def test_what_was_stored_before_a_crash_is_decided_in_order_after_it(home: Any) -> None:
    """Stored and acknowledged, then killed before a decision: the next start answers all, in order, once (ING-01)."""
    home.platform.on_connect = None
    async with home.crashing() as daemon:
        daemon.house.intake._pumps.clear()
        daemon.house.intake._tasks = None  # nobody decides: the process dies right after the commit
        for n in range(30):
            await daemon.says(f"n{n}")
    async with home.running() as daemon:
        await daemon.says("new")
        await daemon.settled()
    assert home.platform.texts() == [*(f"default: n{n}" for n in range(30)), "default: new"]


async def test_a_reconnect_in_the_middle_decides_nothing_twice(home: Any) -> None:
    """Left-overs are taken up while events wait: each message answered once, each command run once (ING-03)."""
    async with home.running() as daemon:
        for n in range(40):
            await daemon.says(f"/title name{n}" if n % 10 == 5 else f"n{n}", chat=f"c{n % 4}")
            if n % 10 == 0:
                await daemon.house.intake.recover(daemon.bot().key)
        await daemon.settled()
        assert await daemon.rows("SELECT count(*) FROM turn") == [(36,)]
    assert len(home.platform.sent) == 40
