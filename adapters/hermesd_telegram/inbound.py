"""One stored Telegram update, read. Pure: the same event always gives the same messages.

The identity of the bot travels with each event (`ME`), put there when it was received, so that events left over from an
earlier run are read as they were meant even before Telegram has been asked again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hermesd.address import AdapterKey, Address, ConversationKind
from hermesd.message import Attachment, InboundMessage, MessageKind, RawEvent, Sender
from hermesd.ports import Whereabouts
from hermesd_telegram import field
from hermesd_telegram.speech import Identity, listen

#: key under which the bot's own identity is kept beside Telegram's fields: `{"id": int, "username": str}`
ME = "hermesd_me"
#: the General topic of a forum: its messages carry no thread id, and sends to it must not either
GENERAL = "1"

#: message fields that are things, not words, and what they are
_THINGS = {
    "animation": "video",
    "audio": "audio",
    "contact": "contact",
    "dice": "other",
    "document": "document",
    "location": "location",
    "paid_media": "other",
    "poll": "other",
    "sticker": "sticker",
    "story": "other",
    "video": "video",
    "video_note": "video",
    "voice": "voice",
}


def parse(event: RawEvent, key: AdapterKey, fallback: Identity) -> Sequence[InboundMessage]:
    """Read one update. Empty for kinds of no interest; raises ValueError for a malformed one."""
    raw = event.raw
    field.whole(raw, "update_id")
    me = _identity(raw, fallback)
    if (message := field.maybe_table(raw, "message")) is not None:
        return _message(event.event_id, message, key, me, edited=False)
    if (message := field.maybe_table(raw, "edited_message")) is not None:
        return _message(event.event_id, message, key, me, edited=True)
    return ()


def place(event: RawEvent, key: AdapterKey) -> Whereabouts | None:
    """Where a message of an update stands, by what little has to be looked at for that.

    None when it cannot be told, or when the message names somebody and not this bot.
    """
    message = event.raw.get("message")
    chat = message.get("chat") if isinstance(message, Mapping) else None
    if not (isinstance(message, Mapping) and isinstance(chat, Mapping)):
        return None
    try:
        thread = _thread(message, chat, field.words(chat, "type"))
        chat_id, number = str(field.whole(chat, "id")), field.whole(message, "message_id")
    except ValueError:
        return None
    if chat.get("type") != "private" and _names_another(message, event.raw):
        return None
    return Whereabouts(Address(key, chat_id, thread), f"{chat_id}:{number}")


def _names_another(message: Mapping[str, Any], raw: Mapping[str, Any]) -> bool:
    text, me = str(message.get("text") or message.get("caption") or "").lower(), raw.get(ME)
    name = str(me.get("username", "")).lower() if isinstance(me, Mapping) else ""
    return "@" in text and (not name or f"@{name}" not in text)


def _identity(raw: Mapping[str, Any], fallback: Identity) -> Identity:
    me = field.maybe_table(raw, ME)
    return fallback if me is None else Identity(field.whole(me, "id"), field.words(me, "username") or None)


def _message(
    event_id: str, message: Mapping[str, Any], key: AdapterKey, me: Identity, *, edited: bool
) -> Sequence[InboundMessage]:
    chat = field.table(message, "chat")
    chat_type = field.words(chat, "type")
    if chat_type == "channel":
        return ()
    if chat_type not in ("private", "group", "supergroup"):
        raise ValueError("chat.type is not known")
    chat_id = str(field.whole(chat, "id"))
    thread = _thread(message, chat, chat_type)
    kind, old_chat, new_chat = _kind(message, chat_id, edited=edited)
    speech = listen(message, me)
    reply = _reply(message)
    replied_to_us = reply is not None and _author_id(reply) == me.id
    chat_kind: ConversationKind = "dm" if chat_type == "private" else "thread" if thread else "group"
    addressed = chat_kind == "dm" or (not speech.to_another and (speech.to_us or replied_to_us))
    return (
        InboundMessage(
            event_id=event_id,
            message_key=f"{chat_id}:{field.whole(message, 'message_id')}",
            address=Address(key, old_chat, None if kind is MessageKind.MIGRATION else thread),
            chat_kind="group" if kind is MessageKind.MIGRATION else chat_kind,
            sender=_sender(message, me),
            text=speech.text,
            kind=kind,
            attachments=_attachments(message),
            reply_to=f"{chat_id}:{field.whole(reply, 'message_id')}" if reply is not None else None,
            addressed=addressed,
            for_other=chat_kind != "dm" and speech.to_another,
            sent_at=float(field.whole(message, "date")),
            migrated_to=new_chat,
            title=_title(message, chat),
        ),
    )


def _thread(message: Mapping[str, Any], chat: Mapping[str, Any], chat_type: str) -> str | None:
    """The topic's id; reply threads of ordinary groups carry an id too and are none."""
    if field.flag(message, "is_topic_message"):
        return str(field.whole(message, "message_thread_id"))
    return GENERAL if chat_type == "supergroup" and field.flag(chat, "is_forum") else None


