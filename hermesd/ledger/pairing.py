"""Pairing: a stranger gets a code, an operator approves it, the person's immutable id gets a permit."""

from dataclasses import dataclass

from hermesd.address import AdapterKey
from hermesd.database import Tx

_EXPIRE = "UPDATE pairing SET state = 'expired' WHERE state = 'asked' AND expires_at <= ?"
_ASKED = "SELECT {columns} FROM pairing WHERE state = 'asked' AND platform = ? AND bot_id = ? AND user_id = ?"
_COUNT = "SELECT count(*) FROM pairing WHERE state = 'asked' AND platform = ? AND bot_id = ?"
_COLUMNS = "code, platform, bot_id, user_id, user_name, chat_id, created_at, expires_at, state"
_INSERT = (
    "INSERT INTO pairing(code, platform, bot_id, user_id, user_name, chat_id, created_at, expires_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_LIST = f"SELECT {_COLUMNS} FROM pairing WHERE state = 'asked' ORDER BY created_at"
_DECIDE = (
    "UPDATE pairing SET state = ?, decided_by = ?, decided_at = ? WHERE code = ? AND state = 'asked' "
    f"RETURNING {_COLUMNS}"
)
_PERMIT = "INSERT OR IGNORE INTO permit(platform, bot_id, user_id, by_whom, at) VALUES (?, ?, ?, ?, ?)"
_REVOKE = "DELETE FROM permit WHERE platform = ? AND bot_id = ? AND user_id = ?"
_PERMITS = "SELECT platform, bot_id, user_id FROM permit"


@dataclass(frozen=True, slots=True)
class Pairing:
    """Somebody who would like to talk."""

    code: str
    key: AdapterKey
    user_id: str
    user_name: str
    chat_id: str
    #: Unix seconds
    created_at: float
    expires_at: float
    state: str = "asked"


def ask(tx: Tx, wish: Pairing, *, most: int) -> Pairing | None:
    """Store a request, or return the one this person already has; None when too many people of this bot wait."""
    tx.execute(_EXPIRE, (wish.created_at,))
    place = (wish.key.platform, wish.key.bot_id)
    known = tx.execute(_ASKED.format(columns=_COLUMNS), (*place, wish.user_id)).fetchone()
    if known is not None:
        return _pairing(known)
    if tx.execute(_COUNT, place).fetchone()[0] >= most:
        return None
    tx.execute(
        _INSERT, (wish.code, *place, wish.user_id, wish.user_name, wish.chat_id, wish.created_at, wish.expires_at)
    )
    return wish


def waiting(tx: Tx, *, at: float) -> tuple[Pairing, ...]:
    """Requests nobody decided about, oldest first."""
    tx.execute(_EXPIRE, (at,))
    return tuple(_pairing(row) for row in tx.execute(_LIST))


def decide(tx: Tx, code: str, *, approve: bool, by: str, at: float) -> Pairing | None:
    """Approve or deny a request once; None when there is no such open code."""
    tx.execute(_EXPIRE, (at,))
    row = tx.execute(_DECIDE, ("approved" if approve else "denied", by, at, code)).fetchone()
    if row is None:
        return None
    pairing = _pairing(row)
    if approve:
        tx.execute(_PERMIT, (pairing.key.platform, pairing.key.bot_id, pairing.user_id, by, at))
    return pairing


def revoke(tx: Tx, key: AdapterKey, user_id: str) -> bool:
    """Take a permit back; False when this person had none."""
    return tx.execute(_REVOKE, (key.platform, key.bot_id, user_id)).rowcount == 1


def permits(tx: Tx) -> frozenset[tuple[AdapterKey, str]]:
    """(bot, user id) of everybody an operator let in by pairing."""
    return frozenset((AdapterKey(platform, bot), user) for platform, bot, user in tx.execute(_PERMITS))


def _pairing(row: tuple[str, str, str, str, str, str, float, float, str]) -> Pairing:
    code, platform, bot, user, name, chat, created, expires, state = row
    return Pairing(code, AdapterKey(platform, bot), user, name, chat, created, expires, state)
