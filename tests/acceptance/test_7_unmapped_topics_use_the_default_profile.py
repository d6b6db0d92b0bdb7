"""Criterion 7: Fallback behaviour remains: unmapped topics use the default profile."""

from typing import Any


async def test_an_unmapped_topic_and_general_use_the_default_profile(two_topics: Any) -> None:
    """A topic nobody mapped, and General, are answered by `default`, and `/profile` says that no route matched."""
    async with two_topics.home.running():
        for thread in (9, None):
            told = await two_topics.asks("/profile", thread=thread)
            assert "Profile: default" in told
            assert "no route matches" in told
            assert await two_topics.asks("hello", thread=thread) == "echo: hello"
    assert {request.key for request in two_topics.models.requests} == {"key-of-default"}


async def test_without_a_default_profile_an_unmapped_topic_is_refused_visibly(two_topics: Any) -> None:
    """`default_profile: null`: nobody answers in an unmapped topic, it is said there once, and no model is asked."""
    two_topics.home.settings["default_profile"] = None
    two_topics.home.save()
    async with two_topics.home.running() as daemon:
        refusal = await two_topics.asks("hello", thread=9)
        assert "No profile answers here" in refusal
        assert "default_profile is null" in refusal
        two_topics.alice.says(two_topics.forum, "anybody?", 9)
        await two_topics.settled(daemon)
        assert "No profile" in await two_topics.asks("/profile", thread=9)
        assert await two_topics.asks("hello", thread=6) == "echo: hello"
    assert len(two_topics.telegram.history(two_topics.forum.id, 9)) == 5
    assert [request.key for request in two_topics.models.requests] == ["key-of-career"]


async def test_a_missing_profile_is_no_reason_to_fall_back(two_topics: Any) -> None:
    """A mapped topic whose profile cannot run is refused, never answered by `default`."""
    (two_topics.home.profiles / "career" / "config.yaml").write_text("model: {provider: nonsense}\n")
    async with two_topics.home.running():
        assert "profile career is not available" in (await two_topics.asks("hello", thread=6)).lower()
    assert not two_topics.models.requests
