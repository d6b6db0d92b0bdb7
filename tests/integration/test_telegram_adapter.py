"""The Telegram adapter against the fake Bot API: real sockets, the genuine SDK, Telegram's own rules."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from telegram import Bot

from hermesd import errors
from hermesd.address import AdapterKey, Address
from hermesd.message import MessageKind, Outgoing
from hermesd.ports import BotState, SecretRef
from hermesd.testing.host import MemoryHost, MemoryLog
from hermesd.testing.telegram import FakeTelegram
from hermesd.testing.telegram.client import Remote
from hermesd_telegram import TelegramAdapter, TelegramPlugin, TelegramSettings

TOKENS = {"career": "7000001:AA-career-secret", "finance": "7000002:AA-finance-secret"}


class Stage:
    """A fake Telegram with a forum, and bots on it."""

    def __init__(self, server: FakeTelegram) -> None:
        self.server = server
        self.plugin = TelegramPlugin()
        self.forum = server.forum(-1002, "House", {6: "career", 7: "finance"})
        self.alice = server.user(111, "Alice")

    def bot(self, name: str, host: MemoryHost | None = None, **settings: Any) -> tuple[TelegramAdapter, MemoryHost]:
        self.server.bot(TOKENS[name], f"{name}_bot")
        host = host or MemoryHost(AdapterKey("telegram", name), secrets={SecretRef("env", name): TOKENS[name]})
        given = {"bot_id": name, "token": f"${{env:{name}}}", "base_url": self.server.url, "poll_timeout": 20}
        adapter = self.plugin.build(TelegramSettings(**{**given, **settings}), host)
        host.attach(adapter.parse)
        return adapter, host


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with FakeTelegram() as server:
        yield Stage(server)


class running:  # noqa: N801 - reads as a word: `async with running(adapter, host)`
    """Run an adapter until the block ends; entered when it is up."""

    def __init__(self, *bots: tuple[TelegramAdapter, MemoryHost]) -> None:
        self._bots = bots

    async def __aenter__(self) -> None:
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        for adapter, _ in self._bots:
            self._group.start_soon(adapter.run)
        for _, host in self._bots:
            await asyncio.wait_for(host.wait_state(BotState.UP), 5)

    async def __aexit__(self, *exception: object) -> None:
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(*exception)
        for adapter, _ in self._bots:
            await adapter.close()


def say(place: Address, text: str, **how: Any) -> Outgoing:
    return Outgoing("d1", place, text, **how)


async def test_two_bots_in_one_forum_hear_and_answer_apart(stage: Stage) -> None:
    """Two bots share one server's connections, each hears the forum, each answers in the topic it is told to."""
    (one, host1), (two, host2) = stage.bot("career"), stage.bot("finance")
    async with running((one, host1), (two, host2)):
        assert len(stage.plugin.endpoints.open) == 1
        stage.alice.says(stage.forum, "hello", thread=6)
        await asyncio.wait_for(asyncio.gather(host1.wait_for(1), host2.wait_for(1)), 5)
        assert {str(host.messages()[0].address) for host in (host1, host2)} == {
            "telegram/career:-1002:6",
            "telegram/finance:-1002:6",
        }
        await one.send(say(Address(one.key, "-1002", "6"), "from career"))
        await two.send(say(Address(two.key, "-1002", "7"), "from finance"))
    assert [item.text for item in stage.server.history(-1002, 6)] == ["hello", "from career"]
    assert [item.text for item in stage.server.history(-1002, 7)] == ["from finance"]
    assert stage.plugin.endpoints.open == {}


async def test_general_is_written_without_a_thread_id(stage: Stage) -> None:
    """Thread `1` is General, which Telegram only finds when no thread is named."""
    adapter, _ = stage.bot("career")
    general = Address(adapter.key, "-1002", "1")
    await adapter.send(say(general, "hello"))
    await adapter.typing(general)
    await adapter.close()
    assert [(item.text, item.thread) for item in stage.server.history(-1002)] == [("hello", None)]


