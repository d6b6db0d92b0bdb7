"""What happens to a message before anybody thinks about it. Pure; every refusal has a reason `explain` can show."""

from dataclasses import dataclass
from typing import Literal

from hermesd.gateway.access import Rights, may_talk, rights_of
from hermesd.message import InboundMessage, MessageKind
from hermesd.ports import AccessSettings

#: the reason of a message in a group that is for others
NOT_ADDRESSED = "not addressed"


@dataclass(frozen=True, slots=True)
class Admit:
    """Go on: a command, a turn, or the edit of a waiting message."""

    rights: Rights


@dataclass(frozen=True, slots=True)
class Ignore:
    """Nobody needs to be told."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Tell them why not, once per person and place."""

    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class Pair:
    """A stranger in a direct message: offer a pairing code."""


@dataclass(frozen=True, slots=True)
class Migrate:
    """The chat has a new id."""

    new_chat: str


Verdict = Admit | Ignore | Refuse | Pair | Migrate


def admit(message: InboundMessage, bot: AccessSettings, profile: AccessSettings | None, *, permitted: bool) -> Verdict:
    """Decide about one message from what the configuration says; the order of the questions is the policy."""
    if message.kind is MessageKind.MIGRATION and message.migrated_to is not None:
        return Migrate(message.migrated_to)
    if reason := _uninteresting(message, bot):
        return Ignore(reason)
    user = message.sender.id
    if may_talk(user, bot, profile, permitted=permitted):
        return Admit(rights_of(user, bot, profile))
    return _stranger(message, bot, permitted=permitted)


def _uninteresting(message: InboundMessage, bot: AccessSettings) -> str | None:
    if message.kind in (MessageKind.SERVICE, MessageKind.MIGRATION):
        return "service message"
    if message.sender.is_bot:
        return "written by a bot"
    if message.for_other:
        return NOT_ADDRESSED
    if bot.observe_only:
        return "observe only"
    if message.chat_kind != "dm" and bot.require_mention and not message.addressed:
        return NOT_ADDRESSED
    if not message.text.strip() and not message.attachments:
        return "nothing in it"
    return None


def _stranger(message: InboundMessage, bot: AccessSettings, *, permitted: bool) -> Verdict:
    known_to_bot = may_talk(message.sender.id, bot, None, permitted=permitted)
    if message.kind is MessageKind.EDIT:
        return Ignore("not allowed")
    if message.chat_kind == "dm" and bot.pairing and not known_to_bot:
        return Pair()
    if not message.addressed:
        return Ignore("not allowed")
    where: Literal["profile", "bot"] = "profile" if known_to_bot else "bot"
    return Refuse(f"not on the {where}'s allowlist", _refusal(message.sender.id, where))


def _refusal(user_id: str, where: Literal["profile", "bot"]) -> str:
    place = "`access.allow` of this profile's config.yaml" if where == "profile" else "`access.allow` of this bot"
    return f"Sorry, I may not talk to you here. Your id is `{user_id}`; whoever runs me can add it to {place}."
