"""The rehearsal model, through the same engine as every other."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog

from hermesd.agent.factory import EngineFactory
from hermesd.agent.phrase import PHRASES, Heard, reply_to
from hermesd.agent.rehearsal import LABEL
from hermesd.memory import MemoryStore
from hermesd.ports import EngineReply, EngineRequest, Row, ToolCall, ToolOutcome, ToolSpec
from hermesd.tool.builtin import builtin_tools

DOCS = Path(__file__).parents[2] / "docs" / "models.md"


@dataclass
class Gate:
    """Every built-in tool's spec; calls are remembered and answered with `ok`."""

    specs: tuple[ToolSpec, ...] = tuple(tool.spec for tool in builtin_tools().select(None))
    calls: list[ToolCall] = field(default_factory=list)

    async def call(self, call: ToolCall) -> ToolOutcome:
        self.calls.append(call)
        return ToolOutcome("ok")


async def say(text: str, *history: Row, system: str = "", gate: Gate | None = None) -> EngineReply:
    engine = EngineFactory(log=structlog.get_logger()).build("p", None, {})
    assert engine.label == "rehearsal:v1"
    return await engine.run(EngineRequest(system, history, text, 10, 20, 20), gate or Gate())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Hello!", "Hello!"),
        ("count to 5", "1 2 3 4 5"),
        ("what can you do?", "remember that FACT"),
        ("anything else", "You said: anything else"),
        ("[Ada] hello", "Hello!"),
    ],
)
async def test_it_answers_and_says_what_it_is(text: str, says: str):
    """Each answer is deterministic and ends with the label."""
    reply = await say(text)
    assert says in reply.text
    assert reply.text.endswith(LABEL)
    assert reply == await say(text)


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("remember that my cat is Tom.", "memory", '{"action": "add", "target": "user", "content": "my cat is Tom"}'),
        ("remember that it rains", "memory", '{"action": "add", "target": "memory", "content": "it rains"}'),
        ("write a file a/b.md with hello you", "write_file", '{"path": "a/b.md", "content": "hello you"}'),
        ("read a/b.md", "read_file", '{"path": "a/b.md"}'),
        ("list files", "list_files", "{}"),
        ("find cat in files", "search_files", '{"text": "cat"}'),
        (
            "send good night to telegram/main:-100:6",
            "send_message",
            '{"text": "good night", "to": "telegram/main:-100:6"}',
        ),
        ("tell this chat it is late", "send_message", '{"text": "it is late"}'),
    ],
)
async def test_phrases_use_tools(text: str, tool: str, arguments: str):
    """A phrase becomes exactly one call of its tool, whose result is the answer."""
    gate = Gate()
    reply = await say(text, gate=gate)
    assert [(call.name, call.arguments) for call in gate.calls] == [(tool, arguments)]
    assert f"{tool}: ok" in reply.text


async def test_it_remembers_from_the_prompt_and_the_conversation(tmp_path: Path):
    """What memory shows in the prompt and what was said before can be asked for."""
    view = MemoryStore(tmp_path).view(None)
    await view.add("user", "my cat is Tom")
    system = "You are kind.\n\n" + await view.read()
    assert "- my cat is Tom" in (await say("what do you remember?", system=system)).text
    assert "Your cat: Tom." in (await say("what is my cat?", system=system)).text
    earlier = [Row("user", "My dog is Rex."), Row("assistant", "Nice!")]
    assert "Your dog: Rex." in (await say("What is my dog?", *earlier)).text
    assert "1. My dog is Rex." in (await say("what did I say?", *earlier)).text
    assert "do not know your fish" in (await say("what's my fish?", *earlier, system=system)).text


async def test_a_missing_tool_is_said():
    """Where the profile lacks the tool, the answer says so instead of asking for it."""
    gate = Gate(specs=())
    assert "does not have" in (await say("list files", gate=gate)).text
    assert gate.calls == []


async def test_it_condenses(tmp_path: Path):
    """Compaction works without a model: the notes hold what the person said."""
    engine = EngineFactory(log=structlog.get_logger()).build("p", None, {})
    notes = await engine.summarise([Row("user", "the launch is on Friday"), Row("assistant", "ok")], seconds=10)
    assert "the launch is on Friday" in notes


def test_documentation_lists_every_phrase():
    """The table in docs/models.md is the table in code."""
    rows = re.findall(r"^\| “(.+?)” \| (.+?) \|$", DOCS.read_text(), re.MULTILINE)
    assert rows == [(phrase.example, phrase.does) for phrase in PHRASES]


def test_examples_are_understood():
    """Each documented example is matched by its own phrase, not by another before it."""
    for phrase in PHRASES:
        example = phrase.example.replace("ADDRESS", "web/local:room").replace(
            "N", "3" if "count" in phrase.example else "N"
        )
        first = next(one for one in PHRASES if one.pattern.match(example))
        assert first is phrase, example
        assert reply_to(Heard(example, (), (), frozenset()))