async def test_a_thread_that_is_no_number_is_gone_not_general(stage: Stage) -> None:
    """An address Telegram cannot mean is refused; it never falls back to the chat itself."""
    adapter, _ = stage.bot("career")
    with pytest.raises(errors.Rejected):
        await adapter.send(say(Address(adapter.key, "-1002", "x"), "hello"))
    with pytest.raises(errors.Rejected) as gone:
        await adapter.send(say(Address(adapter.key, "-1002", "99"), "hello"))
    await adapter.close()
    assert gone.value.reason == "thread_gone"
    assert stage.server.history(-1002) == []


async def test_refused_markup_is_sent_once_as_plain_text(stage: Stage) -> None:
    """When Telegram cannot read our HTML, the words still arrive, once (DLV-05)."""
    adapter, host = stage.bot("career")
    stage.server.fault("sendMessage", status=400, description="Bad Request: can't parse entities: odd")
    await adapter.send(say(Address(adapter.key, "-1002", "6"), "**hello**"))
    await adapter.close()
    assert [item.text for item in stage.server.history(-1002, 6)] == ["**hello**"]
    assert isinstance(host.log, MemoryLog)
    assert "hello" not in repr(host.log.lines)


async def test_a_table_that_grows_by_padding_is_sent_as_its_source(stage: Stage) -> None:
    """A part that fits as source but not when rendered is shown as source instead of being refused."""
    adapter, _ = stage.bot("career")
    table = "|a|b|\n|-|-|\n" + f"|{'x' * 400}|y|\n" + "|z|z|\n" * 60
    await adapter.send(say(Address(adapter.key, "-1002", "6"), table))
    await adapter.close()
    assert stage.server.history(-1002, 6)[0].text == table.strip() or stage.server.history(-1002, 6)[0].text == table


async def test_markup_that_shows_nothing_is_sent_as_its_source(stage: Stage) -> None:
    """A part of nothing but a link definition is not an empty message."""
    adapter, _ = stage.bot("career")
    await adapter.send(say(Address(adapter.key, "-1002", "6"), "[a]: http://x.y"))
    with pytest.raises(errors.Rejected):
        await adapter.send(say(Address(adapter.key, "-1002", "6"), " \n"))
    await adapter.close()
    assert stage.server.history(-1002, 6)[0].text == "[a]: http://x.y"


async def test_an_answer_survives_the_message_it_answers(stage: Stage) -> None:
    """A reply target that exists is used; one that was deleted, or lies in another chat, is left out."""
    adapter, _ = stage.bot("career")
    asked = stage.alice.says(stage.forum, "question", thread=6)
    place = Address(adapter.key, "-1002", "6")
    await adapter.send(say(place, "one", reply_to=f"-1002:{asked['message_id']}"))
    await adapter.send(say(place, "two", reply_to="-1002:999"))
    await adapter.send(say(place, "three", reply_to="-5:1"))
    await adapter.close()
    posted = stage.server.history(-1002, 6)[1:]
    assert [item.text for item in posted] == ["one", "two", "three"]
    assert [item.message.get("reply_to_message", {}).get("text") for item in posted] == ["question", None, None]


async def test_previews_are_off(stage: Stage) -> None:
    """Every send says that links are not to be opened by Telegram (DLV-09)."""
    adapter, _ = stage.bot("career")
    await adapter.send(say(Address(adapter.key, "-1002", "6"), "http://x.y"))
    await adapter.close()
    (_, _, given) = stage.server.requests[-1]
    assert given["link_preview_options"] == {"is_disabled": True}
    assert given["message_thread_id"] == 6


async def test_the_receipt_for_updates_is_sent_once_and_only_after_storing(stage: Stage) -> None:
    """The offset follows the commit, is carried by one poll and then left out."""
    adapter, host = stage.bot("career", poll_timeout=1)
    bot = stage.server.bot(TOKENS["career"])
    async with running((adapter, host)):
        stage.alice.says(bot, "hello")
        await asyncio.wait_for(host.wait_for(1), 5)
        assert await host.cursor() == "100001"
        await asyncio.wait_for(stage.server.until(lambda: list(bot.offsets)[-2:] == [100001, None]), 5)
    offsets = list(bot.offsets)
    assert offsets.count(100001) == 1
    assert set(offsets) == {None, 100001}


