"""Routes, profiles and bots change while messages are under way."""

import asyncio
from typing import Any

import anyio

from hermesd.address import AdapterKey
from hermesd.delivery.policy import DUPLICATE_MARK
from hermesd.message import Outgoing
from hermesd.ports import BotState


class Slow:
    """A model that answers when the test lets it."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, profile: str, request: Any, gate: Any) -> str:
        self.began.set()
        await self.go.wait()
        return f"{profile}: {request.prompt}"


async def test_a_turn_keeps_the_epoch_it_was_admitted_under(home: Any) -> None:
    """Routes change between admission and answer: the running and the waiting turn stay with their profile and epoch,
    the next message goes by the new one, and each audit row has one epoch (RT-05).
    """
    home.profile("career")
    slow = home.models.answers = Slow()
    async with home.running() as daemon:
        await daemon.says("running")
        await slow.began.wait()
        await daemon.says("waiting")
        await daemon.decided()
        home.route("c1", "career")
        home.save()
        report = await daemon.reloader.reload()
        assert (report.result, report.epoch) == ("applied", 2)
        assert "epoch: 2" in await daemon.asks("/profile")
        await daemon.says("after")
        slow.go.set()
        await daemon.settled()
        rows = await daemon.rows("SELECT json_extract(detail, '$.epoch') FROM audit WHERE kind = 'turn.done'")
    assert sorted(home.platform.texts()[1:]) == ["career: after", "default: running", "default: waiting"]
    assert sorted(rows) == [(1,), (1,), (2,)]


async def test_a_bot_that_is_removed_ends_alone(home: Any) -> None:
    """Removed while sends and turns are under way: its parts are parked, the other bot is not touched, its return
    delivers everything in order (RT-06).
    """
    home.bot("other")
    began, go = asyncio.Event(), asyncio.Event()

    async def on_send(message: Outgoing) -> None:
        if message.address.adapter.bot_id == "main" and not go.is_set():
            began.set()
            await go.wait()

    home.platform.on_send = on_send
    async with home.running() as daemon:
        for n in range(5):
            await daemon.says(f"n{n}")
        await began.wait()
        home.settings["bots"] = [bot for bot in home.settings["bots"] if bot["bot_id"] == "other"]
        home.save()
        report = await daemon.reloader.reload()
        assert report.applied[-1] == "bot scripted/main stopped"
        go.set()
        await daemon.says("hello", to="other", chat="o")
        await home.platform.until(lambda: home.platform.texts("o") == ["default: hello"])
        await daemon.until("SELECT count(*) FROM turn WHERE state = 'running'", 0)
        await daemon.until("SELECT count(*) FROM delivery WHERE state IN ('pending', 'attempting')", 0)
        assert home.platform.built[AdapterKey("scripted", "other")] == 1
        home.bot("main")
        home.save()
        await daemon.reloader.reload()
        await daemon.settled()
        assert await daemon.rows("SELECT DISTINCT state FROM delivery") == [("sent",)]
    assert home.platform.texts("c1") == [f"default: n{n}" for n in range(5)]


async def test_only_the_bot_that_changed_is_restarted(home: Any) -> None:
    """Another address for one of three bots: one new connection; a new allowlist: none at all (RT-08)."""
    for name in ("b", "c"):
        home.bot(name)
    async with home.running() as daemon:
        home.bot("b", variant="elsewhere")
        home.save()
        await daemon.reloader.reload()
        await daemon.state("b", BotState.UP)
        built = {key.bot_id: many for key, many in home.platform.built.items()}
        assert built == {"main": 1, "b": 2, "c": 1}
        home.bot("c", allow=["nobody"])
        home.save()
        await daemon.reloader.reload()
        assert "pairing code" in await daemon.asks("hi", to="c")
        assert sum(home.platform.built.values()) == 4
        assert await daemon.asks("hello", to="b") == "default: hello"


async def test_a_broken_file_changes_nothing(home: Any) -> None:
    """Half a file, an unknown profile, garbage: refused, and the old configuration stays whole (RT-01)."""
    home.profile("career")
    home.route("c1", "career")
    async with home.running() as daemon:
        good = home.config.read_text()
        for bad in (good[: len(good) // 2], good.replace("career", "nobody"), "bots: [", "\0", "", good + "bots: []\n"):
            home.config.write_text(bad)
            report = await daemon.reloader.reload()
            assert (report.result, report.epoch) == ("rejected", 1), bad
            assert report.rejected
            assert await daemon.asks("hello") == "career: hello"


async def test_a_removed_profile_answers_nobody(home: Any) -> None:
    """Its folder and route are gone while messages wait: they are held visibly, over a restart too, and no other
    profile takes them; back again, it answers (RT-02, RT-07).
    """
    place = home.profile("career")
    home.route("c1", "career")
    slow = home.models.answers = Slow()
    async with home.running() as daemon:
        await daemon.says("running")
        await slow.began.wait()
        await daemon.says("waiting")
        await daemon.decided()
        place.rename(home.root / "gone")
        del home.settings["routes"]["scripted"]["c1"]
        home.save()
        report = await daemon.reloader.reload()
        assert "profile career removed" in report.applied
        slow.go.set()
        await home.platform.until(lambda: any("not available" in text for text in home.platform.texts()))
    async with home.running() as daemon:
        assert [turn.text for turn in await daemon.queued()] == ["waiting"]
        (home.root / "gone").rename(place)
        await daemon.reloader.reload()
        await daemon.settled()
    asked = [(profile, request.prompt) for profile, request in home.models.asked]
    assert asked == [("career", "running"), ("career", "waiting")]


async def test_many_reloads_at_once_become_few(home: Any) -> None:
    """200 requests together: the last file wins, two loads at most, everybody gets a report (RT-09)."""
    home.profile("career")
    loads = []
    async with home.running() as daemon:
        load, reports = daemon.reloader._load, []

        async def counted() -> Any:
            loads.append(1)
            return await load()

        daemon.reloader._load = counted

        async def ask() -> None:
            reports.append(await daemon.reloader.reload())

        for n in range(200):
            home.route(f"c{n}", "career")
        home.save()
        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(ask)
        assert len(reports) == 200
        assert len(loads) <= 2
        assert await daemon.asks("hello", chat="c199") == "career: hello"


async def test_a_reload_whose_asker_goes_away_is_seen_to_its_end(home: Any) -> None:
    """Cancelled in the middle of applying: settings and bots still belong to one configuration (RT-01)."""
    async with home.running() as daemon:
        home.bot("second")
        home.save()
        applied = asyncio.Event()
        apply = daemon.house.fleet.apply

        async def slow(bots: Any) -> Any:
            applied.set()
            await asyncio.sleep(0)
            return await apply(bots)

        type(daemon.house.fleet).apply, original = (lambda self, bots: slow(bots)), type(daemon.house.fleet).apply
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(daemon.reloader.reload)
                await applied.wait()
                tasks.cancel_scope.cancel()
        finally:
            type(daemon.house.fleet).apply = original
        await daemon.state("second", BotState.UP)
        assert len(daemon.ground.live.snapshot.settings.bots) == 2


async def test_a_bot_restarts_under_load_without_loss(home: Any) -> None:
    """A new connection again and again while people write: every message is answered once, in order (RT-08)."""
    async with home.running() as daemon:
        for n in range(60):
            if n % 6 == 3:
                home.bot("main", variant=f"v{n}")
                home.save()
                await daemon.reloader.reload()
                await daemon.state("main", BotState.UP)
            await daemon.says(f"n{n}", chat=f"c{n % 5}")
        await daemon.settled()
    for chat in range(5):
        texts = [text.removeprefix(DUPLICATE_MARK) for text in home.platform.texts(f"c{chat}")]
        assert texts == [f"default: n{n}" for n in range(chat, 60, 5)]
