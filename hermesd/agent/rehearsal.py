"""The model that is not one: deterministic, offline, and honest about it.

It goes through the same path as every other model (pydantic-ai's own FunctionModel), so that memory, files, messages
and limits can be tried without a key. Its phrases are listed in docs/models.md; a test compares.
"""

import json
import re
from collections.abc import Sequence

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from hermesd.agent.blueprint import Blueprint
from hermesd.agent.http import HttpPool
from hermesd.agent.phrase import Ask, Heard, reply_to
from hermesd.agent.summary import SUMMARY_ORDER
from hermesd.memory import entries_in

#: groups may show who speaks before the words
_SPEAKER = re.compile(r"^\[[^\]\n]{1,80}\]:?\s*")

LABEL = "— rehearsal model, no AI; set `model:` in the profile's config.yaml"


def connect(blueprint: Blueprint, pool: HttpPool) -> FunctionModel:
    """The rehearsal model; it needs no connection."""
    return FunctionModel(answer, model_name=blueprint.model or "v1")


async def answer(messages: Sequence[ModelMessage], info: AgentInfo) -> ModelResponse:
    """One response to a conversation, by the table of phrases alone."""
    if info.instructions and info.instructions.startswith(SUMMARY_ORDER):
        return _say(_summary(_prompts(messages)[-1]))
    if results := _results(messages):
        return _say("\n".join(f"{part.tool_name}: {part.model_response_str()}" for part in results))
    prompts = _prompts(messages)
    heard = Heard(
        _SPEAKER.sub("", prompts[-1]) if prompts else "",
        tuple(prompts[:-1]),
        entries_in(info.instructions or ""),
        frozenset(tool.name for tool in info.function_tools),
    )
    reply = reply_to(heard)
    if isinstance(reply, Ask):
        if reply.tool not in heard.tools:
            return _say(f"That would need the tool {reply.tool}, which this profile does not have.")
        # one id per place in the conversation, so that a rerun asks for the very same call
        call_id = f"rehearsal_{len(messages)}"
        return ModelResponse(parts=[ToolCallPart(reply.tool, json.dumps(reply.arguments), tool_call_id=call_id)])
    return _say(reply)


def _say(text: str) -> ModelResponse:
    return ModelResponse(parts=[TextPart(f"{text}\n\n{LABEL}")])


def _summary(transcript: str) -> str:
    said = [line.removeprefix("user: ") for line in transcript.splitlines() if line.startswith("user: ")]
    return "They said, in short: " + "; ".join(line[:80] for line in said[-20:])


def _prompts(messages: Sequence[ModelMessage]) -> list[str]:
    return [
        part.content
        for message in messages
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, UserPromptPart) and isinstance(part.content, str)
    ]


def _results(messages: Sequence[ModelMessage]) -> list[ToolReturnPart]:
    """Results of the round that has just ended; empty when the last message is a prompt."""
    last = messages[-1]
    if not isinstance(last, ModelRequest) or any(isinstance(part, UserPromptPart) for part in last.parts):
        return []
    return [part for part in last.parts if isinstance(part, ToolReturnPart)]
