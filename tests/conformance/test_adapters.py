"""What every adapter promises, tried on every platform; see hermesd.testing.conformance for the rigs."""

import asyncio
import copy
import json
import random
from typing import Any

import pytest

from hermesd import errors
from hermesd.address import Address
from hermesd.message import InboundMessage, MessageKind, Outgoing, RawEvent
from hermesd.ports import BotState
from hermesd.testing.conformance import Rig, Shown, connected, deliver
from hermesd.testing.host import MemoryHost, MemoryLog

ERRORS: dict[str, type[errors.PlatformError]] = {
    "unauthorized": errors.Unauthorized,
    "conflict": errors.Conflict,
    "rate_limited": errors.RateLimited,
    "unreachable": errors.Unreachable,
    "ambiguous": errors.Ambiguous,
    "migrated": errors.Migrated,
}


def host_of(rig: Rig) -> MemoryHost:
    return MemoryHost(rig.key, secrets=rig.secrets())


def outgoing(place: Address, text: str, number: int = 1, **how: Any) -> Outgoing:
    return Outgoing(f"delivery-{number}", place, text, **how)


async def shown(rig: Rig, place: Address) -> list[Shown]:
    return list(await rig.shown(place))


def inbound(host: MemoryHost) -> list[InboundMessage]:
    return [message for message in host.messages() if message.kind is MessageKind.TEXT]


async def test_what_people_write_arrives_with_its_address(rig: Rig) -> None:
    """Each place's messages carry exactly that place, the writer's id and the words."""
    host = host_of(rig)
    async with connected(rig, host):
        for name, place in rig.places.items():
            said = await rig.says(place, f"hello from {name}")
            await asyncio.wait_for(said.wait_acknowledged(), 5)
        heard = {message.address: message for message in inbound(host)}
        assert set(heard) == set(rig.places.values())
        for name, place in rig.places.items():
            assert heard[place].text == f"hello from {name}"
            assert heard[place].address.adapter == rig.key
            assert not heard[place].sender.is_bot
            assert heard[place].event_id
        keys = [message.message_key for message in heard.values()]
        assert len(set(keys)) == len(keys)


async def test_nothing_is_acknowledged_before_it_is_stored(rig: Rig) -> None:
    """While the disk refuses, the platform keeps the message; once stored, it is confirmed."""
    host = host_of(rig)
    async with connected(rig, host):
        host.hold()
        said = await rig.says(rig.places["dm"], "keep me")
        await asyncio.wait_for(host.waiting.wait(), 5)
        assert not said.acknowledged()
        assert host.events == []
        host.release()
        await asyncio.wait_for(said.wait_acknowledged(), 5)
        assert [message.text for message in inbound(host)] == ["keep me"]


async def test_what_was_stored_is_not_lost_by_a_restart(rig: Rig) -> None:
    """Messages from before, during and after a restart are each stored once."""
    host = host_of(rig)
    async with connected(rig, host):
        said = await rig.says(rig.places["dm"], "one")
        await asyncio.wait_for(said.wait_acknowledged(), 5)
    async with connected(rig, host):
        said = await rig.says(rig.places["dm"], "two")
        await asyncio.wait_for(said.wait_acknowledged(), 5)
    assert [message.text for message in inbound(host)] == ["one", "two"]


@pytest.mark.needs("repeat")
async def test_a_message_written_while_down_arrives_after(rig: Rig) -> None:
    """Where the platform keeps messages for a bot that is away, none is dropped."""
    host = host_of(rig)
    await rig.says(rig.places["dm"], "while you were out")
    async with connected(rig, host):
        await asyncio.wait_for(host.wait_for(1), 5)
    assert [message.text for message in inbound(host)] == ["while you were out"]


@pytest.mark.needs("repeat")
async def test_a_repeated_event_keeps_its_id(rig: Rig) -> None:
    """A second delivery of one event has the same event id, so that it is stored once."""
    host = host_of(rig)
    async with connected(rig, host):
        said = await rig.says(rig.places["dm"], "once")
        await asyncio.wait_for(said.wait_acknowledged(), 5)
        await rig.repeat()
        await asyncio.wait_for(host.wait_offered(2), 5)
        assert len(host.events) == 1


