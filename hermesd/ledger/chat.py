"""Chats that changed their id: what the platform calls migration."""

from hermesd.address import AdapterKey
from hermesd.database import Tx
from hermesd.ledger import delivery, turn

_ADD = "INSERT OR REPLACE INTO chat_alias(platform, bot_id, old_chat, new_chat, at) VALUES (?, ?, ?, ?, ?)"
_FOLLOW = "UPDATE chat_alias SET new_chat = ? WHERE platform = ? AND bot_id = ? AND new_chat = ?"
_ALL = "SELECT platform, bot_id, old_chat, new_chat FROM chat_alias"


def migrate(tx: Tx, key: AdapterKey, old_chat: str, new_chat: str, *, at: float) -> None:
    """Move everything open from the old id to the new one and remember the alias, in one transaction."""
    tx.execute(_FOLLOW, (new_chat, key.platform, key.bot_id, old_chat))
    tx.execute(_ADD, (key.platform, key.bot_id, old_chat, new_chat, at))
    turn.rekey(tx, key, old_chat, new_chat)
    delivery.rekey(tx, key, old_chat, new_chat)


def aliases(tx: Tx) -> dict[tuple[AdapterKey, str], str]:
    """(bot, old chat id) -> new chat id."""
    return {(AdapterKey(platform, bot), old): new for platform, bot, old, new in tx.execute(_ALL)}
