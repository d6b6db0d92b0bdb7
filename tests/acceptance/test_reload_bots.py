"""Reload and bots: one that leaves, one whose token changes, and the others that notice nothing."""

from dataclasses import replace
from typing import Any

import anyio
import pytest

from hermesd.testing.openai import Reply

FORUM = "-1003961179976"
GUARD = 30.0


@pytest.fixture
def house(world: Any) -> Any:
    """Two bots, each answering in a topic of its own when mentioned."""
    for bot_id, topic, profile in (("main", "6", "career"), ("ops", "13", "systems")):
        world.bot(bot_id, require_mention=True)
        world.profile(profile)
        world.home.route(f"telegram/{bot_id}", FORUM, topic, profile)
    return world


def unrouted(world: Any, bot_id: str) -> None:
    world.home.settings["routes"].pop(f"telegram/{bot_id}")
    world.home.without("telegram", bot_id)


async def test_a_bot_taken_out_ends_its_turns_and_parks_its_answers(house: Any) -> None:
    """RT-06: ops leaves while ten turns of its run: no more polls, the turns end, the answers wait; main goes on."""
    house.home.settings["limits"] = {"turns_per_profile": 16}
    for n in range(10):
        house.home.route("telegram/ops", f"-100777{n}", None, "systems")
        house.telegram.group(int(f"-100777{n}"))
    house.models.on(Reply(delay=1.0), key="key-of-systems")
    async with house.home.running() as daemon:
        for n in range(10):
            house.alice.says(house.telegram.group(int(f"-100777{n}")), f"@ops_bot m{n}")
        with anyio.fail_after(GUARD):
            await house.models.seen(8)
        await house.fetched()
        before = await bot_of(daemon, "telegram/main")
        unrouted(house, "ops")
        assert "bot telegram/ops stopped" in (await daemon.reload())["applied"]
        polls = house.bots["ops"].polls
        await daemon.until(_all_parked)
        assert not house.telegram.world.sent
        assert await daemon.call("bots") == [before]
        assert await house.asks("@main_bot hello", thread=6) == "echo: hello"
        assert house.bots["ops"].polls == polls
        assert (await daemon.call("status"))["deliveries"].get("parked") == 10
        # configured again, it says what it had to say
        house.bots["ops"].queue.clear()
        house.home.telegram("ops", house.bots["ops"].token, house.telegram.url, allow=["111"], require_mention=True)
        assert "bot telegram/ops started" in (await daemon.reload())["applied"]
        with anyio.fail_after(GUARD):
            await house.telegram.wait_sent(11)
        await daemon.settled()
    said = sorted(post.text for post in house.telegram.world.sent if post.bot_id == house.bots["ops"].id)
    assert said == [f"echo: m{n}" for n in range(10)]


def _all_parked(tx: Any) -> bool:
    counted = dict(tx.execute("SELECT state, count(*) FROM delivery GROUP BY state").fetchall())
    return counted.get("parked") == 10


async def test_a_rotated_token_restarts_only_its_bot_and_loses_nothing(house: Any) -> None:
    """RT-08: the token file changes under load: only that bot restarts, and every message is answered once."""
    main, ops = house.bots["main"], house.bots["ops"]
    async with house.home.running() as daemon:
        for n in range(5):
            house.alice.says(house.forum, f"@main_bot m{n}", 6)
        await house.fetched()
        old, world = main, house.telegram.world
        # the new token is the same bot to Telegram: what waits for it waits on
        main = replace(old, token=old.token.replace("main", "rotated"))
        world.bots[main.token] = main
        del world.bots[old.token]
        old.refused = 401
        house.home.secret("main", main.token)
        for n in range(5, 10):
            house.alice.says(house.forum, f"@main_bot m{n}", 6)
        await house.polling(ops)
        polls, before = ops.polls, await bot_of(daemon, "telegram/ops")
        report = await daemon.reload()
        assert report["applied"] == ["bot telegram/main restarted"]
        assert (ops.polls, await bot_of(daemon, "telegram/ops")) == (polls, before)
        for n in range(10, 15):
            house.alice.says(house.forum, f"@main_bot m{n}", 6)
        await house.settled(daemon)
        calls = sum(token == old.token for _, token, _ in house.telegram.requests)
        assert await house.asks("@main_bot last", thread=6) == "echo: last"
        assert sum(token == old.token for _, token, _ in house.telegram.requests) == calls
    said = [post.text for post in house.telegram.history(house.forum.id, 6) if post.bot_id]
    assert said == [*(f"echo: m{n}" for n in range(15)), "echo: last"]
    assert main.token not in house.home.config.read_text()


async def bot_of(daemon: Any, key: str) -> Any:
    """What an operator sees of one bot."""
    return next(bot for bot in await daemon.call("bots") if bot["key"] == key)


async def test_who_may_talk_changes_without_a_restart(house: Any) -> None:
    """A changed allowlist is in force with the next message, and the bot's long poll stays open."""
    bob = house.telegram.user(222, "Bob")
    async with house.home.running() as daemon:
        main = house.bots["main"]
        await house.polling(main)
        polls = main.polls
        house.home.telegram("main", main.token, house.telegram.url, allow=["222"], require_mention=True)
        report = await daemon.reload()
        assert report["applied"] == ["bots changed"]
        assert main.polls == polls
        bob.says(house.forum, "@main_bot hello from Bob", 6)
        await house.answer(lambda post: post.text == "echo: hello from Bob")
        house.alice.says(house.forum, "@main_bot and me?", 6)
        await house.settled(daemon)
        states = await daemon.read(lambda tx: tx.execute("SELECT state, reason FROM inbound ORDER BY seq").fetchall())
    assert ("refused", "not on the bot's allowlist") in states
    assert len(house.models.requests) == 1