@pytest.mark.parametrize("person", ["another_bot", "the_bot_itself"])
@pytest.mark.needs("bots")
async def test_bots_are_told_from_people(rig: Rig, person: Any) -> None:
    """Messages of this and of other bots are flagged, so that bots never talk to each other."""
    host = host_of(rig)
    async with connected(rig, host):
        said = await rig.says(rig.places["group"], "beep", person=person)
        await asyncio.wait_for(said.wait_acknowledged(), 5)
        assert all(message.sender.is_bot for message in inbound(host))


async def test_people_can_address_the_bot_in_a_group(rig: Rig) -> None:
    """In a group, only what is meant for the bot says so; the address itself is not part of the words."""
    host = host_of(rig)
    async with connected(rig, host):
        for to_bot in (True, False):
            said = await rig.says(rig.places["group"], "help me", to_bot=to_bot)
            await asyncio.wait_for(said.wait_acknowledged(), 5)
        heard = inbound(host)
        assert heard[0].addressed
        assert [message.text for message in heard] == ["help me", "help me"]


async def test_different_people_have_different_ids(rig: Rig) -> None:
    """The same person keeps one id everywhere; another person has another."""
    host = host_of(rig)
    async with connected(rig, host):
        for person, place in (("alice", "dm"), ("alice", "group"), ("bob", "group")):
            said = await rig.says(rig.places[place], person, person=person)
            await asyncio.wait_for(said.wait_acknowledged(), 5)
        ids = [message.sender.id for message in inbound(host)]
        if rig.has_bots:
            assert ids[0] == ids[1] != ids[2]


async def test_an_answer_is_shown_exactly_where_it_belongs(rig: Rig) -> None:
    """A send reaches its place and no other, and its receipt names what is shown."""
    host = host_of(rig)
    async with connected(rig, host) as adapter:
        for number, (name, place) in enumerate(rig.places.items(), 1):
            receipt = await deliver(adapter, host, outgoing(place, f"for {name}", number))
            assert [item.message_key for item in await shown(rig, place)] == [receipt.message_key]
        for name, place in rig.places.items():
            assert [item.text for item in await shown(rig, place)] == [f"for {name}"]


async def test_answers_keep_their_order(rig: Rig) -> None:
    """Parts sent one after the other are shown in that order."""
    host = host_of(rig)
    place = rig.places["group"]
    async with connected(rig, host) as adapter:
        for number in range(5):
            await deliver(adapter, host, outgoing(place, f"part {number}", number, part=number + 1, of=5))
        assert [item.text for item in await shown(rig, place)] == [f"part {number}" for number in range(5)]


async def test_markup_is_shown_without_its_source(rig: Rig) -> None:
    """Markdown is rendered; HTML and broken markup are shown as words, never refused."""
    host = host_of(rig)
    place = rig.places["dm"]
    texts = [
        "**bold** and `code`",
        "<b>not ours</b> & <script>",
        "unclosed **bold `code",
        "[x](javascript:alert)",
        "_ * ` [",
    ]
    async with connected(rig, host) as adapter:
        for number, text in enumerate(texts):
            await deliver(adapter, host, outgoing(place, text, number))
        seen = [item.text for item in await shown(rig, place)]
    assert seen[0] == "bold and code"
    assert seen[1] == texts[1]
    assert len(seen) == len(texts)


async def test_long_texts_are_cut_without_loss_and_every_part_is_taken(rig: Rig) -> None:
    """Split parts carry every word in order and the platform accepts each of them (DLV-05)."""
    host = host_of(rig)
    place = rig.places["thread"] if "thread" in rig.places else rig.places["group"]
    code = "\n".join(f"value_{n} = {n}" for n in range(700))
    text = f"Intro 𝔘👩‍👩‍👧 \n\n```python\n{code}\n```\n\n" + " ".join(f"word{n}" for n in range(2500))
    async with connected(rig, host) as adapter:
        parts = list(adapter.split(text))
        assert len(parts) > 1
        for number, part in enumerate(parts, 1):
            await deliver(adapter, host, outgoing(place, part, number, part=number, of=len(parts)))
        seen = "\n".join(item.text for item in await shown(rig, place))
    words = [*(f"value_{n} = {n}" for n in range(700)), *(f"word{n}" for n in range(2500))]
    position = 0
    for word in words:
        position = seen.index(word, position)
    assert list(adapter.split("x")) == ["x"]


