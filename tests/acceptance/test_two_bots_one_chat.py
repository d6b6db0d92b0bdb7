"""RT-10: two bots in one chat: only the one that is meant answers, and their conversations are two."""

from typing import Any

import pytest

FORUM = "-1003961179976"


@pytest.fixture
def house(world: Any) -> Any:
    """Two bots that are both routed in topic 6 and answer when mentioned."""
    for bot_id, profile in (("main", "career"), ("ops", "systems")):
        world.bot(bot_id, require_mention=True)
        world.profile(profile)
        world.home.route(f"telegram/{bot_id}", FORUM, "6", profile)
    return world


async def test_only_the_mentioned_bot_answers(house: Any) -> None:
    """A mention, a reply and a command with @name reach both bots, and exactly the one that is meant answers."""
    main, ops = house.bots["main"], house.bots["ops"]
    async with house.home.running() as daemon:
        house.alice.says(house.forum, "@main_bot hello", 6)
        house.alice.says(house.forum, "@ops_bot good morning", 6)
        house.alice.says(house.forum, "nobody in particular", 6)
        await house.settled(daemon)
        assert "Profile: systems" in await house.asks("/profile@ops_bot", thread=6)
        of_main = next(post for post in house.telegram.world.sent if post.bot_id == main.id)
        house.alice.says(house.forum, "thank you", 6, reply_to=of_main.message)
        await house.settled(daemon)
        reasons = await daemon.read(lambda tx: tx.execute("SELECT bot_id, reason FROM inbound ORDER BY seq").fetchall())
    said = [(post.bot_id, post.text) for post in house.telegram.world.sent if not post.text.startswith("Profile")]
    assert sorted(said[:2]) == [(main.id, "echo: hello"), (ops.id, "echo: good morning")]
    assert said[2:] == [(main.id, "echo: thank you")]
    assert reasons.count(("main", "not addressed")) == 3
    assert reasons.count(("ops", "not addressed")) == 3


async def test_one_message_to_both_is_two_conversations(house: Any) -> None:
    """Mentioned together both answer, each once, as its own profile; even with one profile their sessions are two."""
    for bot_id in ("main", "ops"):
        house.home.route(f"telegram/{bot_id}", FORUM, "9", "career")
    async with house.home.running() as daemon:
        house.alice.says(house.forum, "@main_bot @ops_bot hello", 6)
        await house.settled(daemon)
        assert sorted(request.key for request in house.models.requests) == ["key-of-career", "key-of-systems"]
        house.alice.says(house.forum, "@main_bot a word for main", 9)
        await house.settled(daemon)
        house.alice.says(house.forum, "@ops_bot a word for ops", 9)
        await house.settled(daemon)
        sessions = await daemon.call("sessions", profile="career")
    assert "a word for main" not in str(house.models.requests[-1].body)
    assert len({session["key"] for session in sessions}) == 3


async def test_bots_never_answer_each_other(house: Any) -> None:
    """ING-15: with mentions off, a message that another bot wrote starts no turn in either bot."""
    for bot_id in ("main", "ops"):
        house.home.telegram(bot_id, house.bots[bot_id].token, house.telegram.url, allow="everyone")
    async with house.home.running() as daemon:
        post = {"from": {"id": 77, "is_bot": True, "first_name": "Echo", "username": "echo_bot"}}
        house.alice.says(house.forum, "hello, bots", 6, extra=post)
        house.alice.says(house.forum, "I am one of you", 6, extra={"from": house.bots["main"].user()})
        for bot in house.bots.values():
            house.telegram.world.tell(bot, "message", house.telegram.history(house.forum.id)[-1].message)
        await house.settled(daemon)
        states = await daemon.read(lambda tx: tx.execute("SELECT DISTINCT reason FROM inbound").fetchall())
    assert not house.telegram.world.sent
    assert not house.models.requests
    assert ("written by a bot",) in states
