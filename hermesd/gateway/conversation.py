"""Which conversation a message belongs to. Pure."""

from hermesd.address import ConversationKey
from hermesd.message import Attachment, InboundMessage


def key_of(
    message: InboundMessage, profile: str, *, group_sessions_per_user: bool, thread_sessions_per_user: bool
) -> ConversationKey:
    """In a group each person has a session of their own by default; in a thread it is shared by default."""
    kind = message.chat_kind
    own = (kind == "group" and group_sessions_per_user) or (kind == "thread" and thread_sessions_per_user)
    return ConversationKey(profile, message.address, kind, message.sender.id if own else None)


def prompt_of(message: InboundMessage) -> str:
    """The text of a turn, with a visible line for each attachment the model does not get to see."""
    notes = [_note(attachment) for attachment in message.attachments]
    return "\n".join([message.text, *notes]).strip()


def _note(attachment: Attachment) -> str:
    name = " ".join(attachment.name.split())[:120]
    return f"[{attachment.kind} attached{': ' + name if name else ''}; its contents are not available]"
