"""The engine against a real server on a real socket, through the genuine SDK."""

import asyncio
import json
import os
import random
import subprocess
import sys
import textwrap
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import structlog

from hermesd.agent.factory import EngineFactory
from hermesd.agent.settings import ModelSettings
from hermesd.errors import EngineError, OperatorError, SecretUnavailable
from hermesd.ports import Effect, EngineRequest, Row, ToolCall, ToolOutcome, ToolSpec, Usage
from hermesd.testing.openai import FakeOpenAI, Reply, Seen, wire

SPECS = tuple(
    ToolSpec(name, f"does {name}", {"type": "object", "properties": {"a": {"type": "string"}}}, Effect.WRITE)
    for name in ("probe", "other")
)


@dataclass
class RecordingGate:
    """A gate that answers `did <name>` and remembers the calls."""

    specs: tuple[ToolSpec, ...] = SPECS
    calls: list[ToolCall] = field(default_factory=list)

    async def call(self, call: ToolCall) -> ToolOutcome:
        self.calls.append(call)
        return ToolOutcome(f"did {call.name}")


@dataclass
class FastClock:
    """Monotonic time that only sleeping moves."""

    at: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.at += seconds


@asynccontextmanager
async def stage() -> AsyncIterator[tuple[FakeOpenAI, EngineFactory, FastClock]]:
    clock = FastClock()
    async with FakeOpenAI() as fake:
        factory = EngineFactory(log=structlog.get_logger(), clock=clock, jitter=lambda: 0.5)
        try:
            yield fake, factory, clock
        finally:
            await factory.close()


def custom(fake: FakeOpenAI, model: str = "echo", **more: object) -> ModelSettings:
    return ModelSettings.model_validate(
        {"provider": "custom", "default": model, "base_url": fake.base_url, "api_key": "${env:KEY}", **more}
    )


def asking(prompt: str, *history: Row, steps: int = 10, timeout: float = 20, idle: float = 10) -> EngineRequest:
    return EngineRequest("You are a probe.", history, prompt, steps, timeout, idle)


async def test_a_turn_is_answered_with_its_system_history_and_usage():
    """System text, history and prompt reach the provider in order; the answer and its cost come back."""
    async with stage() as (fake, factory, _):
        spent: list[Usage] = []

        async def note(usage: Usage) -> None:
            spent.append(usage)

        engine = factory.build("p", custom(fake), {"KEY": "sk-1"})
        history = (Row("user", "one"), Row("assistant", "two"))
        reply = await engine.run(asking("three", *history), RecordingGate(), spent=note)
        assert reply.text == "echo: three"
        assert reply.rows == (Row("assistant", "echo: three"),)
        assert reply.usage == Usage(10, 5, 1, 0.0) == spent[-1]
        assert reply.model == engine.label == "custom:echo"
        sent = [(m["role"], m["content"]) for m in fake.requests[0].messages]
        assert sent == [("system", "You are a probe."), ("user", "one"), ("assistant", "two"), ("user", "three")]
        assert fake.requests[0].key == "sk-1"


async def test_tool_calls_go_through_the_gate_and_come_back_as_rows():
    """A tool the model asks for is run by the gate alone, its result is sent back, all of it becomes rows."""
    async with stage() as (fake, factory, _):
        fake.on(Reply(text="looking", calls=(("probe", '{"a": "b"}'),)), Reply(text="done"))
        gate = RecordingGate()
        reply = await factory.build("p", custom(fake), {"KEY": "k"}).run(asking("go"), gate)
        assert [(call.name, json.loads(call.arguments)) for call in gate.calls] == [("probe", {"a": "b"})]
        assert [row.role for row in reply.rows] == ["assistant", "tool", "assistant"]
        assert reply.rows[0].calls[0].call_id == reply.rows[1].call_id
        assert reply.rows[1].text == "did probe"
        second = fake.requests[1].messages
        assert second[-1]["role"] == "tool"
        assert second[-1]["content"] == "did probe"
        assert fake.requests[0].body["tools"][0]["function"]["name"] == "probe"
        assert reply.usage.requests == 2


async def test_rows_of_a_turn_can_be_sent_as_history_of_the_next():
    """What one turn returns is a history the provider accepts in the next."""
    async with stage() as (fake, factory, _):
        fake.on(Reply(calls=(("probe", "{}"), ("other", "{}"))), Reply(text="done"), Reply())
        engine = factory.build("p", custom(fake), {"KEY": "k"})
        first = await engine.run(asking("go"), RecordingGate())
        await engine.run(asking("more", Row("user", "go"), *first.rows), RecordingGate())
        roles = [message["role"] for message in fake.requests[-1].messages]
        assert roles == ["system", "user", "assistant", "tool", "tool", "assistant", "user"]


