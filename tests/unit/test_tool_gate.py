"""The gate and the registry."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from hermesd.address import Address
from hermesd.errors import UserError
from hermesd.ports import CommandResult, Effect, ToolCall, ToolOutcome, ToolSpec, TurnContext
from hermesd.tool.builtin import builtin_tools
from hermesd.tool.gate import Gate
from hermesd.tool.registry import ToolRegistry
from hermesd.tool.schema import arguments_of

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 9}, "s": {"type": "string", "maxLength": 5}},
    "required": ["n"],
    "additionalProperties": False,
}


@dataclass
class Probe:
    """A tool that does what the test says."""

    effect: Effect = Effect.WRITE
    answer: Any = "done"
    runs: list[Mapping[str, Any]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    running: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec("probe", "a probe", SCHEMA, self.effect)

    async def run(self, turn: TurnContext, arguments: Mapping[str, Any]) -> str:
        self.runs.append(arguments)
        self.order.append("run")
        self.running.set()
        if isinstance(self.answer, BaseException):
            raise self.answer
        if isinstance(self.answer, asyncio.Event):
            await self.answer.wait()
        return self.answer


@dataclass
class Journal:
    """Steps in memory, in the order they were committed."""

    order: list[str]
    stored: ToolOutcome | None = None

    async def started(self, call: ToolCall, effect: Effect) -> ToolOutcome | None:
        self.order.append("started")
        return self.stored

    async def finished(self, call: ToolCall, outcome: ToolOutcome) -> None:
        self.order.append(f"finished {outcome.text}")


async def nothing(*_: object) -> Any:
    return CommandResult(0, "", "")


def turn(tmp_path: Path = Path("/nonexistent"), **more: Any) -> TurnContext:
    values: dict[str, Any] = dict(
        profile="p",
        turn_id="t",
        address=Address.parse("web/local:room"),
        memory=None,
        workspace=tmp_path,
        send=nothing,
        launch=nothing,
        log=structlog.get_logger(),
    )
    return TurnContext(**{**values, **more})


def call(arguments: str = '{"n": 3}', name: str = "probe") -> ToolCall:
    return ToolCall("c1", name, arguments)


async def test_the_intent_to_write_is_journalled_first():
    """started, then the tool, then finished: in this order."""
    probe = Probe()
    outcome = await Gate([probe], turn(), Journal(probe.order)).call(call())
    assert outcome == ToolOutcome("done")
    assert probe.order == ["started", "run", "finished done"]
    assert probe.runs == [{"n": 3}]


async def test_reading_leaves_no_intent():
    """A tool that changes nothing is journalled when it is done, so a crash may rerun it."""
    probe = Probe(Effect.READ)
    await Gate([probe], turn(), Journal(probe.order)).call(call())
    assert probe.order == ["run", "finished done"]


async def test_a_stored_outcome_is_returned_without_running():
    """A call that already finished is answered from the journal."""
    probe = Probe()
    outcome = await Gate([probe], turn(), Journal(probe.order, ToolOutcome("from disk"))).call(call())
    assert outcome.text == "from disk"
    assert probe.runs == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "n is missing"),
        ('{"n": "3"}', "n must be of type integer"),
        ('{"n": true}', "n must be of type integer"),
        ('{"n": 10}', "out of range"),
        ('{"n": 1, "s": "123456"}', "longer than 5"),
        ('{"n": 1, "z": 1}', "z is not known"),
        ("[" * 100_000, "not JSON"),
    ],
)
async def test_bad_arguments_never_reach_a_tool(arguments: str, says: str):
    """Arguments outside the schema come back as a failed outcome that says what was expected; nothing is journalled."""
    probe = Probe()
    outcome = await Gate([probe], turn(), Journal(probe.order)).call(call(arguments))
    assert outcome.failed
    assert says in outcome.text
    assert probe.order == []


async def test_unknown_and_refused_tools_are_not_run():
    """A name outside the turn's tools and a tool the policy refuses are failed outcomes, and not offered."""
    probe = Probe()
    gate = Gate([probe], turn(), Journal(probe.order), judge=lambda spec: "read-only turn")
    assert gate.specs == ()
    assert "read-only turn" in (await gate.call(call())).text
    assert (await gate.call(call(name="other"))).failed
    assert probe.order == []