async def test_update_numbers_may_jump_back(stage: Stage) -> None:
    """After a quiet week Telegram counts from anywhere: every message is still stored exactly once."""
    adapter, host = stage.bot("career")
    bot = stage.server.bot(TOKENS["career"])
    bot.next_update_id = 900_000_000
    async with running((adapter, host)):
        for number, start in enumerate((900_000_000, 100_000, 500_000_000, 7)):
            bot.next_update_id = start
            stage.alice.says(bot, f"m{number}")
            await asyncio.wait_for(host.wait_for(number + 1), 5)
        await asyncio.wait_for(stage.server.until(lambda: not bot.queue), 5)
    again, host = stage.bot("career", host)
    bot.next_update_id = 5
    stage.alice.says(bot, "m4")
    host.reports.clear()
    async with running((again, host)):
        await asyncio.wait_for(host.wait_for(5), 5)
    assert [message.text for message in host.messages()] == ["m0", "m1", "m2", "m3", "m4"]


async def test_a_poison_update_harms_only_itself(stage: Stage) -> None:
    """Updates nobody can read are stored and confirmed like the others, which flow on."""
    adapter, host = stage.bot("career")
    bot = stage.server.bot(TOKENS["career"])
    async with running((adapter, host)):
        stage.alice.says(bot, "before")
        stage.server.world.push(bot, {"update_id": bot.next_update_id, "message": {"chat": "nonsense"}})
        stage.server.world.push(bot, {"no": "number"})
        stage.alice.says(bot, "after")
        await asyncio.wait_for(host.wait_for(4), 5)
        await asyncio.wait_for(stage.server.until(lambda: not bot.queue), 5)
    read, refused = [], 0
    for event in host.events:
        try:
            read += [message.text for message in adapter.parse(event)]
        except ValueError:
            refused += 1
    assert (read, refused) == (["before", "after"], 2)


async def test_updates_without_numbers_do_not_spin(stage: Stage) -> None:
    """When nothing can be confirmed the adapter stops and lets the supervisor wait, instead of asking for ever."""
    adapter, host = stage.bot("career")
    stage.server.world.push(stage.server.bot(TOKENS["career"]), {"no": "number"})
    with pytest.raises(errors.Unreachable):
        await asyncio.wait_for(adapter.run(), 5)
    await adapter.close()
    assert len(host.events) == 1


async def test_a_long_backlog_arrives_whole_and_in_order(stage: Stage) -> None:
    """More than one answer's worth of updates is fetched in turn, each once."""
    adapter, host = stage.bot("career")
    for number in range(350):
        stage.alice.says(stage.server.bot(TOKENS["career"]), str(number))
    async with running((adapter, host)):
        await asyncio.wait_for(host.wait_for(350), 10)
        assert host.offered == 350
    assert [message.text for message in host.messages()] == [str(number) for number in range(350)]


async def test_a_webhook_is_removed_and_nothing_dropped(stage: Stage) -> None:
    """Telegram does not poll while a webhook is set: it goes, what waits stays."""
    adapter, host = stage.bot("career")
    bot = stage.server.bot(TOKENS["career"])
    bot.webhook = "https://old.example/hook"
    stage.alice.says(bot, "waiting")
    assert [finding.level for finding in await adapter.probe() if "webhook" in finding.what] == ["warning"]
    async with running((adapter, host)):
        await asyncio.wait_for(host.wait_for(1), 5)
    assert bot.webhook == ""


async def test_an_unknown_self_is_not_up(stage: Stage) -> None:
    """A bot that is not told who it is does not receive: it could not tell its own messages from people's."""
    adapter, host = stage.bot("career")
    stage.server.bot(TOKENS["career"]).username = ""
    with pytest.raises(errors.Unreachable):
        await asyncio.wait_for(adapter.run(), 5)
    await adapter.close()
    assert host.state is None


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "garbage"])
async def test_a_broken_poll_loses_nothing(stage: Stage, kind: Any) -> None:
    """Whatever becomes of an answer to a poll, the messages come with the next run."""
    adapter, host = stage.bot("career")
    stage.alice.says(stage.server.bot(TOKENS["career"]), "hello")
    stage.server.fault("getUpdates", kind)
    with pytest.raises(errors.Unreachable):
        await asyncio.wait_for(adapter.run(), 5)
    async with running((adapter, host)):
        await asyncio.wait_for(host.wait_for(1), 5)
    assert [message.text for message in host.messages()] == ["hello"]


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("drop_before", {}),
        ("drop_after", {}),
        ("garbage", {}),
        ("answer", {"status": 502}),
        ("answer", {"status": 500}),
    ],
)
async def test_an_unclear_send_is_ambiguous(stage: Stage, kind: Any, how: dict[str, Any]) -> None:
    """Once bytes have left, nothing but a clear answer says whether the message arrived; there is no second try."""
    adapter, _ = stage.bot("career")
    stage.server.fault("sendMessage", kind, **how)
    with pytest.raises(errors.Ambiguous):
        await adapter.send(say(Address(adapter.key, "-1002", "6"), "hello"))
    await adapter.close()
    assert stage.server.calls["sendmessage"] == 1


