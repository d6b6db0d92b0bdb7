"""The `send_message` tool: words to a chat beside the turn's own answer."""

from collections.abc import Mapping
from typing import Any

from hermesd.address import Address
from hermesd.errors import UserError
from hermesd.ports import Effect, ToolSpec, TurnContext


class SendMessageTool:
    """Queues a message; without an address it goes back to the bot, chat and topic the turn came from."""

    spec = ToolSpec(
        name="send_message",
        description=(
            "Send a message now, beside your final answer. Leave `to` out to write to this very conversation; "
            "your final answer needs no tool."
        ),
        parameters={
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "Markdown", "maxLength": 20000},
                "to": {"type": "string", "description": "platform[/bot]:chat[:thread]; only for another place"},
            },
            "required": ["text"],
            "additionalProperties": False,
        },
        effect=Effect.WRITE,
    )

    async def run(self, turn: TurnContext, arguments: Mapping[str, Any]) -> str:
        if not arguments["text"].strip():
            raise UserError("the message is empty")
        to = arguments.get("to", "").strip()
        address = Address.parse(to, default_bot=turn.address.adapter.bot_id) if to else None
        delivery = await turn.send(arguments["text"], address)
        return f"queued for {address or 'this conversation'} ({delivery})"
