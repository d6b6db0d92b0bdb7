"""Replies in the two wire formats: chat completions (whole and as events) and Anthropic messages."""

import json
from collections.abc import Iterator
from typing import Any

from hermesd.testing.openai.script import Reply, Seen


def completion(seen: Seen, reply: Reply, number: int) -> dict[str, Any]:
    """A whole `chat.completion` object."""
    message: dict[str, Any] = {"role": "assistant", "content": said(seen, reply)}
    if reply.calls:
        message["tool_calls"] = [
            {"id": f"call_{number}_{index}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for index, (name, arguments) in enumerate(reply.calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if reply.calls else "stop"}
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": int(seen.at),
        "model": seen.model,
        "choices": [] if reply.fault == "no_choices" else [choice],
        "usage": usage(reply),
    }


def events(seen: Seen, reply: Reply, number: int) -> Iterator[bytes]:
    """The same as server-sent events, one piece of text or one call each."""

    def chunk(delta: dict[str, Any], finish: str | None = None, **extra: Any) -> bytes:
        body = {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion.chunk",
            "created": int(seen.at),
            "model": seen.model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
            **extra,
        }
        return b"data: " + json.dumps(body).encode() + b"\n\n"

    yield chunk({"role": "assistant", "content": ""})
    text = said(seen, reply) or ""
    step = max(20, len(text) // 100)
    for start in range(0, len(text), step):
        yield chunk({"content": text[start : start + step]})
    for index, (name, arguments) in enumerate(reply.calls):
        function = {"name": name, "arguments": arguments}
        yield chunk(
            {"tool_calls": [{"index": index, "id": f"call_{number}_{index}", "type": "function", "function": function}]}
        )
    yield chunk({}, "tool_calls" if reply.calls else "stop", usage=usage(reply))
    yield b"data: [DONE]\n\n"


def message(seen: Seen, reply: Reply, number: int) -> dict[str, Any]:
    """An Anthropic `message` object."""
    text = said(seen, reply)
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    for index, (name, arguments) in enumerate(reply.calls):
        content.append(
            {"type": "tool_use", "id": f"toolu_{number}_{index}", "name": name, "input": json.loads(arguments)}
        )
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": seen.model,
        "content": content,
        "stop_reason": "tool_use" if reply.calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens},
    }


def said(seen: Seen, reply: Reply) -> str | None:
    """The answer's text; None beside tool calls without words."""
    if reply.text is not None:
        return reply.text
    return None if reply.calls else f"echo: {seen.last_user}"


def usage(reply: Reply) -> dict[str, int]:
    """Token counts as the provider reports them."""
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
    }
