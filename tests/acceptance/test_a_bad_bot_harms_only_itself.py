"""OPS-01: one bot with a refused token and one that hangs while it connects, of five."""

from typing import Any

from hermesd.ports import BotState


async def test_three_of_five_bots_answer_whatever_the_other_two_do(world: Any) -> None:
    """One bad token, one hanging connect: the daemon is up, both are shown with the way out, and three bots answer."""
    bots = [world.bot(f"b{n}") for n in range(5)]
    bad, hanging, good = bots[0], bots[1], bots[2:]
    bad.refused = 401
    world.telegram.fault("getMe", "hang", times=-1, token=hanging.token)
    async with world.home.running() as daemon:
        for bot in good:
            assert await world.asks("hello", chat=bot) == "echo: hello"
        status = {bot["key"]: bot for bot in (await daemon.call("status"))["bots"]}
        assert status["telegram/b0"]["state"] == "unauthorized"
        assert "BotFather" in status["telegram/b0"]["fix"]
        assert status["telegram/b1"]["state"] == "starting"
        assert [status[f"telegram/b{n}"]["state"] for n in (2, 3, 4)] == ["up"] * 3
        assert [status[f"telegram/b{n}"]["restarts"] for n in (2, 3, 4)] == [0] * 3
        # the daemon was ready without waiting for the one that hangs for ever
        assert "5 bots" in daemon.notices.ready[0].status


async def test_a_bad_bot_heals_without_the_others_noticing(world: Any) -> None:
    """The right token is put into its file and a reload asked for: the bot comes up, the other's poll is the same."""
    good, bad = world.bot("good"), world.bot("bad")
    world.home.secret("bad", "1001:wrong")
    async with world.home.running() as daemon:
        await daemon.bot("telegram/bad", BotState.UNAUTHORIZED)
        await world.polling(good)
        polls = good.polls
        world.home.secret("bad", bad.token)
        await daemon.reload()
        await daemon.bot("telegram/bad", BotState.UP)
        assert good.polls == polls
        assert await world.asks("hello", chat=bad) == "echo: hello"


async def test_a_token_that_dies_in_the_middle_keeps_the_answer(world: Any) -> None:
    """401 while an answer is under way: the answer waits, the bot is `unauthorized`, it arrives after repair."""
    main, other = world.bot("main"), world.bot("other")
    async with world.home.running() as daemon:
        await world.polling(main, other)
        world.telegram.fault("sendMessage", status=401, description="Unauthorized", times=1, token=main.token)
        world.alice.says(main, "hello")
        await daemon.bot("telegram/main", BotState.UNAUTHORIZED)
        assert await world.asks("hello", chat=other) == "echo: hello"
        world.home.telegram("main", main.token, world.telegram.url, allow=["111"], admins=[], pairing=False)
        world.home.settings["bots"][-1]["poll_timeout"] = 20
        world.home.save()
        await daemon.reload()
        await world.answer(lambda post: post.bot_id == main.id and post.text == "echo: hello")
    assert sum(post.bot_id == main.id for post in world.telegram.world.sent) == 1
