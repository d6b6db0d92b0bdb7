"""The emergency stop and the limits: durable, said once, counted across restarts."""

from typing import Any

from hermesd.testing.openai import Reply


def _ended(tx: Any) -> int:
    return int(tx.execute("SELECT count(*) FROM turn WHERE state = 'done'").fetchone()[0])


def said(world: Any, thread: int) -> list[str]:
    return [post.text for post in world.telegram.history(world.forum.id, thread) if post.bot_id]


async def test_a_pause_outlives_a_restart_keeps_messages_and_is_said_once(two_topics: Any) -> None:
    """`/pause profile`: career's messages wait through a restart, it is said once, /resume runs them all."""
    async with two_topics.home.running() as daemon:
        assert "Paused: profile career" in await two_topics.asks("/pause profile until Monday", thread=6)
        assert "paused here (until Monday)" in await two_topics.asks("one", thread=6)
        two_topics.alice.says(two_topics.forum, "two", 6)
        assert await two_topics.asks("hello", thread=13) == "echo: hello"
        await two_topics.fetched()
        await daemon.until(lambda tx: tx.execute("SELECT count(*) FROM turn").fetchone() == (3,))
    async with two_topics.home.running() as daemon:
        two_topics.alice.says(two_topics.forum, "three", 6)
        await two_topics.fetched()
        await daemon.until(lambda tx: tx.execute("SELECT count(*) FROM turn").fetchone() == (4,))
        assert [pause["scope"] for pause in (await daemon.call("status"))["paused"]] == ["profile:career"]
        assert [request.key for request in two_topics.models.requests] == ["key-of-systems"]
        two_topics.alice.says(two_topics.forum, "/resume", 6)
        await two_topics.settled(daemon)
    texts = said(two_topics, 6)
    assert sum("paused here" in text for text in texts) == 1
    assert [text for text in texts if text.startswith("echo")] == ["echo: one", "echo: two", "echo: three"]


async def test_every_scope_stops_what_it_names_and_nothing_else(two_topics: Any) -> None:
    """all, one bot, one profile, one chat, one topic: each stops its own places only, from the command line."""
    two_topics.bot("ops", require_mention=True)
    forum = "telegram/main:-1003961179976"
    cases = {
        "all": (False, False),
        "bot:telegram/main": (False, False),
        "bot:telegram/ops": (True, True),
        "profile:career": (False, True),
        f"chat:{forum}": (False, False),
        f"chat:{forum}:13": (True, False),
    }
    async with two_topics.home.running() as daemon:
        for n, (scope, runs) in enumerate(cases.items()):
            assert (await daemon.call("pause", scope=scope))["changed"]
            two_topics.models.requests.clear()
            for thread in (6, 13):
                two_topics.alice.says(two_topics.forum, f"n{n}", thread)
            await two_topics.fetched()
            await daemon.until(lambda tx, n=n: tx.execute("SELECT count(*) FROM turn").fetchone() == (2 * n + 2,))
            done = 2 * n + sum(runs)
            await daemon.until(lambda tx, done=done: _ended(tx) == done)
            keys = {request.key for request in two_topics.models.requests}
            assert keys == {key for key, on in zip(("key-of-career", "key-of-systems"), runs, strict=True) if on}, scope
            assert (await daemon.call("resume", scope=scope))["changed"]
            await two_topics.settled(daemon)
    assert sum(text.startswith("echo") for text in said(two_topics, 6)) == len(cases)


async def test_the_warning_at_80_and_the_refusal_at_100_count_across_restarts(two_topics: Any) -> None:
    """5 turns a day for each person: a warning once with the 4th, a kind refusal of the 6th, restarts in between."""
    two_topics.home.settings["limits"] = {"spend": {"user": {"turns": 5}}}
    two_topics.home.save()
    for life in ((1, 2, 3), (4,), (5, 6), (7,)):
        async with two_topics.home.running() as daemon:
            for n in life:
                two_topics.alice.says(two_topics.forum, f"m{n}", 6 if n % 2 else 13)
                await two_topics.settled(daemon)
            usage = await two_topics.asks("/usage", thread=6)
    texts = said(two_topics, 6) + said(two_topics, 13)
    assert sorted(text for text in texts if text.startswith("echo")) == [f"echo: m{n}" for n in range(1, 6)]
    (warning,) = [text for text in texts if "80% of" in text and "is used" in text]
    assert "your limit for today" in warning
    assert sum("That was your limit for today" in text for text in texts) == 2
    assert "you: 5 turns" in usage
    assert "100%" in usage
    assert len(two_topics.models.requests) == 5


async def test_a_limit_of_tokens_stops_one_profile_and_leaves_the_other(two_topics: Any) -> None:
    """A profile's day of tokens is used up: its topic hears so, the other profile answers."""
    two_topics.home.settings["limits"] = {"spend": {"profile": {"tokens": 5000}}}
    two_topics.home.save()
    two_topics.models.on(Reply(input_tokens=4990, output_tokens=20), key="key-of-career")
    async with two_topics.home.running() as daemon:
        two_topics.alice.says(two_topics.forum, "one", 6)
        await two_topics.settled(daemon)
        assert "limit" in await two_topics.asks("two", thread=6)
        assert await two_topics.asks("hello", thread=13) == "echo: hello"
    assert [request.last_user for request in two_topics.models.requests] == ["one", "hello"]