def _kind(message: Mapping[str, Any], chat_id: str, *, edited: bool) -> tuple[MessageKind, str, str | None]:
    """What it is, and the chat's old and new id."""
    if (new := field.maybe_whole(message, "migrate_to_chat_id")) is not None:
        return MessageKind.MIGRATION, chat_id, str(new)
    if (old := field.maybe_whole(message, "migrate_from_chat_id")) is not None:
        return MessageKind.MIGRATION, str(old), chat_id
    said = any(message.get(name) is not None for name in ("text", "caption", "photo", *_THINGS))
    # what Telegram invents next is a service message until somebody teaches us better
    if not said or field.flag(message, "is_automatic_forward"):
        return MessageKind.SERVICE, chat_id, None
    return (MessageKind.EDIT if edited else MessageKind.TEXT), chat_id, None


def _sender(message: Mapping[str, Any], me: Identity) -> Sender:
    """Who wrote it; somebody who writes as a chat gets an id that can be no person's."""
    chat = field.maybe_table(message, "sender_chat")
    if chat is not None:
        return Sender(f"chat:{field.whole(chat, 'id')}", field.words(chat, "title") or field.words(chat, "username"))
    user = field.table(message, "from")
    number = field.whole(user, "id")
    name = " ".join(filter(None, (field.words(user, "first_name"), field.words(user, "last_name"))))
    return Sender(str(number), name, is_bot=field.flag(user, "is_bot") or number == me.id)


def _reply(message: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The message answered to; in a topic every message formally answers the one that opened it, which is no answer."""
    reply = field.maybe_table(message, "reply_to_message")
    if reply is None or reply.get("forum_topic_created") is not None:
        return None
    return reply


def _author_id(message: Mapping[str, Any]) -> int | None:
    user = field.maybe_table(message, "from")
    return field.maybe_whole(user, "id") if user is not None else None


def _title(message: Mapping[str, Any], chat: Mapping[str, Any]) -> str | None:
    parts = [field.words(chat, "title")]
    opened = field.maybe_table(message, "reply_to_message")
    topic = field.maybe_table(opened, "forum_topic_created") if opened is not None else None
    if topic is not None:
        parts.append(field.words(topic, "name"))
    return " / ".join(filter(None, parts)) or None


def _attachments(message: Mapping[str, Any]) -> tuple[Attachment, ...]:
    found = []
    if sizes := field.tables(message, "photo"):
        found.append(_attachment("photo", sizes[-1]))
    for name, kind in _THINGS.items():
        thing = field.maybe_table(message, name)
        # an animation comes as a document too
        if thing is not None and not (name == "document" and message.get("animation") is not None):
            found.append(_attachment(kind, thing))
    return tuple(found)


def _attachment(kind: Any, thing: Mapping[str, Any]) -> Attachment:
    name = field.words(thing, "file_name") or field.words(thing, "title") or field.words(thing, "first_name")
    return Attachment(
        kind,
        name or field.words(thing, "emoji") or kind,
        field.words(thing, "file_id"),
        field.maybe_whole(thing, "file_size"),
        field.words(thing, "mime_type") or None,
    )
