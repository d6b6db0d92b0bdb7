"""The `memory` tool, with the signature Hermes users know."""

from collections.abc import Mapping
from typing import Any

from hermesd.errors import UserError
from hermesd.ports import Effect, ToolSpec, TurnContext


class MemoryTool:
    """Lets the model keep notes in this conversation's memory."""

    spec = ToolSpec(
        name="memory",
        description=(
            "Keep short, lasting notes. Target `user` is for who the person is and what they like, `memory` for "
            "everything else. `replace` and `remove` find the entry by old_text, a part only that entry contains."
        ),
        parameters={
            "type": "object",
            "properties": {
                "action": {"type": "string", "enum": ["add", "replace", "remove"]},
                "target": {"type": "string", "enum": ["memory", "user"]},
                "content": {"type": "string", "description": "the entry, for add and replace", "maxLength": 2200},
                "old_text": {"type": "string", "description": "which entry, for replace and remove"},
            },
            "required": ["action", "target"],
            "additionalProperties": False,
        },
        effect=Effect.WRITE,
    )

    async def run(self, turn: TurnContext, arguments: Mapping[str, Any]) -> str:
        target = arguments["target"]
        content, old_text = arguments.get("content", ""), arguments.get("old_text", "")
        match arguments["action"]:
            case "add":
                return await turn.memory.add(target, content)
            case "replace":
                return await turn.memory.replace(target, _given(old_text), content)
            case _:
                return await turn.memory.remove(target, _given(old_text))


def _given(old_text: str) -> str:
    if not old_text.strip():
        raise UserError("old_text is missing", hint="give a part of the entry that only it contains")
    return old_text
