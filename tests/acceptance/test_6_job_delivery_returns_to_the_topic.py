"""Criterion 6: Cron/job delivery and send_message still deliver back to the originating topic when called from a
routed profile context."""

import json
from typing import Any
from uuid import uuid4

from hermesd.address import AdapterKey, Address, ConversationKey
from hermesd.ledger.turn import Request
from hermesd.lineage import Lineage, Origin
from hermesd.testing.openai import Reply, Seen
from hermesd.testing.openai.script import text_of

FORUM = "-1003961179976"


def send(text: str, to: str | None = None) -> Reply:
    """A model that wants to send a message."""
    return Reply(calls=(("send_message", json.dumps({"text": text, **({"to": to} if to else {})})),))


def tool_result(seen: Seen) -> Reply:
    """A model that says what the tool told it."""
    return Reply(text="told: " + text_of([m for m in seen.messages if m.get("role") == "tool"][-1]))


def job(text: str, *, profile: str = "career", thread: str = "6", bot: str = "main") -> Request:
    """What a schedule submits: no message, no person."""
    place = Address(AdapterKey("telegram", bot), FORUM, thread)
    turn = uuid4().hex
    return Request(
        turn, key=ConversationKey(profile, place, "thread"), why="schedule", user_id="schedule", user_name="schedule",
        text=text, lineage=Lineage(turn, None), epoch=1, origin=Origin.SCHEDULE,
    )  # fmt: skip


def said(world: Any, thread: int) -> list[str]:
    return [posted.text for posted in world.telegram.history(world.forum.id, thread) if posted.bot_id]


async def test_a_scheduled_turn_delivers_back_to_its_topic(two_topics: Any) -> None:
    """A turn of origin Schedule: what it sends and what it answers both arrive in its topic, in order, there only."""
    two_topics.models.on(send("reminder: stand up"), Reply(text="done"), key="key-of-career")
    async with two_topics.home.running() as daemon:
        await daemon.house.desk.submit(job("remind them"))
        await daemon.settled()
        (origin,) = await daemon.read(lambda tx: tx.execute("SELECT DISTINCT origin FROM turn").fetchall())
    assert origin == ("schedule",)
    assert said(two_topics, 6) == ["reminder: stand up", "done"]
    assert len(two_topics.telegram.world.sent) == 2
    assert "send_message" in str(two_topics.models.requests[0].body["tools"])


async def test_it_leaves_through_the_bot_it_belongs_to(two_topics: Any) -> None:
    """With two bots in one forum the job of one bot's conversation is delivered by that bot."""
    ops = two_topics.bot("ops")
    two_topics.models.on(send("from ops"), Reply(text="done"), key="key-of-career")
    async with two_topics.home.running() as daemon:
        await daemon.house.desk.submit(job("remind them", bot="ops"))
        await daemon.settled()
    assert {posted.bot_id for posted in two_topics.telegram.world.sent} == {ops.id}
    assert said(two_topics, 6) == ["from ops", "done"]


async def test_a_job_submitted_before_a_restart_still_comes_home(two_topics: Any) -> None:
    """A job is a row: submitted while everything is paused, it runs in the next life and delivers to its topic."""
    two_topics.models.on(send("late, but here"), Reply(text="done"), key="key-of-career")
    async with two_topics.home.running() as daemon:
        await daemon.call("pause", scope="all")
        await daemon.house.desk.submit(job("remind them"))
    async with two_topics.home.running() as daemon:
        await daemon.call("resume", scope="all")
        await daemon.settled()
    assert said(two_topics, 6)[-2:] == ["late, but here", "done"]


async def test_send_message_of_a_person_s_turn_stays_in_the_topic(two_topics: Any) -> None:
    """Asked in topic B, systems' send_message arrives in topic B."""
    two_topics.models.on(send("working on it"), Reply(text="done"), key="key-of-systems")
    async with two_topics.home.running() as daemon:
        two_topics.alice.says(two_topics.forum, "please", 13)
        await two_topics.settled(daemon)
    assert said(two_topics, 13) == ["working on it", "done"]
    assert len(two_topics.telegram.world.sent) == 2


async def test_send_message_reaches_another_place_only_where_the_profile_is_routed(two_topics: Any) -> None:
    """Career may write to a second topic routed to it; to systems' topic, an unmapped one and a DM it may not."""
    two_topics.home.route("telegram", FORUM, "7", "career")
    allowed = f"telegram:{FORUM}:7"
    forbidden = [f"telegram:{FORUM}:13", f"telegram:{FORUM}:9", f"telegram:{FORUM}", "telegram:111"]
    async with two_topics.home.running() as daemon:
        for place in [allowed, *forbidden]:
            two_topics.models.on(send("a word", place), tool_result, key="key-of-career")
            await daemon.house.desk.submit(job(f"write to {place}"))
            await daemon.settled()
    told = said(two_topics, 6)
    assert told[0].startswith("told: queued for")
    assert len(told) == 5
    assert all("may not write to" in answer for answer in told[1:])
    assert said(two_topics, 7) == ["a word"]
    assert len(two_topics.telegram.world.sent) == 6
