"""What `doctor` asks Telegram, and the exact click that fixes each answer."""

from collections.abc import Mapping, Sequence

from telegram.error import TelegramError

from hermesd.ports import Finding
from hermesd_telegram import failure
from hermesd_telegram.wire import RawBot

PRIVACY = "@BotFather → /setprivacy → choose the bot → Disable, then remove the bot from each group and add it again"
GROUPS = "@BotFather → /setjoingroups → choose the bot → Enable"


#: groups that are looked at: one question each
MOST_CHATS = 50


async def look(bot: RawBot, chats: Sequence[str] = ()) -> Sequence[Finding]:
    """Every finding, the good ones too. Never raises for what Telegram says."""
    try:
        me = await bot.ask("getMe")
        hook = await bot.ask("getWebhookInfo")
    except TelegramError as error:
        known = failure.while_polling(error)
        return [Finding("error", known.message, known.hint or "check the network and `base_url`, then try again")]
    me = me if isinstance(me, Mapping) else {}
    hook = hook if isinstance(hook, Mapping) else {}
    name = f"@{me.get('username')}"
    found = [Finding("ok", f"the token is good: it is {name}")]
    if me.get("can_read_all_group_messages"):
        found.append(Finding("ok", f"{name} sees all messages of its groups"))
    else:
        found.append(
            Finding("warning", f"privacy mode is on: in groups {name} sees only commands and replies", PRIVACY)
        )
    if me.get("can_join_groups") is False:
        found.append(Finding("warning", f"{name} cannot be added to groups", GROUPS))
    if hook.get("url"):
        found.append(Finding("warning", f"{name} has a webhook, which starting the daemon removes"))
    if pending := hook.get("pending_update_count"):
        found.append(Finding("ok", f"{pending} messages wait at Telegram"))
    # a person's own chat has a positive id, and only they can close it
    groups = [chat for chat in dict.fromkeys(chats) if chat.startswith("-")]
    return [*found, *[await _rights(bot, name, me.get("id"), group) for group in groups[:MOST_CHATS]]]


async def _rights(bot: RawBot, name: str, own_id: object, chat: str) -> Finding:
    """Whether the bot can answer in a group and its topics."""
    try:
        member = await bot.ask("getChatMember", chat_id=chat, user_id=own_id)
    except TelegramError as error:
        fix = f"open the group → add members → {name}; /whereami there prints its id"
        return Finding("error", f"{name} is not in the group {chat} that a route names ({error.message})", fix)
    member = member if isinstance(member, Mapping) else {}
    status = member.get("status")
    if status in ("left", "kicked"):
        return Finding("error", f"{name} is not in the group {chat} that a route names", f"add {name} to the group")
    if status == "restricted" and not member.get("can_send_messages"):
        fix = f"open the group → its members → {name} → Permissions → allow sending messages"
        return Finding("error", f"{name} may not write in the group {chat} and its topics", fix)
    return Finding("ok", f"{name} may write in the group {chat} and its topics")
