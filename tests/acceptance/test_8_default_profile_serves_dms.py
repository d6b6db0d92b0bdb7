"""Criterion 8: The default/main profile remains available for DMs and unmatched topics."""

from typing import Any


async def test_default_serves_dms_while_routed_topics_go_elsewhere(two_topics: Any) -> None:
    """At the same time: a DM and an unmatched topic are default's, topic A is career's, topic B systems'."""
    main = two_topics.bots["main"]
    async with two_topics.home.running() as daemon:
        for place, thread in ((main, None), (two_topics.forum, 6), (two_topics.forum, 13), (two_topics.forum, 9)):
            two_topics.alice.says(place, f"hello in {thread}", thread)
        await two_topics.settled(daemon)
        assert "Profile: default" in await two_topics.asks("/profile", chat=main)
    seen = {request.last_user: request.key for request in two_topics.models.requests}
    assert seen == {
        "hello in None": "key-of-default",
        "hello in 6": "key-of-career",
        "hello in 13": "key-of-systems",
        "hello in 9": "key-of-default",
    }
    (answer,) = [p.text for p in two_topics.telegram.history(111, bot=main) if p.bot_id and "Profile" not in p.text]
    assert answer == "echo: hello in None"


async def test_the_dm_and_the_topic_are_two_conversations(two_topics: Any) -> None:
    """One person's DM and an unmatched topic share the profile, not the session: neither prompt holds the other."""
    main = two_topics.bots["main"]
    async with two_topics.home.running():
        await two_topics.asks("a secret for the DM", chat=main)
        await two_topics.asks("hello", thread=9)
    assert "secret" not in str(two_topics.models.requests[-1].body)