async def test_a_429_without_json_still_waits(stage: Stage) -> None:
    """A proxy's 429 carries no parameters; it is still known that nothing was sent."""
    adapter, _ = stage.bot("career")
    stage.server.fault("sendMessage", status=429, retry_after=0)
    with pytest.raises(errors.RateLimited) as limited:
        await adapter.send(say(Address(adapter.key, "-1002", "6"), "hello"))
    await adapter.close()
    assert limited.value.retry_after == 0


async def test_a_long_poll_does_not_hold_up_answers(stage: Stage) -> None:
    """While a poll waits, sends go through."""
    adapter, host = stage.bot("career")
    bot = stage.server.bot(TOKENS["career"])
    async with running((adapter, host)):
        await stage.server.until(lambda: bot.polls == 2)
        place = Address(adapter.key, "-1002", "6")
        await asyncio.wait_for(asyncio.gather(*(adapter.send(say(place, f"m{n}")) for n in range(100))), 10)
        assert bot.polls == 2
    assert len(stage.server.history(-1002, 6)) == 100


async def test_closing_one_bot_leaves_sends_under_way_alone(stage: Stage) -> None:
    """An answer that is on its way when its adapter is closed still arrives, and its receipt with it."""
    adapter, _ = stage.bot("career")
    hold = stage.server.fault("sendMessage", "hang")
    place = Address(adapter.key, "-1002", "6")
    async with anyio.create_task_group() as tasks:
        failed: list[Exception] = []

        async def send() -> None:
            try:
                await adapter.send(say(place, "slow"))
            except errors.PlatformError as error:
                failed.append(error)

        tasks.start_soon(send)
        await stage.server.until(lambda: stage.server.calls.get("sendmessage") == 1)
        await adapter.close()
        assert len(stage.plugin.endpoints.open) == 1
        stage.server.faults.script.remove(hold)
        stage.server.world.changed.notify()
    assert [type(error) for error in failed] == [errors.Ambiguous]
    assert stage.plugin.endpoints.open == {}


async def test_migration_is_seen_from_both_sides(stage: Stage) -> None:
    """A send to the old id names the new one, and so does the update."""
    adapter, host = stage.bot("career")
    old = stage.server.world.group(-5, type="group")
    old.migrated_to = -1009
    async with running((adapter, host)):
        with pytest.raises(errors.Migrated) as moved:
            await adapter.send(say(Address(adapter.key, "-5"), "hello"))
        stage.alice.says(old, "", extra={"migrate_to_chat_id": -1009})
        await asyncio.wait_for(host.wait_for(1), 5)
    assert moved.value.new_chat_id == "-1009"
    assert (host.messages()[0].kind, host.messages()[0].migrated_to) == (MessageKind.MIGRATION, "-1009")


async def test_probe_looks_at_the_rights_in_routed_groups(stage: Stage) -> None:
    """`doctor` names each group of a route in which the bot may not write or is missing, and the click for it."""
    adapter, _ = stage.bot("career")
    bot = stage.server.bot(TOKENS["career"])
    forum = stage.server.forum(-1001, "House", {6: "career"})
    good = await adapter.probe(["-1001", "111"])
    assert [f.level for f in good if "-1001" in f.what] == ["ok"]
    assert not any("111" in f.what for f in good)
    bot.muted_in.add(forum.id)
    (muted,) = [f for f in await adapter.probe(["-1001"]) if f.level == "error"]
    assert "Permissions" in muted.fix
    (missing,) = [f for f in await adapter.probe(["-4242"]) if f.level == "error"]
    assert "add" in missing.fix
    await adapter.close()


