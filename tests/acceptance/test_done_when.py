"""The “Done when” of the first step, on a daemon that is a process of its own."""

import re
from collections import Counter
from typing import Any

import anyio
import pytest

from hermesd.delivery.policy import DUPLICATE_MARK
from hermesd.testing.openai import Reply

FORUM = "-1003961179976"
GUARD = 60.0
_MARK = "This may be a duplicate"


@pytest.fixture
def house(world: Any) -> Any:
    """Two bots in one forum that answer when mentioned, and the web page; a profile for each."""
    for bot_id, topic, profile in (("main", "6", "career"), ("ops", "13", "systems")):
        world.bot(bot_id, require_mention=True)
        world.profile(profile)
        world.home.route(f"telegram/{bot_id}", FORUM, topic, profile)
    world.home.web("local")
    return world


async def test_two_bots_in_one_forum_and_the_page_answer_as_different_profiles(house: Any) -> None:
    """`/profile` proves it: main in topic 6 is career, ops in topic 13 is systems, the page is default."""
    async with house.home.process() as daemon, await daemon.chat() as page:
        assert "Profile: career" in await house.asks("/profile@main_bot", thread=6)
        assert "Profile: systems" in await house.asks("/profile@ops_bot", thread=13)
        assert "Profile: **default**" in await page.asks("/profile")
        assert await house.asks("@main_bot hello", thread=6) == "echo: hello"
        assert await house.asks("@ops_bot hello", thread=13) == "echo: hello"
        assert await page.asks("hello") == "echo: hello"
        by = {post.thread: post.bot_id for post in house.telegram.world.sent}
        assert await daemon.stop() == 0
    assert by == {6: house.bots["main"].id, 13: house.bots["ops"].id}
    assert [request.key for request in house.models.requests] == ["key-of-career", "key-of-systems", "key-of-default"]


@pytest.mark.kill
async def test_kill_9_in_the_middle_loses_nothing_and_doubles_nothing_unmarked(house: Any) -> None:
    """Two SIGKILLs while both bots and the page work: every message is answered, and a second copy says so."""
    house.models.on(lambda seen: Reply(text=f"answer to {seen.last_user}", delay=0.03))
    asked: list[str] = []

    async def write(page: Any, n: int) -> None:
        for text, thread, bot in ((f"m{n}", 6, "main"), (f"o{n}", 13, "ops")):
            house.alice.says(house.forum, f"@{bot}_bot {text}", thread)
            asked.append(text)
        await page.says(f"w{n}", room=f"room {n % 3}")
        asked.append(f"w{n}")

    for life in range(2):  # after a third one in the same turn the daemon gives up on it, and says so
        async with house.home.process() as daemon, await daemon.chat() as page:
            for n in range(life * 9, life * 9 + 9):
                await write(page, n)
            with anyio.fail_after(GUARD):
                await house.models.seen(house.models.count + 5)
            await daemon.kill()
    async with house.home.process() as daemon, await daemon.chat() as page:
        with anyio.fail_after(GUARD):
            await house.telegram.until(lambda: len(answered(post.text for post in house.telegram.world.sent)) == 36)
            for n in range(3):
                await page.answers(6, room=f"room {n}")
        shown = [e["text"] for n in range(3) for e in await page.entries(room=f"room {n}") if e["from"] == "out"]
        assert await daemon.stop() == 0
    sent = [post.text for post in house.telegram.world.sent]
    assert set(answered([*sent, *shown])) == set(asked)
    unmarked = Counter(answered(text for text in [*sent, *shown] if _MARK not in text))
    assert max(unmarked.values()) == 1
    assert "duplicate" in DUPLICATE_MARK


def answered(texts: Any) -> dict[str, int]:
    """Which messages these texts answer, and how often."""
    return Counter(found[1] for text in texts if (found := re.search(r"answer to (\w+)$", text)))


async def test_editing_the_yaml_and_kill_hup_moves_a_topic_and_leaves_the_other_bot_alone(house: Any) -> None:
    """After the edit and SIGHUP topic 6 is research's; no bot restarted, the other bot's poll is the same."""
    house.profile("research")
    ops = house.bots["ops"]
    async with house.home.process() as daemon:
        assert "Profile: career" in await house.asks("/profile@main_bot", thread=6)
        await house.fetched()
        before = await daemon.call("bots")
        polls = ops.polls
        text = house.home.config.read_text()
        house.home.text(text.replace("'6': career", "'6': research"))
        assert "reload applied, config epoch 2" in await daemon.hangup()
        assert ops.polls == polls  # the poll that was open then is open now
        assert await daemon.call("bots") == before
        told = await house.asks("/profile@main_bot", thread=6)
        assert "Profile: research" in told
        assert "config epoch: 2" in told
        assert "Profile: systems" in await house.asks("/profile@ops_bot", thread=13)
        assert await daemon.stop() == 0
    assert text != house.home.config.read_text()
