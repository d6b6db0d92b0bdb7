"""Between our neutral rows and the message types of pydantic-ai, which never leave this package."""

import json
from collections.abc import Iterable, Sequence

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from hermesd.agent.text import clean
from hermesd.ports import Row, ToolCall

#: stands where a crash left a call without its result; providers refuse a call without one
LOST = "(no result: the turn was interrupted)"


def to_messages(rows: Iterable[Row]) -> list[ModelMessage]:
    """History in the provider-neutral message types, always well-formed.

    A call without a result gets one that says so, a result without a call is left out, empty rows are left out.
    """
    messages: list[ModelMessage] = []
    open_calls: dict[str, ToolCall] = {}

    def close_calls() -> None:
        parts: list[ModelRequestPart] = [_result(call, LOST) for call in open_calls.values()]
        open_calls.clear()
        if parts:
            _add_request(messages, parts)

    for row in rows:
        if row.role == "tool":
            call = open_calls.pop(row.call_id or "", None)
            if call is not None:
                _add_request(messages, [_result(call, row.text)])
            continue
        close_calls()
        if row.role == "user":
            if row.text:
                _add_request(messages, [UserPromptPart(clean(row.text))])
            continue
        calls = list({call.call_id: call for call in row.calls}.values())
        if row.text or calls:
            parts = [TextPart(clean(row.text))] if row.text else []
            messages.append(ModelResponse(parts=[*parts, *map(_call, calls)]))
            open_calls = {call.call_id: call for call in calls}
    close_calls()
    return messages


def prompt_message(prompt: str, system: str) -> ModelRequest:
    """The new prompt with the system text that goes before everything."""
    return ModelRequest(parts=[UserPromptPart(clean(prompt))], instructions=clean(system) or None)


def results_message(outcomes: Sequence[tuple[ToolCall, str]], system: str) -> ModelRequest:
    """The results of one round of tool calls, in the order they were asked for."""
    return ModelRequest(parts=[_result(call, text) for call, text in outcomes], instructions=clean(system) or None)


def response_message(text: str, calls: Sequence[ToolCall]) -> ModelResponse:
    """The model's own words as they go back to it in the next round."""
    parts = [TextPart(text)] if text else []
    return ModelResponse(parts=[*parts, *map(_call, calls)])


def read_response(response: ModelResponse) -> tuple[str, tuple[ToolCall, ...]]:
    """The text and the tool calls of an answer, as valid Unicode; call ids are unique within it."""
    text = clean("".join(part.content for part in response.parts if isinstance(part, TextPart)))
    calls: dict[str, ToolCall] = {}
    for index, part in enumerate(part for part in response.parts if isinstance(part, ToolCallPart)):
        call_id = clean(part.tool_call_id) or f"call_{index}"
        while call_id in calls:
            call_id += "x"
        arguments = part.args if isinstance(part.args, str) else json.dumps(part.args or {}, ensure_ascii=False)
        calls[call_id] = ToolCall(call_id, clean(part.tool_name), clean(arguments) or "{}")
    return text.strip(), tuple(calls.values())


def transcript(rows: Iterable[Row]) -> str:
    """Rows as plain lines, for a summary."""
    lines = []
    for row in rows:
        who = f"tool {row.tool}" if row.role == "tool" else row.role
        asked = "".join(f" [asked for {call.name} {call.arguments[:500]}]" for call in row.calls)
        lines.append(f"{who}: {clean(row.text)[:4000]}{asked}")
    return "\n".join(lines)


def _add_request(messages: list[ModelMessage], parts: Sequence[ModelRequestPart]) -> None:
    if messages and isinstance(last := messages[-1], ModelRequest):
        messages[-1] = ModelRequest(parts=[*last.parts, *parts])
    else:
        messages.append(ModelRequest(parts=list(parts)))


def _result(call: ToolCall, text: str) -> ToolReturnPart:
    return ToolReturnPart(tool_name=call.name, content=clean(text), tool_call_id=call.call_id)


def _call(call: ToolCall) -> ToolCallPart:
    return ToolCallPart(call.name, _as_object(call.arguments), tool_call_id=call.call_id)


def _as_object(arguments: str) -> str:
    """Arguments as some JSON object, because providers refuse a history that holds anything else."""
    try:
        if isinstance(json.loads(arguments), dict):
            return arguments
    except (ValueError, RecursionError):
        pass
    return json.dumps({"not_json": arguments[:2000]})
