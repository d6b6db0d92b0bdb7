"""Criterion 2: Topic B maps to profile `systems`; `/profile` reports systems."""

from typing import Any


async def test_profile_in_topic_b_reports_systems(two_topics: Any) -> None:
    """`/profile` in topic B names systems and its route, while topic A of the same forum goes on with career."""
    async with two_topics.home.running():
        in_b = await two_topics.asks("/profile", thread=13)
        in_a = await two_topics.asks("/profile", thread=6)
    assert "Profile: systems" in in_b
    assert "thread 13" in in_b
    assert "Profile: career" in in_a


async def test_the_command_line_says_the_same(two_topics: Any) -> None:
    """`hermesd routes explain` gives the reason that `/profile` gives in the chat."""
    async with two_topics.home.running() as daemon:
        shown = await two_topics.asks("/profile", thread=13)
        explained = await daemon.call("explain", address="telegram/main:-1003961179976:13", user="111")
    assert explained["profile"] == "systems"
    assert explained["why"] in shown


async def test_whereami_prints_the_line_that_routes_this_place(two_topics: Any) -> None:
    """In an unmapped topic `/whereami` prints YAML that, pasted into a configuration, routes exactly that topic."""
    import yaml

    async with two_topics.home.running() as daemon:
        shown = await two_topics.asks("/whereami", thread=9)
        line = yaml.safe_load(shown[shown.index("routes:") : shown.index("Admins:")])
        assert line == {"routes": {"telegram": {"-1003961179976": {"9": "default"}}}}
        line["routes"]["telegram"]["-1003961179976"]["9"] = "systems"
        two_topics.home.settings["routes"] = line["routes"]
        two_topics.home.save()
        await daemon.reload()
        assert "Profile: systems" in await two_topics.asks("/profile", thread=9)
