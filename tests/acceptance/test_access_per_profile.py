"""Allowlists per bot and per profile: the profile's own narrows, admins are admins where they are named."""

from typing import Any


async def test_a_profile_s_allowlist_narrows_the_bot_s(two_topics: Any) -> None:
    """Bob is on the bot's list; career admits Alice only: Bob is refused in career's topic and answered in systems'."""
    two_topics.home.telegram(
        "main", two_topics.bots["main"].token, two_topics.telegram.url, allow=["111", "222"], admins=["111"]
    )
    two_topics.profile("career", access={"allow": ["111"]})
    bob = two_topics.telegram.user(222, "Bob")
    async with two_topics.home.running() as daemon:
        bob.says(two_topics.forum, "@main_bot hello career", 6)
        refusal = await two_topics.answer(lambda post: post.thread == 6)
        assert "222" in refusal.text
        assert "this profile's config.yaml" in refusal.text
        bob.says(two_topics.forum, "hello systems", 13)
        await two_topics.answer(lambda post: post.text == "echo: hello systems")
        assert await two_topics.asks("hello", thread=6) == "echo: hello"
        bob.says(two_topics.forum, "/profile", 6)
        await two_topics.settled(daemon)
    assert "hello career" not in str([request.body for request in two_topics.models.requests])
    assert not [post for post in two_topics.telegram.world.sent if "Profile: career" in post.text]


async def test_a_profile_s_list_admits_nobody_the_bot_does_not(two_topics: Any) -> None:
    """Mallory stands on career's list and not on the bot's: she is refused."""
    two_topics.profile("career", access={"allow": ["666"], "admins": ["666"]})
    mallory = two_topics.telegram.user(666, "Mallory")
    async with two_topics.home.running() as daemon:
        mallory.says(two_topics.forum, "hello", 6)
        mallory.says(two_topics.forum, "/pause all", 6)
        await two_topics.settled(daemon)
        assert (await daemon.call("status"))["paused"] == []
    assert not two_topics.models.requests


async def test_an_admin_of_one_profile_is_none_elsewhere(two_topics: Any) -> None:
    """Bob administers career only: `/pause` works in its topic and is refused in systems'."""
    main = two_topics.bots["main"]
    two_topics.home.telegram("main", main.token, two_topics.telegram.url, allow=["111", "222"], admins=["111"])
    two_topics.profile("career", access={"admins": ["222"]})
    bob = two_topics.telegram.user(222, "Bob")
    async with two_topics.home.running() as daemon:
        bob.says(two_topics.forum, "/pause", 13)
        assert "admins" in (await two_topics.answer(lambda post: post.thread == 13)).text
        bob.says(two_topics.forum, "/pause", 6)
        assert "Paused: this chat" in (await two_topics.answer(lambda post: post.thread == 6)).text
        paused = (await daemon.call("status"))["paused"]
    assert [pause["scope"] for pause in paused] == ["chat:telegram/main:-1003961179976:6"]
