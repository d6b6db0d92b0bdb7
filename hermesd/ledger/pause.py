"""The emergency stop: scopes that take messages and answer none."""

from dataclasses import dataclass

from hermesd.address import AdapterKey, Address
from hermesd.database import Tx

_SET = "INSERT OR IGNORE INTO pause(scope, by_whom, note, at) VALUES (?, ?, ?, ?)"
_CLEAR = "DELETE FROM pause WHERE scope = ?"
_ALL = "SELECT scope, by_whom, note, at FROM pause ORDER BY at"
_SAY = "INSERT OR IGNORE INTO notice(key, at) VALUES (?, ?)"
_FORGET = "DELETE FROM notice WHERE substr(key, 1, ?) = ?"
_FORGET_OLD = "DELETE FROM notice WHERE at < ?"


@dataclass(frozen=True, slots=True)
class Pause:
    """One thing that stands still."""

    #: `all`, `bot:PLATFORM/BOT`, `profile:NAME` or `chat:ADDRESS`
    scope: str
    by: str
    note: str
    #: Unix seconds
    at: float


def scopes_of(address: Address, profile: str | None) -> tuple[str, ...]:
    """Every scope that would stop this conversation, widest first. Pure."""
    chat = Address(address.adapter, address.chat_id)
    scopes = ["all", f"bot:{address.adapter}", f"chat:{chat}"]
    if profile is not None:
        scopes.append(f"profile:{profile}")
    if address.thread_id is not None:
        scopes.append(f"chat:{address}")
    return tuple(scopes)


def scope_of_bot(key: AdapterKey) -> str:
    return f"bot:{key}"


def put(tx: Tx, pause: Pause) -> bool:
    """Stop a scope; False when it already stood still."""
    return tx.execute(_SET, (pause.scope, pause.by, pause.note, pause.at)).rowcount == 1


def lift(tx: Tx, scope: str) -> bool:
    """Let a scope go on and forget what was said because of it."""
    prefix = f"pause|{scope}|"
    tx.execute(_FORGET, (len(prefix), prefix))
    return tx.execute(_CLEAR, (scope,)).rowcount == 1


def active(tx: Tx) -> dict[str, Pause]:
    """Everything that stands still, by scope."""
    return {row[0]: Pause(*row) for row in tx.execute(_ALL)}


def say_once(tx: Tx, key: str, *, at: float) -> bool:
    """Whether this notice has not been given yet; records that it is given now."""
    return tx.execute(_SAY, (key, at)).rowcount == 1


def forget_notices(tx: Tx, prefix: str) -> None:
    """Allow notices whose key starts so to be given again."""
    tx.execute(_FORGET, (len(prefix), prefix))


def purge(tx: Tx, *, before: float) -> None:
    tx.execute(_FORGET_OLD, (before,))