async def test_a_tools_failure_is_safe_text():
    """An exception becomes an outcome with its kind alone; words meant for people pass through."""
    secret = Probe(answer=RuntimeError("password is hunter2"))
    outcome = await Gate([secret], turn(), Journal([])).call(call())
    assert outcome == ToolOutcome("probe failed (RuntimeError)", failed=True)
    kind = Probe(answer=UserError("no such room", hint="try /whereami"))
    assert "try /whereami" in (await Gate([kind], turn(), Journal([])).call(call())).text


async def test_a_tool_that_takes_too_long_is_ended():
    """The timeout of the gate ends a tool and says that it may have taken effect."""
    probe = Probe(answer=asyncio.Event())
    outcome = await Gate([probe], turn(), Journal(probe.order), seconds=0.01).call(call())
    assert outcome.failed
    assert "may have taken effect" in outcome.text
    assert probe.order[-1].startswith("finished")


async def test_cancellation_passes_and_leaves_the_intent_open():
    """A cancelled turn cancels its tool; the journal keeps an intent without an end, for the one who asks later."""
    probe = Probe(answer=asyncio.Event())
    running = asyncio.create_task(Gate([probe], turn(), Journal(probe.order)).call(call()), name="call")
    await probe.running.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert probe.order == ["started", "run"]


async def test_output_is_redacted_capped_and_valid():
    """Known secrets are replaced before the cap cuts, and the text is valid Unicode."""
    probe = Probe(answer="key=hunter2 \ud800" + "é" * 100)
    gate = Gate([probe], turn(output_cap=40), Journal([]), redact=lambda text: text.replace("hunter2", "[secret]"))
    text = (await gate.call(call())).text
    assert text.startswith("key=[secret] \ufffdéé")
    assert "40 are shown" in text
    text.encode()


SCALARS = st.none() | st.booleans() | st.integers(-20, 20) | st.text(max_size=8) | st.floats(allow_nan=False)


@given(st.dictionaries(st.sampled_from(["n", "s", "z"]), SCALARS))
def test_validation_agrees_with_json_schema(value: dict[str, Any]):
    """Our check accepts exactly what the JSON schema validator accepts, null standing for absent."""
    import json

    present = {name: item for name, item in value.items() if item is not None}
    # JSON schema counts 3.0 as an integer and models never mean it so
    if isinstance(present.get("n"), float):
        return
    valid = jsonschema.Draft202012Validator(SCHEMA).is_valid(present)
    try:
        arguments_of(json.dumps(value), SCHEMA)
        ours = True
    except UserError:
        ours = False
    assert ours == valid


def test_the_builtin_tools_are_grouped_and_chosen():
    """Toolsets choose tools; None and `all` are every tool, unknown names choose nothing and are listed."""
    registry = builtin_tools()
    names = [tool.spec.name for tool in registry.select(None)]
    assert names == ["memory", "send_message", "read_file", "write_file", "list_files", "search_files"]
    assert [tool.spec.name for tool in registry.select(["memory", "read_file", "web"])] == ["memory", "read_file"]
    assert registry.select([]) == ()
    assert registry.select(["hermes-telegram"]) == registry.select(None)
    assert registry.unknown(["web", "memory", "all"]) == ("web",)
    for tool in registry.select(None):
        jsonschema.Draft202012Validator.check_schema(tool.spec.parameters)


def test_a_name_is_registered_once():
    """A tool cannot shadow another."""
    registry = ToolRegistry()
    registry.register("a", Probe())
    with pytest.raises(ValueError, match="already"):
        registry.register("b", Probe())
