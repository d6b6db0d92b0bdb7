"""Pairing: a stranger in a DM gets a code, an operator decides, and the decision stays."""

import re
from typing import Any

import pytest

from hermesd.errors import OperatorError


def code_in(text: str) -> str:
    found = re.search(r"pairing code is ([A-Z2-9]{8})", text)
    assert found, text
    return found[1]


async def test_a_stranger_is_let_in_by_the_code_and_stays_in(world: Any) -> None:
    """Code in the DM, listed and approved by the operator, told to the person, valid after a restart, for one bot."""
    main, other = world.bot("main"), world.bot("other")
    bob = world.telegram.user(222, "Bob")

    async def bob_asks(text: str, bot: Any = main) -> str:
        last = world.telegram.world.posted[-1].serial if world.telegram.world.posted else 0
        bob.says(bot, text)
        mine = (bot.id, bob.id)
        return (await world.answer(lambda p: (p.bot_id, p.message["chat"]["id"]) == mine, after=last)).text

    async with world.home.running() as daemon:
        code = code_in(await bob_asks("hello"))
        assert not world.models.requests
        bob.says(main, "are you there?")
        await world.settled(daemon)
        assert len([post for post in world.telegram.world.sent if post.bot_id == main.id]) == 1  # said once
        (waiting,) = await daemon.call("pairing_list")
        assert (waiting["code"], waiting["user_id"], waiting["key"]) == (code, "222", "telegram/main")
        await daemon.call("pairing_approve", code=code.lower())
        await world.answer(lambda post: "You are in" in post.text)
        assert await bob_asks("hello again") == "echo: hello again"
        assert "pairing code" in await bob_asks("and here?", other)
        kinds = [event["kind"] for event in await daemon.call("audit_tail", limit=50)]
    async with world.home.running() as daemon:
        assert await bob_asks("still in") == "echo: still in"
        assert "admins" in await bob_asks("/pause")
        assert (await daemon.call("audit_verify"))["ok"]
    assert "pairing.approved" in kinds


async def test_a_denied_or_made_up_code_opens_nothing(world: Any) -> None:
    """A denied code cannot be approved later, and an invented one is refused with the way to see the real ones."""
    main = world.bot("main")
    bob = world.telegram.user(222, "Bob")
    async with world.home.running() as daemon:
        bob.says(main, "hello")
        code = code_in((await world.answer(lambda post: post.bot_id == main.id)).text)
        await daemon.call("pairing_deny", code=code)
        for wrong in (code, "AAAAAAAA"):
            with pytest.raises(OperatorError, match="no open pairing code") as refused:
                await daemon.call("pairing_approve", code=wrong)
            assert "pairing list" in refused.value.hint
        bob.says(main, "hello?")
        await world.settled(daemon)
    assert not world.models.requests


async def test_in_a_group_a_stranger_gets_no_code(world: Any) -> None:
    """Codes are offered in direct messages only: in a group the stranger is refused once, by id."""
    world.bot("main", require_mention=True)
    bob = world.telegram.user(222, "Bob")
    async with world.home.running() as daemon:
        bob.says(world.forum, "@main_bot hello", 6)
        bob.says(world.forum, "@main_bot hello?", 6)
        bob.says(world.forum, "not to the bot", 6)
        await world.settled(daemon)
        assert await daemon.call("pairing_list") == []
    (refusal,) = world.telegram.world.sent
    assert "222" in refusal.text
    assert not world.models.requests


async def test_nobody_is_allowed_by_default(world: Any) -> None:
    """ISO-09: a bot without an allowlist and without pairing answers nobody, not even `/help`, and asks no model."""
    main = world.bot("main", allow=[], admins=[], pairing=False)
    async with world.home.running() as daemon:
        for text in ("hello", "/help", "/status", "/pause all"):
            world.alice.says(main, text)
            world.alice.says(world.forum, text, 6)
        await world.settled(daemon)
        states = await daemon.read(lambda tx: tx.execute("SELECT DISTINCT state, reason FROM inbound").fetchall())
        assert (await daemon.call("status"))["paused"] == []
    assert set(states) <= {("refused", "not on the bot's allowlist"), ("ignored", "not allowed")}
    assert not world.models.requests
