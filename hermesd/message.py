"""The values that travel between adapters and the gateway."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from hermesd.address import Address, ConversationKind


@dataclass(frozen=True, slots=True)
class RawEvent:
    """One platform event exactly as received: stored first, parsed later."""

    #: unique per bot for at least 30 days; a repeat of the same event carries the same id
    event_id: str
    #: the JSON object of the platform, decoded
    raw: Mapping[str, Any]
    #: where it belongs, if the adapter knows before parsing: it then shows in the transcript at once
    place: Address | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """Who wrote a message. Only `id` identifies; the name is decoration."""

    id: str
    name: str
    is_bot: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """Something that came with a message; its bytes stay at the platform until asked for."""

    kind: Literal["photo", "document", "audio", "voice", "video", "sticker", "location", "contact", "other"]
    #: the sender's name for it, display only
    name: str
    #: the adapter's own handle for fetching it
    ref: str
    size: int | None = None
    mime: str | None = None


class MessageKind(StrEnum):
    """What happened, as far as the gateway cares."""

    TEXT = "text"
    EDIT = "edit"
    #: joins, leaves, pins, topic created …: never a turn
    SERVICE = "service"
    #: the chat got a new id; `migrated_to` is set
    MIGRATION = "migration"


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One parsed event. Pure data: what the adapter saw, before anybody decided anything."""

    event_id: str
    #: the platform's own identity of the message, e.g. `<chat>:<message>`; edits repeat it
    message_key: str
    address: Address
    chat_kind: ConversationKind
    sender: Sender
    text: str
    kind: MessageKind = MessageKind.TEXT
    #: parent channel of a thread where the platform has such
    parent_chat: str | None = None
    attachments: tuple[Attachment, ...] = ()
    #: message_key of the message this replies to
    reply_to: str | None = None
    #: in a group: was this bot mentioned, replied to, or given a command
    addressed: bool = True
    #: named another bot: a command or mention that is not for this one, whatever the settings say
    for_other: bool = False
    #: when the platform says it was sent; Unix seconds
    sent_at: float = 0.0
    migrated_to: str | None = None
    #: display title of the chat or topic, decoration only
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One part of one reply, ready for an adapter."""

    #: stable across retries and restarts: platforms with idempotent sends key on it
    delivery_id: str
    address: Address
    #: Markdown source; the adapter renders it in its own markup with a plain fallback
    text: str
    #: 1-based position among `of` parts
    part: int = 1
    of: int = 1
    #: platform message to answer to (the adapter's own message_key), None = none
    reply_to: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The platform's proof of a send."""

    #: message_key of the sent message
    message_key: str
