"""Criterion 4: Each profile uses its configured model and provider."""

from typing import Any

from hermesd.testing.openai import FakeOpenAI


async def test_each_profile_uses_its_own_provider_key_and_model(two_topics: Any) -> None:
    """Two profiles, two providers, two servers: every request carries its own profile's key and model, to its own."""
    home = two_topics.home
    async with FakeOpenAI() as other:
        home.profile(
            "career",
            model=home.model(two_topics.models.base_url, "model-of-career", provider="openai"),
            env={"MODEL_KEY": "sk-career"},
        )
        home.profile("systems", model=home.model(other.base_url, "model-of-systems"), env={"MODEL_KEY": "sk-systems"})
        async with home.running() as daemon:
            for n in range(5):
                two_topics.alice.says(two_topics.forum, f"c{n}", 6)
                two_topics.alice.says(two_topics.forum, f"s{n}", 13)
            await two_topics.settled(daemon)
            assert "model: openai:model-of-career" in await two_topics.asks("/profile", thread=6)
            assert "model: custom:model-of-systems" in await two_topics.asks("/profile", thread=13)
        to_career = [(r.headers["authorization"], r.model) for r in two_topics.models.requests]
        to_systems = [(r.headers["authorization"], r.model) for r in other.requests]
    assert to_career == [("Bearer sk-career", "model-of-career")] * 5
    assert to_systems == [("Bearer sk-systems", "model-of-systems")] * 5


async def test_two_keys_on_one_server_never_swap(two_topics: Any) -> None:
    """Profiles that share an endpoint share its connections and nothing else: each message goes under its own key."""
    async with two_topics.home.running() as daemon:
        for n in range(40):
            two_topics.alice.says(two_topics.forum, f"for career {n}", 6)
            two_topics.alice.says(two_topics.forum, f"for systems {n}", 13)
            if n % 10 == 9:
                await two_topics.settled(daemon)
    seen = [(request.key, request.last_user.split()[1]) for request in two_topics.models.requests]
    assert len(seen) == 80
    assert set(seen) == {("key-of-career", "career"), ("key-of-systems", "systems")}


async def test_a_changed_model_is_taken_up_by_a_reload(two_topics: Any) -> None:
    """After SIGHUP the next turn uses the model and key that the profile's files name now."""
    async with two_topics.home.running() as daemon:
        await two_topics.asks("before", thread=6)
        two_topics.profile("career", "another-model", env={"MODEL_KEY": "rotated"})
        assert "applied" in await daemon.hangup()
        await two_topics.asks("after", thread=6)
    seen = [(request.key, request.model) for request in two_topics.models.requests]
    assert seen == [("key-of-career", "echo"), ("rotated", "another-model")]


async def test_a_missing_key_refuses_visibly_and_no_other_key_is_used(two_topics: Any) -> None:
    """A profile without its key says so and keeps the message, which runs under the right key once that is there."""
    two_topics.home.profile("career", model=two_topics.home.model(two_topics.models.base_url))
    async with two_topics.home.running() as daemon:
        assert "career is not available" in await two_topics.asks("hello", thread=6)
        await two_topics.asks("hello", thread=13)
        assert [request.key for request in two_topics.models.requests] == ["key-of-systems"]
        assert any("MODEL_KEY" in str(line) for line in daemon.log)
        two_topics.profile("career")
        await daemon.hangup()
        await two_topics.settled(daemon)
    assert [request.key for request in two_topics.models.requests] == ["key-of-systems", "key-of-career"]
