"""Reading an encoded conversation key back, for the one case that needs it: a chat that got a new id."""

from hermesd.address import AdapterKey

_PLATFORM, _BOT, _CHAT = 1, 2, 4


def parts(encoded: str) -> tuple[str | None, ...]:
    """The parts `ConversationKey.encode` wrote, in its order."""
    found: list[str | None] = []
    at = 0
    while at < len(encoded):
        if encoded[at] == "-":
            found.append(None)
            at += 1
            continue
        colon = encoded.index(":", at)
        end = colon + 1 + int(encoded[at:colon])
        found.append(encoded[colon + 1 : end])
        at = end
    return tuple(found)


def moved(encoded: str, adapter: AdapterKey, old_chat: str, new_chat: str) -> str | None:
    """The key under the chat's new id; None when it belongs to another chat or another bot."""
    found = list(parts(encoded))
    if (found[_PLATFORM], found[_BOT], found[_CHAT]) != (adapter.platform, adapter.bot_id, old_chat):
        return None
    found[_CHAT] = new_chat
    return "".join("-" if part is None else f"{len(part)}:{part}" for part in found)