@pytest.mark.parametrize("calls", [(("nosuch", "{}"),), (("probe", "{not json"),), (("probe", "[1]"),)])
async def test_impossible_calls_are_repaired_twice_then_given_up(calls: tuple[tuple[str, str], ...]):
    """Unknown tools and broken arguments are told to the model, twice; the third ends the turn; nothing is run."""
    async with stage() as (fake, factory, _):
        gate = RecordingGate()
        varied = [Reply(calls=((calls[0][0], calls[0][1] + " " * n),)) for n in range(5)]
        fake.on(*varied)
        with pytest.raises(EngineError, match="impossible"):
            await factory.build("p", custom(fake), {"KEY": "k"}).run(asking("go"), gate)
        assert fake.count == 3
        assert gate.calls == []


async def test_a_repaired_call_goes_on():
    """After a broken call the model may do better and the turn ends well."""
    async with stage() as (fake, factory, _):
        fake.on(Reply(calls=(("probe", "nope"),)), Reply(calls=(("probe", "{}"),)), Reply(text="fine"))
        reply = await factory.build("p", custom(fake), {"KEY": "k"}).run(asking("go"), RecordingGate())
        assert reply.text == "fine"
        assert "not JSON" in fake.requests[1].messages[-1]["content"]


@pytest.mark.parametrize("model", ["empty", "garbage", "no-choices"])
async def test_unusable_answers_are_asked_for_again_twice(model: str):
    """An empty or unreadable answer is asked for again, at most twice, then it is a visible error."""
    async with stage() as (fake, factory, _):
        with pytest.raises(EngineError, match=r"empty|unreadable"):
            await factory.build("p", custom(fake, model), {"KEY": "k"}).run(asking("go"), RecordingGate())
        assert fake.count == 3


async def test_no_body_crashes_the_engine():
    """500 completions broken at random end as an answer or an EngineError, never as anything else (TRN-03)."""
    pick = random.Random(20)
    junk = [None, 0, -1, "", "x" * 5000, [], {}, [[]], True, 1e308, "\ud800", {"a": None}, "tool_calls", "null"]

    def spoil(value: object) -> object:
        if pick.random() < 0.12:
            return pick.choice(junk)
        if isinstance(value, dict):
            return {key: spoil(item) for key, item in value.items() if pick.random() > 0.05}
        return [spoil(item) for item in value] if isinstance(value, list) else value

    def broken(seen: Seen) -> Reply:
        calls = (("probe", '{"a": 1}'),) if pick.random() < 0.5 else ()
        body = json.dumps(spoil(wire.completion(seen, Reply(text="hi", calls=calls), 1))).encode()
        return Reply(raw=body[: pick.randrange(len(body))] if pick.random() < 0.1 else body)

    async with stage() as (fake, factory, _):
        fake.on(broken)
        answered = failed = 0
        for _ in range(500):
            try:
                reply = await factory.build("p", custom(fake), {"KEY": "k"}).run(asking("go", steps=3), RecordingGate())
                reply.text.encode()
                answered += 1
            except EngineError:
                failed += 1
        assert answered > 10
        assert failed > 10


async def test_huge_answers_are_cut_with_a_notice():
    """Five megabytes of answer become a bounded text that says so."""
    async with stage() as (fake, factory, _):
        reply = await factory.build("p", custom(fake, "big"), {"KEY": "k"}).run(asking("go"), RecordingGate())
        assert len(reply.text) < 41_000
        assert "5,000,000 characters" in reply.text


async def test_lone_surrogates_never_leave_the_engine():
    """Broken Unicode in prompts, answers and arguments becomes valid text."""
    async with stage() as (fake, factory, _):
        fake.on(Reply(calls=(("probe", '{"a": "\ud800"}'),)), Reply(text="a\ud800b \ud83d\ude00"))
        gate = RecordingGate()
        reply = await factory.build("p", custom(fake), {"KEY": "k"}).run(asking("x\udfffy"), gate)
        assert reply.text == "a\ufffdb 😀"
        assert fake.requests[0].last_user == "x\ufffdy"
        gate.calls[0].arguments.encode()


