"""How people write what is to stand still. Pure."""

from hermesd.address import Address
from hermesd.errors import UserError
from hermesd.ledger.pause import scope_of_bot

WORDS = ("all", "bot", "profile", "chat")


def read(text: str, here: Address, profile: str | None) -> tuple[str, str]:
    """`all|bot|profile|chat [note]` seen from one place -> (scope, note); nothing written means this chat."""
    word, _, note = text.partition(" ")
    chat = Address(here.adapter, here.chat_id, here.thread_id)
    match word:
        case "" | "chat":
            return f"chat:{chat}", note.strip()
        case "all":
            return "all", note.strip()
        case "bot":
            return scope_of_bot(here.adapter), note.strip()
        case "profile":
            if profile is None:
                raise UserError("No profile is routed here.", hint="Use /pause chat, bot or all.")
            return f"profile:{profile}", note.strip()
        case _:
            raise UserError(f"“{word}” is nothing I can pause.", hint="Write one of: all, bot, profile, chat.")


def in_words(scope: str) -> str:
    """A scope as people read it."""
    kind, _, what = scope.partition(":")
    return {"all": "everything", "bot": f"bot {what}", "profile": f"profile {what}", "chat": "this chat"}[kind]
