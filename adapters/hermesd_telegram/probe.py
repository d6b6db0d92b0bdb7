"""What `doctor` asks Telegram, and the exact click that fixes each answer."""

from collections.abc import Mapping, Sequence

from telegram.error import TelegramError

from hermesd.ports import Finding
from hermesd_telegram import failure
from hermesd_telegram.wire import RawBot

PRIVACY = "@BotFather → /setprivacy → choose the bot → Disable, then remove the bot from each group and add it again"
GROUPS = "@BotFather → /setjoingroups → choose the bot → Enable"


async def look(bot: RawBot) -> Sequence[Finding]:
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
    return found
