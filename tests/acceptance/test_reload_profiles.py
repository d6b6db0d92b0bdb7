"""Reload and profiles: a missing or broken one is said, never replaced; a running turn keeps what it began with."""

import shutil
from typing import Any

import anyio
import pytest

from hermesd.testing.openai import Reply

GUARD = 30.0


def keys(world: Any) -> list[str]:
    return [request.key for request in world.models.requests]


@pytest.mark.parametrize("reloaded", [False, True], ids=["before a reload", "after a reload"])
async def test_a_deleted_home_is_said_and_the_message_runs_after_repair(two_topics: Any, reloaded: bool) -> None:
    """RT-02: career's folder is gone: its topic hears so, no other profile runs, after repair all is answered."""
    home = two_topics.home.profiles / "career"
    async with two_topics.home.running() as daemon:
        shutil.rmtree(home)
        if reloaded:
            await daemon.hangup()
        assert "career is not available" in await two_topics.asks("first", thread=6)
        two_topics.alice.says(two_topics.forum, "second", 6)
        assert await two_topics.asks("hello", thread=13) == "echo: hello"
        assert keys(two_topics) == ["key-of-systems"]
        assert not home.exists()
        two_topics.profile("career")
        await daemon.hangup()
        await two_topics.settled(daemon)
    assert keys(two_topics) == ["key-of-systems", "key-of-career", "key-of-career"]
    said = [post.text for post in two_topics.telegram.history(two_topics.forum.id, 6) if post.bot_id]
    assert said[1:] == ["echo: first", "echo: second"]
    assert (home / "hermesd.db").exists()


async def test_a_home_put_back_while_its_database_was_open_keeps_what_is_written(two_topics: Any) -> None:
    """RT-02: after a conversation the folder is swapped for a copy: the next exchange is in the copy."""
    home = two_topics.home.profiles / "career"
    async with two_topics.home.running() as daemon:
        await two_topics.asks("first", thread=6)
        await two_topics.settled(daemon)
        home.rename(home.with_name(".old"))
        assert "its folder is gone" in await two_topics.asks("second", thread=6)
        shutil.copytree(home.with_name(".old"), home)
        await daemon.hangup()
        await two_topics.settled(daemon)
    async with two_topics.home.running():
        await two_topics.asks("third", thread=6)
    told = [message["content"] for message in two_topics.models.requests[-1].messages[1:]]
    assert told == ["first", "echo: first", "second", "echo: second", "third"]


@pytest.mark.parametrize(
    ("file", "text"),
    [("config.yaml", "model: {provider: nonsense}\n"), (".env", "MODEL_KEY=x\n"), ("config.yaml", "model: [\n")],
    ids=["unknown provider", "readable .env", "broken yaml"],
)
async def test_a_broken_profile_goes_on_as_it_was_and_it_is_reported(two_topics: Any, file: str, text: str) -> None:
    """RT-02: files that break while the daemon runs change nothing: the profile answers on, the report says why."""
    broken = two_topics.home.profiles / "career" / file
    async with two_topics.home.running() as daemon:
        broken.write_text(text)
        broken.chmod(0o644)
        report = await daemon.reload()
        assert any("career" in line for line in report["rejected"])
        assert await two_topics.asks("hello", thread=6) == "echo: hello"
    assert keys(two_topics) == ["key-of-career"]


async def test_a_profile_broken_at_the_start_keeps_its_messages(two_topics: Any) -> None:
    """RT-02: with career broken before the start, its messages wait through a restart and run after repair."""
    config = two_topics.home.profiles / "career" / "config.yaml"
    good = config.read_text()
    config.write_text("model: {provider: nonsense}\n")
    async with two_topics.home.running():
        assert "career is not available" in await two_topics.asks("first", thread=6)
    async with two_topics.home.running() as daemon:
        two_topics.alice.says(two_topics.forum, "second", 6)
        await two_topics.fetched()
        await daemon.until(lambda tx: tx.execute("SELECT count(*) FROM turn").fetchone() == (2,))
        assert keys(two_topics) == []
        config.write_text(good)
        await daemon.hangup()
        await two_topics.settled(daemon)
    said = [post.text for post in two_topics.telegram.history(two_topics.forum.id, 6) if post.bot_id]
    assert said[-2:] == ["echo: first", "echo: second"]
    assert len(said) == 3


