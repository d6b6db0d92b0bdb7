"""A turn from claim to outcome, over the real house."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest

from hermesd.errors import EngineError, SecretUnavailable, UserError
from hermesd.ports import ToolCall, Usage
from hermesd.testing.scripted import ScriptedAdapter

NOTE = ToolCall("call-1", "memory", '{"action": "add", "target": "memory", "content": "likes tea"}')


class Slow:
    """A model that answers when the test lets it."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, profile: str, request: Any, gate: Any) -> str:
        self.began.set()
        await self.go.wait()
        return f"{profile}: {request.prompt}"


def raises(error: Exception) -> Any:
    async def answers(profile: str, request: Any, gate: Any) -> str:
        raise error

    return answers


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (
            EngineError("the provider is busy", retryable=True),
            "failed",
            "I could not answer: the provider is busy. /retry",
        ),
        (EngineError("no such model", hint="set model.default"), "failed", "no such model. set model.default"),
        (UserError("That is too long.", hint="Shorten it."), "refused", "That is too long. Shorten it."),
        (ValueError("secret detail"), "failed", "Something went wrong inside me"),
    ],
)
async def test_a_turn_without_an_answer_says_why(home: Any, error: Exception, state: str, told: str) -> None:
    """Each kind of failure ends the turn in its state, with its own words, and the next message works (promise 1)."""
    home.models.answers = raises(error)
    async with home.running() as daemon:
        text = await daemon.asks("hello")
        assert told in text
        assert "secret detail" not in text
        home.models.answers = None
        assert await daemon.asks("again") == "default: again"
        await daemon.settled()
        assert await daemon.rows("SELECT state FROM turn ORDER BY seq") == [(state,), ("done",)]


async def test_a_profile_without_its_key_keeps_messages_and_says_so_once(home: Any) -> None:
    """No engine: the message waits, told once, nothing spins; repaired, a reload answers it (RT-02)."""
    home.profile("career")
    home.route("c1", "career")
    home.models.missing["career"] = SecretUnavailable("${env:KEY} is not set")
    async with home.running() as daemon:
        assert "career is not available" in await daemon.asks("hello")
        await daemon.says("more")
        for _ in range(3):
            await home.clock.until_sleeping(10.0)
            await home.clock.advance(10.0)
        assert await daemon.asks("else", chat="c2") == "default: else"
        assert await daemon.rows("SELECT text, state, attempts FROM turn WHERE profile = 'career'") == [
            ("hello", "queued", 0), ("more", "queued", 0)
        ]  # fmt: skip
        assert len(home.platform.texts("c1")) == 1
        home.models.missing.clear()
        home.profile("career", toolsets=[])
        report = await daemon.reloader.reload()
        assert report.result == "applied"
        await daemon.settled()
    assert home.platform.texts("c1")[1:] == ["career: hello", "career: more"]
    assert {profile for profile, _ in home.models.asked} == {"career", "default"}


async def test_a_damaged_profile_harms_only_itself(home: Any) -> None:
    """Its database is garbage, an exchange is still to be filed: the daemon starts, others answer (OPS-06)."""
    place = home.profile("career")
    home.route("c1", "career")
    async with home.running() as daemon:
        assert await daemon.asks("hello") == "career: hello"
        await daemon.settled()
        await daemon.ground.ledger.write(lambda tx: tx.execute("UPDATE turn SET filed = 0"))
        daemon.house.runner._filed.clear()
    for file in place.glob("hermesd.db*"):
        file.write_bytes(b"garbage" * 4096)
    async with home.running() as daemon:
        assert await daemon.asks("else", chat="c2") == "default: else"
        assert "career is not available" in await daemon.asks("hello again")
        assert await daemon.rows("SELECT count(*) FROM turn WHERE filed = 0") >= [(1,)]