async def test_probe_names_the_exact_click(stage: Stage) -> None:
    """`doctor` sees privacy mode and a bad token, and says which button helps."""
    adapter, _ = stage.bot("career")
    bot = stage.server.bot(TOKENS["career"])
    bot.can_read_all = False
    fixes = [finding.fix for finding in await adapter.probe() if finding.level == "warning"]
    assert "/setprivacy" in fixes[0]
    bot.refused = 404
    (finding,) = await adapter.probe()
    assert (finding.level, "/token" in finding.fix) == ("error", True)
    await adapter.close()


async def test_the_token_is_in_no_log_of_anybody(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the SDK nor the HTTP library logs the address, which holds the token, not even at DEBUG."""
    caplog.set_level("DEBUG")
    adapter, host = stage.bot("career")
    async with running((adapter, host)):
        await adapter.send(say(Address(adapter.key, "-1002", "6"), "hello"))
    leaks = [record.name for record in caplog.records if TOKENS["career"] in record.getMessage()]
    assert leaks == []


async def test_the_genuine_client_and_the_fake_agree(stage: Stage) -> None:
    """The SDK's own polling and types work against the fake, so that what it shows is what Telegram would."""
    stage.server.bot(TOKENS["finance"], "finance_bot")
    base = f"{stage.server.url}/bot"
    async with Bot(TOKENS["finance"], base_url=base, base_file_url=base) as bot:
        assert bot.username == "finance_bot"
        stage.alice.says(stage.forum, "/start@finance_bot", thread=7)
        (update,) = await bot.get_updates(timeout=1)
        assert update.message is not None
        assert (update.message.message_thread_id, update.message.is_topic_message) == (7, True)
        sent = await bot.send_message(-1002, "<b>x</b>", message_thread_id=7, parse_mode="HTML")
        assert [entity.type for entity in sent.entities] == ["bold"]
        edited = await bot.edit_message_text("y", -1002, sent.message_id)
        assert getattr(edited, "text", None) == "y"
        assert await bot.get_updates(offset=update.update_id + 1) == ()
    assert [item.text for item in stage.server.history(-1002, 7)] == ["/start@finance_bot", "y"]


async def test_a_second_poller_ends_the_first(stage: Stage) -> None:
    """Two programs with one token: the one that polled first gets a conflict, nothing is lost."""
    adapter, host = stage.bot("career")
    bot = stage.server.bot(TOKENS["career"])
    ended = asyncio.create_task(adapter.run(), name="first poller")
    await asyncio.wait_for(host.wait_state(BotState.UP), 5)
    await stage.server.until(lambda: bot.polls == 2)
    base = f"{stage.server.url}/bot"
    async with Bot(TOKENS["career"], base_url=base, base_file_url=base) as other:
        await other.get_updates(timeout=0)
        with pytest.raises(errors.Conflict):
            await asyncio.wait_for(ended, 5)
    await adapter.close()


async def test_the_fake_as_a_process_keeps_its_world(tmp_path: Any) -> None:
    """Stopped and started again with a state file, the fake still holds what was said and what nobody confirmed."""
    state = tmp_path / "world.json"
    for round_ in (1, 2):
        fake = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hermesd.testing.telegram", "--port", "0", "--state-file", str(state),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert fake.stdout is not None
        url = (await asyncio.wait_for(fake.stdout.readline(), 30)).decode().split()[-1]
        async with Remote(url) as remote:
            if round_ == 1:
                token = TOKENS["career"]
                await remote.setup([{"token": token, "username": "career_bot"}], [{"id": -1, "topics": {"6": "c"}}])
                await remote.say([{"user": 1, "chat": -1, "thread": 6, "text": "hi", "times": 2}])
                base = f"{url}/bot"
                async with Bot(token, base_url=base, base_file_url=base) as bot:
                    await bot.send_message(-1, "yo", message_thread_id=6)
            assert (await remote.state())["career_bot"]["pending"] == 2
            assert [item["message"]["text"] for item in await remote.history(-1, 6)] == ["hi", "hi", "yo"]
            sent = await remote.sent(count=1, wait=5)
            assert [item["message"]["text"] for item in sent] == ["yo"]
        os.kill(fake.pid, signal.SIGTERM)
        assert await asyncio.wait_for(fake.wait(), 10) == 0
    assert json.loads(state.read_text())["posted"]
