"""Commands are answered at once, also in the conversation whose turn hangs."""

from typing import Any

import anyio
import pytest

from hermesd.testing.openai import Reply

GUARD = 30.0
COMMANDS = {
    "/help": "Write to me",
    "/start": "Write to me",
    "/profile": "Profile: career",
    "/whoami": "You are 111",
    "/whereami": "-1003961179976:6",
    "/status": "working on an answer",
    "/usage": "Today",
    "/sessions": "conversation",
    "/title Plans": "Plans",
    "/retry": "still working",
    "/undo": "nothing to undo",
    "/nonsense": "do not know",
    "/reload": "Reload",
}


@pytest.fixture
def hanging(two_topics: Any) -> Any:
    """Career's model never answers."""
    two_topics.models.on(Reply(fault="hang"), key="key-of-career")
    return two_topics


async def test_every_command_answers_behind_a_hanging_turn(hanging: Any) -> None:
    """With a turn that hangs and a message that waits, each command is answered, in order, and other topics go on."""
    async with hanging.home.running():
        hanging.alice.says(hanging.forum, "hang", 6)
        with anyio.fail_after(GUARD):
            await hanging.models.seen(1)
        hanging.alice.says(hanging.forum, "wait", 6)
        for command, expected in COMMANDS.items():
            assert expected in await hanging.asks(command, thread=6), command
        assert await hanging.asks("hello", thread=13) == "echo: hello"


async def test_stop_ends_the_hanging_turn_and_the_waiting_one_runs(hanging: Any) -> None:
    """`/stop` is not queued behind what it stops: the turn ends, nothing of it is said later, the next message runs."""
    hanging.models.on(Reply(fault="hang"), Reply(), key="key-of-career")
    async with hanging.home.running() as daemon:
        hanging.alice.says(hanging.forum, "hang", 6)
        with anyio.fail_after(GUARD):
            await hanging.models.seen(1)
        hanging.alice.says(hanging.forum, "wait", 6)
        hanging.alice.says(hanging.forum, "/stop", 6)
        await hanging.settled(daemon)
        states = await daemon.read(lambda tx: tx.execute("SELECT text, state FROM turn ORDER BY seq").fetchall())
    assert states == [("hang", "cancelled"), ("wait", "done")]
    texts = [post.text for post in hanging.telegram.history(hanging.forum.id, 6) if post.bot_id]
    assert texts[0].startswith("Stopped")
    assert texts[1:] == ["echo: wait"]


async def test_retry_runs_a_stopped_message_again(hanging: Any) -> None:
    """After `/stop`, `/retry` asks the same message again as a new turn with its own answer."""
    hanging.models.on(Reply(fault="hang"), Reply(text="second try"), key="key-of-career")
    async with hanging.home.running() as daemon:
        hanging.alice.says(hanging.forum, "hang", 6)
        with anyio.fail_after(GUARD):
            await hanging.models.seen(1)
        await hanging.asks("/stop", thread=6)
        hanging.alice.says(hanging.forum, "/retry", 6)
        await hanging.settled(daemon)
    texts = [post.text for post in hanging.telegram.history(hanging.forum.id, 6) if post.bot_id]
    assert texts[-1] == "second try"
    assert [request.last_user for request in hanging.models.requests] == ["hang", "hang"]