async def test_the_same_call_three_times_stops_the_turn():
    """A model going round in circles is stopped with a reason after two runs of the same call (TRN-04)."""
    async with stage() as (fake, factory, _):
        fake.on(Reply(calls=(("probe", '{"a": "b"}'),)))
        gate = RecordingGate()
        reply = await factory.build("p", custom(fake), {"KEY": "k"}).run(asking("go"), gate)
        assert len(gate.calls) == 2
        assert "same arguments" in reply.text
        assert reply.rows[-2].text == "not run: the turn was stopped"


async def test_max_steps_bounds_the_loop():
    """A turn makes at most max_steps requests and then says that it stopped (TRN-04)."""
    async with stage() as (fake, factory, _):
        fake.on(lambda seen: Reply(calls=(("probe", json.dumps({"a": str(len(seen.messages))})),)))
        reply = await factory.build("p", custom(fake), {"KEY": "k"}).run(asking("go", steps=4), RecordingGate())
        assert fake.count == 4
        assert "stopped after 4 steps" in reply.text


async def test_rate_limits_are_waited_for_as_the_provider_said():
    """429 with retry-after is waited out, spread by jitter, and the request repeated (TRN-05)."""
    async with stage() as (fake, factory, clock):
        fake.on(Reply(status=429, retry_after=7), Reply(status=503), Reply(text="at last"))
        reply = await factory.build("p", custom(fake), {"KEY": "k"}).run(asking("go", timeout=60), RecordingGate())
        assert reply.text == "at last"
        assert fake.count == 3
        assert clock.slept[0] >= 7
        assert sum(clock.slept) < 30


async def test_retries_end_before_the_turn_does():
    """A provider that asks for more time than the turn has fails the turn at once, retryable (TRN-05)."""
    async with stage() as (fake, factory, clock):
        fake.on(Reply(status=429, retry_after=3600))
        with pytest.raises(EngineError, match="slow down") as caught:
            await factory.build("p", custom(fake), {"KEY": "k"}).run(asking("go"), RecordingGate())
        assert caught.value.retryable
        assert fake.count == 1
        assert clock.slept == []


async def test_a_rejected_key_is_said_without_the_key():
    """401 is not retried; the error names the provider and never the key (TRN-05)."""
    # not written out: a traceback shows this test's own lines too
    key = "-".join(("sk", "canary"))
    async with stage() as (fake, factory, _):
        with pytest.raises(EngineError, match="key of provider custom is not accepted") as caught:
            await factory.build("p", custom(fake, "status-401"), {"KEY": key}).run(asking("x"), RecordingGate())
        assert not caught.value.retryable
        assert fake.count == 1
        assert key not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
async def test_no_refusal_repeats_the_key(status: int):
    """A provider that quotes the key in its error is not quoted: neither error nor traceback holds it (TRN-05)."""
    # not written out: a traceback shows this test's own lines too
    key = "-".join(("sk", "canary"))
    async with stage() as (fake, factory, _):
        fake.on(Reply(status=status))
        with pytest.raises(EngineError) as caught:
            await factory.build("p", custom(fake, retries=0), {"KEY": key}).run(asking("x"), RecordingGate())
        assert fake.requests[0].key == key
        assert key not in "".join(traceback.format_exception(caught.value))


async def test_the_fallback_answers_when_the_first_cannot():
    """After its retries the first model gives way to the next; the reply names who answered."""
    async with stage() as (fake, factory, _):
        settings = custom(fake, "status-500", retries=1, fallback={**custom(fake, "backup").model_dump(mode="json")})
        reply = await factory.build("p", settings, {"KEY": "k"}).run(asking("go", timeout=300), RecordingGate())
        assert reply.model == "custom:backup"
        assert [seen.model for seen in fake.requests] == ["status-500", "status-500", "backup"]


async def test_a_failing_provider_is_left_alone_for_its_profile_only():
    """After repeated failures one profile stops asking for a while; another is not held back (TRN-05)."""
    async with stage() as (fake, factory, clock):
        fake.on(Reply(status=500), key="bad")
        bad = factory.build("a", custom(fake, retries=4), {"KEY": "bad"})
        good = factory.build("b", custom(fake, retries=4), {"KEY": "good"})
        with pytest.raises(EngineError, match="status 500"):
            await bad.run(asking("x", timeout=500), RecordingGate())
        before = fake.count
        with pytest.raises(EngineError, match="left alone"):
            await bad.run(asking("x", timeout=10), RecordingGate())
        assert fake.count == before
        assert (await good.run(asking("y"), RecordingGate())).text == "echo: y"
        clock.at += 1000
        fake.on(Reply(text="healed"), key="bad")
        assert (await bad.run(asking("x"), RecordingGate())).text == "healed"