async def test_a_turn_keeps_its_epoch_and_model_to_the_end(two_topics: Any) -> None:
    """RT-05: a turn that began before a reload ends with the model, key and epoch it began with."""
    two_topics.models.on(Reply(delay=0.4), key="key-of-career")
    async with two_topics.home.running() as daemon:
        two_topics.alice.says(two_topics.forum, "slow", 6)
        with anyio.fail_after(GUARD):
            await two_topics.models.seen(1)
        two_topics.home.route("telegram", str(two_topics.forum.id), "6", "systems")
        assert "config epoch 2" in await daemon.hangup()
        assert "Profile: systems" in await two_topics.asks("/profile", thread=6)
        two_topics.alice.says(two_topics.forum, "fast", 6)
        await two_topics.settled(daemon)
        audited = await daemon.read(
            lambda tx: tx.execute(
                "SELECT target, json_extract(detail, '$.epoch') FROM audit WHERE kind = 'turn.done' ORDER BY id"
            ).fetchall()
        )
    assert sorted(audited) == [("career", 1), ("systems", 2)]
    assert keys(two_topics) == ["key-of-career", "key-of-systems"]


async def test_fifty_turns_and_a_reload_in_each_gap_have_one_epoch_each(two_topics: Any) -> None:
    """RT-05: 50 turns while the route flips: every turn's profile is the one its own epoch routed to."""
    flips = ("systems", "career")
    async with two_topics.home.running() as daemon:
        for n in range(10):
            for _ in range(5):
                two_topics.alice.says(two_topics.forum, f"m{n}", 6)
            two_topics.home.route("telegram", str(two_topics.forum.id), "6", flips[n % 2])
            await daemon.hangup()
        await two_topics.settled(daemon)
        rows = await daemon.read(lambda tx: tx.execute("SELECT epoch, profile, state FROM turn").fetchall())
    assert len(rows) == 50
    assert {state for _, _, state in rows} == {"done"}
    assert all(profile == ("career" if epoch % 2 else "systems") for epoch, profile, _ in rows)
    assert len({epoch for epoch, _, _ in rows}) > 3


async def test_a_removed_profile_runs_no_more_and_old_rows_do_not_revive_it(two_topics: Any) -> None:
    """RT-07: career leaves with a message waiting: it is said, nothing runs, and no restart brings its folder back."""
    two_topics.models.on(Reply(fault="hang"), Reply(), key="key-of-career")
    home = two_topics.home.profiles / "career"
    async with two_topics.home.running() as daemon:
        two_topics.alice.says(two_topics.forum, "hangs", 6)
        with anyio.fail_after(GUARD):
            await two_topics.models.seen(1)
        two_topics.alice.says(two_topics.forum, "waits", 6)
        await two_topics.fetched()
        await daemon.until(lambda tx: tx.execute("SELECT count(*) FROM turn").fetchone() == (2,))
        two_topics.home.route("telegram", str(two_topics.forum.id), "6", None)
        shutil.rmtree(home)
        report = await daemon.reload()
        assert "profile career removed" in report["applied"]
        assert await two_topics.asks("hello", thread=6) == "echo: hello"
    assert not (home / "hermesd.db").exists()
    async with two_topics.home.running() as daemon:
        two_topics.alice.says(two_topics.forum, "hello again", 6)
        await two_topics.answer(lambda post: post.text == "echo: hello again")
        assert not home.exists()
        told = [post.text for post in two_topics.telegram.history(two_topics.forum.id, 6) if post.bot_id]
    assert any("career is not available: there is no such profile" in text for text in told)
    assert keys(two_topics) == ["key-of-career", "key-of-default", "key-of-default"]
