"""What an error of the Bot API means for hermesd. Pure."""

from typing import Literal

from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, TelegramError
from telegram.error import Conflict as SdkConflict

from hermesd.errors import (
    Ambiguous,
    Conflict,
    Migrated,
    PlatformError,
    RateLimited,
    Rejected,
    Unauthorized,
    Unreachable,
)
from hermesd_telegram.wire import NotSent, TooMany

Reason = Literal["blocked", "forbidden", "chat_gone", "thread_gone", "thread_closed", "too_long", "bad_request"]

#: parts of a description, in lower case, and what they mean; the first match counts
_MEANINGS: tuple[tuple[str, Reason, str], ...] = (
    ("message thread not found", "thread_gone", "the topic was deleted: route its conversation elsewhere"),
    ("topic_deleted", "thread_gone", "the topic was deleted: route its conversation elsewhere"),
    ("topic_closed", "thread_closed", "reopen the topic, or make the bot an admin with “Manage Topics”"),
    ("bot was blocked", "blocked", "the person must unblock the bot"),
    ("user is deactivated", "blocked", "the account is gone"),
    ("can't initiate conversation", "blocked", "the person must press Start in a chat with the bot first"),
    ("chat not found", "chat_gone", "check the chat id, and that the bot is a member of the chat"),
    ("was kicked", "chat_gone", "add the bot to the chat again"),
    ("not a member", "chat_gone", "add the bot to the chat again"),
    ("group chat was deactivated", "chat_gone", "the group was deleted"),
    ("peer_id_invalid", "chat_gone", "check the chat id"),
    ("not enough rights", "forbidden", "allow the bot to send messages in this chat"),
    ("have no rights to send", "forbidden", "allow the bot to send messages in this chat"),
    ("chat_write_forbidden", "forbidden", "allow the bot to send messages in this chat"),
    ("need administrator rights", "forbidden", "make the bot an admin of this chat"),
    ("chat_restricted", "forbidden", "allow the bot to send messages in this chat"),
    ("message is too long", "too_long", ""),
    ("message_too_long", "too_long", ""),
)

NEW_TOKEN = "@BotFather → /token → choose the bot, then put the new token where the reference points"  # noqa: S105 - a hint
ONE_POLLER = "stop the other program that uses this token, or get a new one: @BotFather → /revoke"


def cannot_parse(error: TelegramError) -> bool:
    """Whether Telegram refused the markup; nothing was sent."""
    text = error.message.casefold()
    return isinstance(error, BadRequest) and ("parse entities" in text or "entity" in text)


def while_sending(error: TelegramError) -> PlatformError:
    """What a failed send means: known undone, known refused, or ambiguous."""
    known = _known(error)
    if known is not None:
        return known
    if isinstance(error, NotSent):
        return Unreachable(f"Telegram cannot be reached: {error.message}")
    return Ambiguous(f"Telegram may have taken the message: {error.message}")


def while_polling(error: TelegramError) -> PlatformError:
    """What a failed request that changes nothing means: anything unclear may simply be tried again."""
    return _known(error) or Unreachable(f"Telegram cannot be reached: {error.message}")


def _known(error: TelegramError) -> PlatformError | None:
    """The errors Telegram states clearly."""
    if isinstance(error, TooMany):
        return RateLimited(f"Telegram asks to wait {error.retry_after:g} s", retry_after=error.retry_after)
    if isinstance(error, InvalidToken):
        return Unauthorized("Telegram does not accept the token", hint=NEW_TOKEN)
    if isinstance(error, SdkConflict):
        return Conflict("another program receives this bot's messages", hint=ONE_POLLER)
    if isinstance(error, ChatMigrated):
        return Migrated("the group became a supergroup with a new id", new_chat_id=str(error.new_chat_id))
    if isinstance(error, BadRequest | Forbidden):
        return _refusal(error)
    return None


def _refusal(error: TelegramError) -> Rejected:
    text = error.message.casefold()
    for part, reason, hint in _MEANINGS:
        if part in text:
            return Rejected(f"Telegram refuses: {error.message}", reason=reason, hint=hint)
    reason = "forbidden" if isinstance(error, Forbidden) else "bad_request"
    return Rejected(f"Telegram refuses: {error.message}", reason=reason)