@pytest.mark.parametrize("model", ["hang", "hang-body", "drip"])
async def test_a_silent_provider_ends_with_the_turns_time(model: str):
    """A provider that hangs before, in, or all along the body ends with the turn's timeout, visibly; meanwhile
    another session is answered (TRN-02).
    """
    async with stage() as (fake, factory, _):
        engine = factory.build("p", custom(fake, model, retries=0), {"KEY": "k"})
        other = factory.build("q", custom(fake), {"KEY": "k"})
        await other.run(asking("warm"), RecordingGate())
        async with asyncio.timeout(10):
            silent = asyncio.create_task(engine.run(asking("go", timeout=0.6, idle=30), RecordingGate()), name="silent")
            assert (await other.run(asking("y"), RecordingGate())).text == "echo: y"
            assert not silent.done()
            with pytest.raises(EngineError, match=r"did not finish|sign of life|unreadable|reached") as caught:
                await silent
        assert caught.value.retryable


@pytest.mark.parametrize("model", ["hang", "hang-body"])
async def test_idle_is_shorter_than_the_whole(model: str):
    """Without a byte for idle_timeout seconds, from the start or in mid-body, the request ends, long before the
    turn's own end (TRN-02).
    """
    async with stage() as (fake, factory, _):
        engine = factory.build("p", custom(fake, model, retries=0), {"KEY": "k"})
        async with asyncio.timeout(10):
            with pytest.raises(EngineError, match="sign of life"):
                await engine.run(asking("go", timeout=1000, idle=0.3), RecordingGate())


async def test_a_lost_connection_is_tried_again():
    """A connection the provider drops is a reason to repeat the request, not to fail the turn."""
    async with stage() as (fake, factory, _):
        fake.on(Reply(fault="reset"), Reply(text="back"))
        reply = await factory.build("p", custom(fake), {"KEY": "k"}).run(asking("go"), RecordingGate())
        assert reply.text == "back"


async def test_profiles_share_sockets_and_nothing_else():
    """Hundreds of interleaved turns of profiles on one endpoint: each request carries its own key, no cookie."""
    async with stage() as (fake, factory, _):
        engines = [factory.build(f"p{n}", custom(fake), {"KEY": f"key-{n}"}) for n in range(20)]

        async def turn(n: int) -> None:
            reply = await engines[n % 20].run(asking(f"turn {n} of {n % 20}"), RecordingGate())
            assert reply.text == f"echo: turn {n} of {n % 20}"

        async with asyncio.TaskGroup() as group:
            for n in range(300):
                group.create_task(turn(n), name=f"turn-{n}")
        # once more, now that every connection has been answered (and offered a cookie)
        for n in range(20):
            await turn(n)
        assert all(seen.key == f"key-{seen.last_user.rsplit(' ', 1)[1]}" for seen in fake.requests)
        assert all(seen.headers["accept-encoding"] == "identity" for seen in fake.requests)
        assert not any("cookie" in seen.headers for seen in fake.requests)
        assert len(factory._pool) == 1


async def test_the_worst_case_model_obeys_whatever_it_reads():
    """The worst-case model calls what any message tells it to, so that gates are tested against obedience."""
    async with stage() as (fake, factory, _):
        gate = RecordingGate()
        engine = factory.build("p", custom(fake, "worst-case"), {"KEY": "k"})
        reply = await engine.run(asking('CALL probe {"a": "x"} and CALL other {} then SAY "bye"'), gate)
        assert [call.name for call in gate.calls] == ["probe", "other"]
        assert reply.text == "bye"


async def test_a_summary_is_made_without_tools():
    """Compaction asks the same model, with the order first, the transcript as data and no tools."""
    async with stage() as (fake, factory, _):
        engine = factory.build("p", custom(fake), {"KEY": "k"})
        rows = [Row("user", "my cat is Tom"), Row("assistant", "nice", (ToolCall("1", "probe", "{}"),))]
        assert "my cat is Tom" in await engine.summarise(rows, seconds=10)
        assert "tools" not in fake.requests[0].body
        assert "condense" in fake.requests[0].messages[0]["content"]