async def test_every_refusal_is_told_apart(rig: Rig) -> None:
    """Each way a send can fail raises the error that says what to do, after one try, and a later send works."""
    for fault in sorted(rig.send_faults):
        host = host_of(rig)
        place = rig.places["thread"] if "thread" in rig.places else rig.places["group"]
        async with connected(rig, host) as adapter:
            before = len(await shown(rig, place))
            if fault == "unreachable":
                pass
            else:
                await rig.break_send(fault, place)
                expected = ERRORS.get(fault, errors.Rejected)
                with pytest.raises(expected) as raised:
                    await deliver(adapter, host, outgoing(place, f"try {fault}"))
                if expected is errors.Rejected:
                    assert raised.value.reason == fault
                if isinstance(raised.value, errors.RateLimited):
                    assert raised.value.retry_after > 0
                if isinstance(raised.value, errors.Migrated):
                    assert raised.value.new_chat_id not in ("", place.chat_id)
                assert len(await shown(rig, place)) - before == (1 if fault == "ambiguous" else 0)
            await rig.heal()
            await deliver(adapter, host, outgoing(place, f"after {fault}"))


@pytest.mark.needs("unreachable")
async def test_an_unreachable_platform_is_told_from_a_broken_connection(rig: Rig) -> None:
    """When no byte left, the error says so: trying again is safe."""
    host = host_of(rig)
    adapter = rig.plugin.build(rig.settings(), host)
    await rig.break_send("unreachable", rig.places["dm"])
    with pytest.raises(errors.Unreachable):
        await adapter.send(outgoing(rig.places["dm"], "hello"))
    await rig.heal()
    await deliver(adapter, host, outgoing(rig.places["dm"], "hello"))
    await adapter.close()


async def test_every_end_of_receiving_is_told_apart(rig: Rig) -> None:
    """`run` raises the error that names what is wrong, and works again when it is healed."""
    for fault in sorted(rig.receive_faults):
        host = host_of(rig)
        await rig.break_receive(fault)
        adapter = rig.plugin.build(rig.settings(), host)
        with pytest.raises(ERRORS[fault]) as raised:
            await asyncio.wait_for(adapter.run(), 10)
        await adapter.close()
        if fault in ("unauthorized", "conflict"):
            assert raised.value.hint, "the operator needs to know the next step"
        assert host.state is not BotState.UP
        await rig.heal()
        async with connected(rig, host):
            said = await rig.says(rig.places["dm"], f"after {fault}")
            await asyncio.wait_for(said.wait_acknowledged(), 5)
            assert f"after {fault}" in [message.text for message in inbound(host)]


@pytest.mark.needs("tokens")
async def test_a_running_bot_notices_that_its_token_is_gone(rig: Rig) -> None:
    """A token revoked while the bot runs ends `run` with Unauthorized."""
    host = host_of(rig)

    async def until_it_ends() -> None:
        async with connected(rig, host):
            await rig.break_receive("unauthorized")
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(until_it_ends(), 10)
    assert raised.group_contains(errors.Unauthorized)


async def test_cancelling_is_prompt_and_leaves_nothing_behind(rig: Rig) -> None:
    """After `run` is cancelled and the adapter closed, none of its tasks is left."""
    host = host_of(rig)
    before = asyncio.all_tasks()
    async with connected(rig, host, prompt=3.0) as adapter:
        await deliver(adapter, host, outgoing(rig.places["dm"], "hello"))
    left = {task for task in asyncio.all_tasks() - before if "hermesd_" in repr(task.get_coro())}
    assert left == set()


