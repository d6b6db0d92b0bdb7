"""Ingress faults on the whole daemon: a second daemon, a second poller, a migrated chat, a closed topic."""

import asyncio
import sys
from dataclasses import replace
from typing import Any

import anyio
import httpx

from hermesd.ports import BotState
from hermesd.testing.openai import Reply

GUARD = 30.0


async def test_a_second_daemon_on_the_same_state_ends_with_one_line(two_topics: Any) -> None:
    """ING-05: the lock is held: the second one exits 1 with one clear line, and the first one notices nothing."""
    home = two_topics.home
    async with home.running():
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hermesd", "run", "--config", str(home.config), "--state", str(home.state),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await child.communicate()
        assert await two_topics.asks("hello", thread=6) == "echo: hello"
    assert child.returncode == 1
    assert out == b""
    (line,) = [line for line in err.decode().splitlines() if line.strip() and not line.lstrip().startswith("→")]
    assert "already running" in line
    assert "Traceback" not in err.decode()


async def test_a_second_poller_is_a_visible_conflict_that_heals(two_topics: Any) -> None:
    """ING-05: another program polls with main's token: main is in `conflict`, ops goes on, nothing is lost."""
    ops = two_topics.bot("ops", require_mention=True)
    two_topics.home.route("telegram/ops", str(two_topics.forum.id), "9", "systems")
    main = two_topics.bots["main"]
    async with two_topics.home.running() as daemon:
        await two_topics.polling(main, ops)
        async with httpx.AsyncClient() as thief:
            stolen = await thief.post(f"{two_topics.telegram.url}/bot{main.token}/getUpdates", json={"timeout": 0})
            assert stolen.json() == {"ok": True, "result": []}
            bot = await daemon.bot("telegram/main", BotState.CONFLICT)
            assert "another program" in bot.detail
            assert bot.fix
        two_topics.alice.says(two_topics.forum, "while it conflicts", 6)
        two_topics.alice.says(two_topics.forum, "@ops_bot hello", 9)
        await two_topics.answer(lambda post: post.bot_id == ops.id)
        await two_topics.answer(lambda post: post.text == "echo: while it conflicts")
        await daemon.bot("telegram/main", BotState.UP)
        assert (await daemon.bot("telegram/ops", BotState.UP)).restarts == 0


async def test_a_migrated_group_keeps_its_route_history_and_answers(two_topics: Any) -> None:
    """ING-12: a group becomes a supergroup while a turn runs: route, conversation and answer follow."""
    world = two_topics.telegram.world
    old = world.group(-500, "Crew", type="group")
    two_topics.home.route("telegram", "-500", None, "career")
    two_topics.models.on(Reply(), Reply(delay=0.3), Reply(), key="key-of-career")
    async with two_topics.home.running() as daemon:
        await two_topics.asks("before", chat=old)
        two_topics.alice.says(old, "while it moves")
        with anyio.fail_after(GUARD):
            await two_topics.models.seen(2)
        new = world.group(-1000500, "Crew")
        said = two_topics.alice.says(old, "", extra={"migrate_to_chat_id": new.id})
        old.migrated_to = new.id
        two_topics.alice.says(new, "", extra={"migrate_from_chat_id": old.id})
        await two_topics.answer(lambda post: post.message["chat"]["id"] == new.id)
        before = len(two_topics.telegram.history(old.id))
        assert await two_topics.asks("after", chat=new) == "echo: after"
        assert "Profile: career" in await two_topics.asks("/profile", chat=new)
        await two_topics.settled(daemon)
        aliases = await daemon.read(lambda tx: tx.execute("SELECT old_chat, new_chat FROM chat_alias").fetchall())
    assert said["chat"]["id"] == -500
    assert aliases == [("-500", "-1000500")]
    assert [post.text for post in two_topics.telegram.history(new.id) if post.bot_id][:2] == [
        "echo: while it moves", "echo: after",
    ]  # fmt: skip
    assert len(two_topics.telegram.history(old.id)) == before
    last = [m["content"] for m in two_topics.models.requests[-1].messages[1:]]
    assert last == ["before", "echo: before", "while it moves", "echo: while it moves", "after"]


async def test_a_migration_learned_from_a_refused_send_moves_the_answer(two_topics: Any) -> None:
    """ING-12: nobody announced the move: the send is refused with the new id, and the answer arrives there, once."""
    world = two_topics.telegram.world
    old, new = world.group(-500, "Crew", type="group"), world.group(-1000500, "Crew")
    two_topics.home.route("telegram", "-500", None, "career")
    async with two_topics.home.running() as daemon:
        old.migrated_to = new.id
        two_topics.alice.says(old, "hello")
        await two_topics.answer(lambda post: post.text == "echo: hello")
        await two_topics.settled(daemon)
        assert "Profile: career" in await two_topics.asks("/profile", chat=new)
    assert next(post.text for post in two_topics.telegram.history(new.id) if post.bot_id) == "echo: hello"
    assert not [post for post in two_topics.telegram.history(old.id) if post.bot_id]


async def test_a_closed_topic_parks_the_answer_and_no_other_topic_gets_it(two_topics: Any) -> None:
    """ING-13: the topic is closed meanwhile: the answer waits, an operator sees it, and nothing appears elsewhere."""
    two_topics.models.on(Reply(delay=0.2), key="key-of-career")
    async with two_topics.home.running() as daemon:
        two_topics.alice.says(two_topics.forum, "hello", 6)
        with anyio.fail_after(GUARD):
            await two_topics.models.seen(1)
        topic = two_topics.forum.topics[6]
        two_topics.forum.topics[6] = replace(topic, closed=True)
        parked = await daemon.until(
            lambda tx: tx.execute("SELECT state, reason, thread_id FROM delivery WHERE state = 'parked'").fetchall()
        )
        assert await two_topics.asks("hello", thread=13) == "echo: hello"
        assert (await daemon.call("status"))["deliveries"]["parked"] == 1
    assert parked == [("parked", "thread_closed", "6")]
    assert [post.thread for post in two_topics.telegram.world.sent] == [13]


async def test_a_deleted_topic_fails_visibly_and_nothing_goes_to_general(two_topics: Any) -> None:
    """ING-13: the topic is gone: the row ends `failed` with its reason, nothing appears in General, others go on."""
    two_topics.models.on(Reply(delay=0.2), key="key-of-career")
    async with two_topics.home.running() as daemon:
        two_topics.alice.says(two_topics.forum, "hello", 6)
        with anyio.fail_after(GUARD):
            await two_topics.models.seen(1)
        del two_topics.forum.topics[6]
        ended = await daemon.until(
            lambda tx: tx.execute("SELECT state, reason FROM delivery WHERE state = 'failed'").fetchall()
        )
        assert await two_topics.asks("hello", thread=13) == "echo: hello"
        assert any("thread not found" in str(line) for line in daemon.log)
    assert ended == [("failed", "thread_gone")]
    assert [post.thread for post in two_topics.telegram.world.sent] == [13]