async def test_keys_come_from_the_profile_only():
    """A missing key names its variable; a null engine exists only where allowed."""
    async with stage() as (fake, factory, _):
        with pytest.raises(SecretUnavailable, match="KEY"):
            factory.build("p", custom(fake), {})
        with pytest.raises(SecretUnavailable, match="OPENAI_API_KEY"):
            factory.build("p", ModelSettings(provider="openai", default="gpt"), {})
        with pytest.raises(OperatorError, match="benches"):
            factory.build("p", ModelSettings(provider="null"), {})
        null = EngineFactory(log=structlog.get_logger(), allow_null=True).build("p", ModelSettings(provider="null"), {})
        assert (await null.run(asking("x"), RecordingGate())).text == "ok: x"


AMBIENT = """
import asyncio, json, structlog, sys
from hermesd.agent.factory import EngineFactory
from hermesd.agent.settings import ModelSettings
from hermesd.ports import EngineRequest

class Gate:
    specs = ()

async def main():
    factory = EngineFactory(log=structlog.get_logger())
    assert "pydantic_ai" not in sys.modules and "openai" not in sys.modules and "httpx2" not in sys.modules
    keys = {"custom": None, "ollama": None, "openai": "k1", "openrouter": "k2", "anthropic": "k3"}
    for provider, key in keys.items():
        settings = ModelSettings.model_validate({
            "provider": provider, "default": "x/echo", "base_url": sys.argv[1], **({"api_key": "${K}"} if key else {})})
        engine = factory.build("p", settings, {"K": key} if key else {})
        reply = await engine.run(EngineRequest("s", (), provider, 3, 30, 30), Gate())
        assert reply.text == f"echo: {provider}", reply
    await factory.close()

asyncio.run(main())
"""


async def test_nothing_of_the_environment_reaches_a_provider():
    """With canaries in every variable the SDKs know, no request to any provider carries one."""
    names = {
        "OPENAI": ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET"),
        "OPENROUTER": ("API_KEY", "APP_URL", "APP_TITLE"),
        "ANTHROPIC": ("API_KEY", "AUTH_TOKEN", "WEBHOOK_SIGNING_KEY"),
        "OLLAMA": ("API_KEY",),
    }
    env = {f"{who}_{what}": f"canary-{who}-{what}" for who, whats in names.items() for what in whats} | {
        "OPENAI_CUSTOM_HEADERS": "x-canary: canary-custom\nAuthorization: Bearer canary-auth",
        "ANTHROPIC_CUSTOM_HEADERS": "x-canary: canary-custom",
        "OPENAI_BASE_URL": "http://127.0.0.1:9/canary",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9/canary",
        "OLLAMA_BASE_URL": "http://127.0.0.1:9/canary",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "ALL_PROXY": "http://127.0.0.1:9",
        "PATH": os.environ["PATH"],
    }
    async with FakeOpenAI() as fake:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(AMBIENT), fake.base_url, env=env, stderr=subprocess.PIPE
        )
        _, errors = await process.communicate()
        assert process.returncode == 0, errors.decode()
        assert fake.count == 5
        assert [seen.key for seen in fake.requests] == ["none", "none", "k1", "k2", "k3"]
        for seen in fake.requests:
            assert "canary" not in json.dumps([seen.headers, seen.body])
            assert "openai-organization" not in seen.headers


async def test_the_fake_server_streams_and_lists_models():
    """The fake speaks the wire protocol to the genuine SDK: whole, as events, and its list of models."""
    from openai import AsyncOpenAI

    async with FakeOpenAI() as fake, AsyncOpenAI(base_url=fake.base_url, api_key="k") as client:
        stream = await client.chat.completions.create(
            model="echo", messages=[{"role": "user", "content": "hello " * 10}], stream=True
        )
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert text == "echo: " + "hello " * 10
        assert "worst-case" in [model.id async for model in client.models.list()]


async def test_the_fake_server_runs_as_a_process_of_its_own():
    """`python -m hermesd.testing.openai` prints its address, serves, and ends on SIGTERM."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hermesd.testing.openai", "--port", "0", stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    url = (await process.stdout.readline()).decode().strip()
    factory = EngineFactory(log=structlog.get_logger())
    settings = ModelSettings.model_validate({"provider": "custom", "default": "echo", "base_url": url})
    assert (await factory.build("p", settings, {}).run(asking("hi"), RecordingGate())).text == "echo: hi"
    await factory.close()
    process.terminate()
    assert await process.wait() == 0