async def test_the_menu_is_published(rig: Rig) -> None:
    """Where the platform has a command menu, people see it."""
    host = host_of(rig)
    async with connected(rig, host) as adapter:
        await adapter.commands([("help", "What I can do"), ("profile", "Who answers here")])
        menu = await rig.menu()
        assert menu is None or list(menu) == [("help", "What I can do"), ("profile", "Who answers here")]


async def test_typing_is_shown_without_a_message(rig: Rig) -> None:
    """Showing that an answer is being prepared works in every place and writes nothing."""
    host = host_of(rig)
    async with connected(rig, host) as adapter:
        for place in rig.places.values():
            await adapter.typing(place)
            assert await shown(rig, place) == []


async def test_probe_finds_a_good_bot_good(rig: Rig) -> None:
    """`doctor` has something to say about a healthy bot, and no error."""
    host = host_of(rig)
    async with connected(rig, host) as adapter:
        findings = await adapter.probe()
        assert findings
        assert [finding for finding in findings if finding.level == "error"] == []


async def test_no_secret_is_logged_or_raised(rig: Rig) -> None:
    """No log line, report or error carries a secret, whatever goes wrong."""
    host = host_of(rig)
    said: list[str] = []
    for fault in sorted(rig.receive_faults):
        await rig.break_receive(fault)
        adapter = rig.plugin.build(rig.settings(), host)
        with pytest.raises(errors.PlatformError) as raised:
            await asyncio.wait_for(adapter.run(), 10)
        said.append(f"{raised.value!r} {raised.value} {raised.value.__cause__!r}")
        await adapter.close()
        await rig.heal()
    assert isinstance(host.log, MemoryLog)
    said += [repr(line) for line in host.log.lines] + [repr(report) for report in host.reports]
    for secret in rig.secrets().values():
        assert secret not in "\n".join(said)


async def test_parsing_is_pure(rig: Rig) -> None:
    """The same event is read the same way, any time, by any instance, and is not changed by it."""
    one, two = (rig.plugin.build(rig.settings(), host_of(rig)) for _ in range(2))
    for event in rig.samples():
        kept = copy.deepcopy(event.raw)
        assert one.parse(event) == one.parse(event) == two.parse(event)
        assert event.raw == kept
    await one.close()
    await two.close()


@pytest.mark.parametrize("seed", range(4))
async def test_poison_is_a_value_error(rig: Rig, seed: int) -> None:
    """However an event is mangled, reading it gives messages or ValueError, nothing else, and never hangs."""
    adapter = rig.plugin.build(rig.settings(), host_of(rig))
    dice = random.Random(seed)
    refused = 0
    for round_ in range(1500):
        event = mangled(dice.choice(list(rig.samples())), dice, round_)
        try:
            for message in adapter.parse(event):
                assert isinstance(message, InboundMessage)
                message.text.encode()
                message.sender.name.encode()
        except ValueError:
            refused += 1
    assert refused > 0
    await adapter.close()


NUMBERS: tuple[Any, ...] = (None, True, 0, -1, 2**63, 10**400, 1.5, float("nan"))
THINGS: tuple[Any, ...] = ("", "x", "\ud800", "\x00", [], [None], [[]], {}, {"id": {}}, {"x": []})
JUNK = NUMBERS + THINGS


def mangled(event: RawEvent, dice: random.Random, number: int) -> RawEvent:
    raw = copy.deepcopy(dict(event.raw))
    for _ in range(dice.randint(1, 3)):
        place: Any = raw
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = dice.choice(keys)
            if isinstance(place[key], dict | list) and dice.random() < 0.75:
                place = place[key]
                continue
            if dice.random() < 0.2 and isinstance(place, dict):
                del place[key]
            else:
                place[key] = copy.deepcopy(dice.choice(JUNK))
            break
    return RawEvent(f"mangled-{number}", raw)


def test_the_mangler_mangles() -> None:
    """The junk really reaches the events: a mangled event differs from its original."""
    event = RawEvent("1", {"a": {"b": [1, {"c": "d"}]}})
    dice = random.Random(0)
    assert any(json.dumps(mangled(event, dice, 0).raw, default=str) != json.dumps(event.raw) for _ in range(5))
