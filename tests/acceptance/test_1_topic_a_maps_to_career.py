"""Criterion 1: Telegram forum topic A maps to profile `career`; `/profile` in that topic reports career."""

from typing import Any


async def test_profile_in_topic_a_reports_career(two_topics: Any) -> None:
    """`/profile` in topic A names career, the route that led there, and the config epoch."""
    async with two_topics.home.running():
        answer = await two_topics.asks("/profile", thread=6)
    assert "Profile: career" in answer
    assert "thread 6" in answer
    assert "config epoch: 1" in answer


async def test_a_message_in_topic_a_is_answered_by_career_there(two_topics: Any) -> None:
    """A plain message in topic A is answered in topic A by career's model, with career's key and SOUL."""
    async with two_topics.home.running():
        answer = await two_topics.asks("hello", thread=6)
    assert answer == "echo: hello"
    (seen,) = two_topics.models.requests
    assert seen.key == "key-of-career"
    assert "You are career." in str(seen.messages[0]["content"])