async def test_a_sign_of_life_that_fails_costs_no_answer(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`typing` breaks with an exception of its own: the answer arrives (OPS-01)."""

    async def broken(self: ScriptedAdapter, address: Any) -> None:
        raise KeyError("typing")

    init = ScriptedAdapter.__init__

    def types(self: ScriptedAdapter, *args: Any) -> None:
        init(self, *args)
        self.capabilities = replace(self.capabilities, typing=True)

    monkeypatch.setattr(ScriptedAdapter, "typing", broken)
    monkeypatch.setattr(ScriptedAdapter, "__init__", types)
    slow = home.models.answers = Slow()
    async with home.running() as daemon:
        await daemon.says("hello")
        await slow.began.wait()
        await home.clock.until_sleeping(0.5)
        await home.clock.advance(1.0)
        slow.go.set()
        assert await home.platform.arrived(1) == ["default: hello"]


async def test_stop_ends_a_turn_and_nothing_follows(home: Any) -> None:
    """/stop while it runs: answered at once, the turn is cancelled and on record, the next message runs (TRN-07)."""
    slow = home.models.answers = Slow()
    async with home.running() as daemon:
        await daemon.says("long")
        await slow.began.wait()
        assert await daemon.asks("/stop") == "Stopped."
        slow.go.set()
        assert await daemon.asks("next") == "default: next"
        await daemon.settled()
        assert await daemon.rows("SELECT state FROM turn ORDER BY seq") == [("cancelled",), ("done",)]
        assert await daemon.rows("SELECT count(*) FROM audit WHERE kind = 'turn.cancelled'") == [(1,)]
        assert await daemon.asks("/stop") == "Nothing is being worked on here."
    assert "default: long" not in home.platform.texts()


async def test_stop_and_completion_race_to_one_end(home: Any) -> None:
    """300 seeded races of /stop against the answer: one terminal state, and no reply behind `Stopped.` (TRN-07)."""
    dice = random.Random(7)

    async def answers(profile: str, request: Any, gate: Any) -> str:
        for _ in range(dice.randrange(12)):
            await asyncio.sleep(0)
        return f"{profile}: {request.prompt}"

    home.models.answers = answers
    async with home.running() as daemon:
        for n in range(300):
            chat = f"c{n}"
            await daemon.says(f"t{n}", chat=chat)
            for _ in range(dice.randrange(14)):
                await daemon.rows("SELECT 1")
            await daemon.says("/stop", chat=chat)
        await daemon.settled()
        states = dict(await daemon.rows("SELECT chat_id, state FROM turn"))
    ends = set(states.values())
    assert ends == {"done", "cancelled"}, "the race must go both ways to prove anything"
    for n in range(300):
        texts = sorted(home.platform.texts(f"c{n}"))
        if states[f"c{n}"] == "done":
            assert texts == ["Nothing is being worked on here.", f"default: t{n}"]
        else:
            assert texts == ["Stopped."]


async def test_conversations_keep_their_order_and_never_overlap(home: Any) -> None:
    """20 conversations with 25 messages each, mixed: each history alternates in the order of the platform (TRN-06)."""
    home.settings["limits"] = {"lane_queue": 100}
    busy: set[str] = set()

    async def answers(profile: str, request: Any, gate: Any) -> str:
        chat = request.prompt.split(":")[0]
        assert chat not in busy
        busy.add(chat)
        await asyncio.sleep(0)
        busy.discard(chat)
        return f"re {request.prompt}"

    home.models.answers = answers
    dice = random.Random(6)
    async with home.running() as daemon:
        pending = dict.fromkeys(range(20), 0)
        while pending:
            chat = dice.choice(list(pending))
            await daemon.says(f"{chat}:{pending[chat]}", chat=f"c{chat}")
            pending[chat] += 1
            if pending[chat] == 25:
                del pending[chat]
        await daemon.settled()
        for chat in range(20):
            last = [request for _, request in home.models.asked if request.prompt == f"{chat}:24"]
            rows = [(row.role, row.text) for row in last[0].history]
            assert rows == [
                (role, f"{said}{chat}:{n}") for n in range(24) for role, said in (("user", ""), ("assistant", "re "))
            ]


async def test_a_crash_in_a_turn_without_side_effects_runs_it_again(home: Any) -> None:
    """Killed while the model thinks: the next start runs it once more, and nobody notices (TRN-01)."""
    slow = home.models.answers = Slow()
    async with home.crashing() as daemon:
        await daemon.says("hello")
        await slow.began.wait()
    home.models.answers = None
    async with home.running() as daemon:
        await daemon.settled()
        assert await daemon.rows("SELECT state, attempts FROM turn") == [("done", 2)]
    assert home.platform.texts() == ["default: hello"]


async def test_a_crash_after_a_side_effect_asks(home: Any) -> None:
    """Killed after a note was written: not run again, the person told which tool; /retry does it (TRN-01)."""
    reached, writes = asyncio.Event(), []

    async def answers(profile: str, request: Any, gate: Any) -> str:
        writes.append(await gate.call(NOTE))
        reached.set()
        if len(writes) == 1:
            await asyncio.Event().wait()
        return "noted"

    home.models.answers = answers
    async with home.crashing() as daemon:
        await daemon.says("remember tea", user="ada")
        await reached.wait()
    async with home.running() as daemon:
        (told,) = await home.platform.arrived(1)
        assert "memory" in told
        assert "/retry" in told
        await daemon.settled()
        assert await daemon.rows("SELECT state, reason FROM turn") == [("interrupted", "interrupted in memory")]
        assert len(writes) == 1
        await daemon.says("/retry", user="ada")
        assert (await home.platform.arrived(3))[1:] == ["Once more:", "noted"]


async def test_a_message_that_kills_is_given_up_and_the_others_are_not(home: Any) -> None:
    """One of twenty turns ends the process each time: three starts die, the fourth answers the rest (ING-06)."""
    home.settings["crash_limit"] = 0
    home.settings["limits"] = {"turns": 64, "turns_per_profile": 64}

    class Died(BaseException):
        pass

    deaths = []

    async def answers(profile: str, request: Any, gate: Any) -> str:
        if request.prompt == "poison":
            for _ in range(3):
                await asyncio.sleep(0)
            deaths.append(1)
            raise Died
        for _ in range(400):
            await asyncio.sleep(0)
        return request.prompt

    home.models.answers = answers
    events = [home.platform.event("poison" if n == 7 else f"n{n}", chat=f"c{n}") for n in range(20)]

    async def dies() -> None:
        async with home.crashing() as daemon:
            await daemon.bot().receive(*events)
            await asyncio.Event().wait()

    for _ in range(3):
        with pytest.raises(BaseExceptionGroup):
            await dies()
    async with home.running() as daemon:
        await daemon.settled()
        states = dict(await daemon.rows("SELECT text, state FROM turn"))
    assert len(deaths) == 3
    assert states.pop("poison") == "dead"
    assert set(states.values()) == {"done"}
    assert any("I gave up on your last message" in text for text in home.platform.texts("c7"))


async def test_limits_warn_refuse_and_survive_a_restart(home: Any) -> None:
    """Five turns a day: a warning at the fourth, a refusal at the sixth, also after a crash; tomorrow is new."""
    home.settings["limits"] = {"spend": {"user": {"turns": 5}}}
    async with home.crashing() as daemon:
        for n in range(4):
            await daemon.says(f"n{n}")
        await daemon.settled()
        assert "80% of your limit" in home.platform.texts()[-1]
        await daemon.says("n4")
        await daemon.settled()
    async with home.running() as daemon:
        assert "your limit for today" in await daemon.asks("n5")
        assert await daemon.asks("other", user="eve") == "default: other"
        await home.clock.advance(86_400.0)
        assert await daemon.asks("tomorrow") == "default: tomorrow"
        await daemon.settled()
        assert await daemon.rows("SELECT count(*) FROM reservation") == [(0,)]


@pytest.mark.parametrize("end", ["limit", "error", "stop", "crash"])
async def test_tokens_count_however_a_turn_ends(home: Any, end: str) -> None:
    """What the model used is counted although there was no answer, and nothing stays reserved (HND-11)."""
    home.settings["limits"] = {"spend": {"user": {"tokens": 600}}}
    home.models.usage = Usage(900 if end == "limit" else 400, 100)
    reached = asyncio.Event()

    async def answers(profile: str, request: Any, gate: Any) -> str:
        if end == "error":
            raise EngineError("broken")
        if end == "limit":
            # a last answer would be let through; one more step is not
            await gate.call(ToolCall("c1", "list_files", "{}"))
        reached.set()
        await asyncio.Event().wait()
        return ""

    home.models.answers = answers
    sql = "SELECT tokens FROM usage WHERE scope = 'user'"
    if end == "crash":
        async with home.crashing() as daemon:
            await daemon.says("hello")
            await reached.wait()
            home.models.answers = None
        async with home.running() as daemon:
            await daemon.settled()
            assert await daemon.rows(sql) == [(1000,)]
        return
    async with home.running() as daemon:
        await daemon.says("hello")
        if end == "stop":
            await reached.wait()
            await daemon.says("/stop")
        await daemon.settled()
        await daemon.decided()
        assert await daemon.rows(sql) == [(1000 if end == "limit" else 500,)]
        assert await daemon.rows("SELECT count(*) FROM reservation") == [(0,)]
        told = home.platform.texts()[0]
    assert {"limit": "the rest of a limit", "error": "I could not answer", "stop": "Stopped."}[end] in told


async def test_an_answer_that_was_committed_is_in_the_conversation_after_a_crash(home: Any) -> None:
    """Killed between the outcome and the profile's own database: the next start files the exchange, once (TRN-10)."""
    async with home.crashing() as daemon:
        await daemon.asks("my cat is Tom")
        await daemon.settled()
        await daemon.ground.ledger.write(lambda tx: tx.execute("UPDATE turn SET filed = 0"))
        daemon.house.runner._filed.clear()
    async with home.running() as daemon:
        await daemon.asks("and?")
        texts = [row.text for row in home.models.asked[-1][1].history]
    assert texts == ["my cat is Tom", "default: my cat is Tom"]
