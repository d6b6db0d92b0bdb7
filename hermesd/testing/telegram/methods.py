"""The Bot API methods the fake knows, as plain functions over the world. Each returns `result` or raises Refused."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from hermesd.testing.telegram.entities import CannotParse, read_html, typed_entities
from hermesd.testing.telegram.world import BotAccount, Chat, World, too_long

Parameters = Mapping[str, Any]


class Refused(Exception):
    """The Bot API says no."""

    def __init__(self, status: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.status = status
        self.body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
        if parameters:
            self.body["parameters"] = parameters


def get_me(world: World, bot: BotAccount, given: Parameters) -> dict[str, Any]:
    """getMe."""
    return {
        **bot.user(),
        "can_join_groups": True,
        "can_read_all_group_messages": bot.can_read_all,
        "supports_inline_queries": False,
    }


def send_message(world: World, bot: BotAccount, given: Parameters) -> dict[str, Any]:
    """sendMessage."""
    chat = _writable(world, bot, given)
    thread = _thread(chat, given)
    text, entities = _visible(given)
    content: dict[str, Any] = {"text": text, **({"entities": entities} if entities else {})}
    reply = _reply(world, bot, chat, given)
    posted = world.post(chat, bot.user(), content, thread=thread, reply_to=reply, bot=bot)
    return dict(posted.message)


def send_chat_action(world: World, bot: BotAccount, given: Parameters) -> bool:
    """sendChatAction."""
    _thread(_writable(world, bot, given), given)
    return True


def edit_message_text(world: World, bot: BotAccount, given: Parameters) -> dict[str, Any]:
    """editMessageText."""
    chat = _writable(world, bot, given)
    number = _int(given.get("message_id"), "message_id")
    for posted in world.history(chat.id, bot=bot):
        if posted.message["message_id"] == number and posted.bot_id == bot.id:
            break
    else:
        raise Refused(400, "Bad Request: message to edit not found")
    text, entities = _visible(given)
    if text == posted.text:
        raise Refused(400, "Bad Request: message is not modified")
    message: dict[str, Any] = dict(posted.message)
    message |= {"text": text, "entities": entities}
    posted.message.update(message)  # type: ignore[attr-defined]  # the history shows what people see now
    world.changed.notify()
    return message


def get_chat(world: World, bot: BotAccount, given: Parameters) -> dict[str, Any]:
    """getChat."""
    return {**_chat(world, bot, given).brief(), "accent_color_id": 0, "max_reaction_count": 11}


def get_chat_member(world: World, bot: BotAccount, given: Parameters) -> dict[str, Any]:
    """getChatMember: the bot itself is an administrator unless muted, people are members."""
    chat = _chat(world, bot, given)
    user_id = _int(given.get("user_id"), "user_id")
    if user_id != bot.id:
        return {"status": "member", "user": {"id": user_id, "is_bot": False, "first_name": str(user_id)}}
    status = "restricted" if chat.id in bot.muted_in else "administrator"
    return {"status": status, "user": bot.user(), "can_send_messages": chat.id not in bot.muted_in}


def set_my_commands(world: World, bot: BotAccount, given: Parameters) -> bool:
    """setMyCommands."""
    commands = _decoded(given.get("commands"), [])
    for command in commands:
        name = str(command.get("command", ""))
        if not name.islower() or not name.replace("_", "").isalnum() or len(name) > 32:
            raise Refused(400, "Bad Request: BOT_COMMAND_INVALID")
        if not 1 <= len(str(command.get("description", ""))) <= 256:
            raise Refused(400, "Bad Request: BOT_COMMAND_DESCRIPTION_INVALID")
    if len(commands) > 100:
        raise Refused(400, "Bad Request: BOT_COMMANDS_TOO_MUCH")
    bot.commands = commands
    world.changed.notify()
    return True


def delete_webhook(world: World, bot: BotAccount, given: Parameters) -> bool:
    """deleteWebhook."""
    bot.webhook = ""
    if str(given.get("drop_pending_updates", "")).casefold() in ("true", "1"):
        bot.queue.clear()
    return True


def set_webhook(world: World, bot: BotAccount, given: Parameters) -> bool:
    """setWebhook: remembered, never called."""
    bot.webhook = str(given.get("url", ""))
    return True


def get_webhook_info(world: World, bot: BotAccount, given: Parameters) -> dict[str, Any]:
    """getWebhookInfo."""
    return {"url": bot.webhook, "has_custom_certificate": False, "pending_update_count": len(bot.queue)}


def answer_callback_query(world: World, bot: BotAccount, given: Parameters) -> bool:
    """answerCallbackQuery."""
    return True


METHODS: dict[str, Callable[[World, BotAccount, Parameters], Any]] = {
    "getme": get_me,
    "sendmessage": send_message,
    "sendchataction": send_chat_action,
    "editmessagetext": edit_message_text,
    "getchat": get_chat,
    "getchatmember": get_chat_member,
    "setmycommands": set_my_commands,
    "deletewebhook": delete_webhook,
    "setwebhook": set_webhook,
    "getwebhookinfo": get_webhook_info,
    "answercallbackquery": answer_callback_query,
}


def _int(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Refused(400, f"Bad Request: {name} is invalid") from None


def _decoded(value: Any, default: Any) -> Any:
    """A parameter that is JSON inside a form field, or already decoded in a JSON body."""
    if value is None or value == "":
        return default
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise Refused(400, "Bad Request: can't parse JSON parameter") from None


def _chat(world: World, bot: BotAccount, given: Parameters) -> Chat:
    chat = world.find(bot, _int(given.get("chat_id"), "chat_id"))
    if chat is None:
        raise Refused(400, "Bad Request: chat not found")
    return chat


def _writable(world: World, bot: BotAccount, given: Parameters) -> Chat:
    """The chat, if the bot may write there."""
    chat = _chat(world, bot, given)
    if chat.migrated_to is not None:
        raise Refused(
            400,
            "Bad Request: group chat was upgraded to a supergroup chat",
            migrate_to_chat_id=chat.migrated_to,
        )
    if chat.type == "private" and chat.id in bot.blocked_by:
        raise Refused(403, "Forbidden: bot was blocked by the user")
    if chat.id in bot.kicked_from:
        raise Refused(403, f"Forbidden: bot was kicked from the {chat.type} chat")
    if chat.id in bot.muted_in:
        raise Refused(400, "Bad Request: not enough rights to send text messages to the chat")
    return chat


def _thread(chat: Chat, given: Parameters) -> int | None:
    """The topic, if it can be written in. General has no id here: thread 1 is not found, as on Telegram."""
    raw = given.get("message_thread_id")
    if raw in (None, "", 0, "0"):
        return None
    number = _int(raw, "message_thread_id")
    topic = chat.topics.get(number) if chat.forum else None
    if topic is None:
        raise Refused(400, "Bad Request: message thread not found")
    if topic.closed:
        raise Refused(400, "Bad Request: TOPIC_CLOSED")
    return number


def _visible(given: Parameters) -> tuple[str, list[dict[str, Any]]]:
    """The text people see and its entities."""
    source = str(given.get("text") or "")
    mode = str(given.get("parse_mode") or "").casefold()
    if mode == "html":
        try:
            text, entities = read_html(source)
        except CannotParse as bad:
            raise Refused(400, f"Bad Request: can't parse entities: {bad}") from None
    elif mode:
        raise Refused(400, "Bad Request: unsupported parse_mode")
    else:
        text, entities = source, typed_entities(source)
    if not text.strip():
        raise Refused(400, "Bad Request: message text is empty")
    if too_long(text):
        raise Refused(400, "Bad Request: message is too long")
    return text, entities


def _reply(world: World, bot: BotAccount, chat: Chat, given: Parameters) -> Mapping[str, Any] | None:
    wanted = _decoded(given.get("reply_parameters"), {})
    number = wanted.get("message_id", given.get("reply_to_message_id"))
    if number in (None, ""):
        return None
    for posted in world.history(chat.id, bot=bot):
        if posted.message["message_id"] == int(number):
            return posted.message
    if wanted.get("allow_sending_without_reply"):
        return None
    raise Refused(400, "Bad Request: message to be replied not found")
