"""Reading and writing a profile's conversations. Scope is the key in the caller's hand: no method reaches beyond it."""

import json
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from hermesd.address import AdapterKey, ConversationKey
from hermesd.clock import Clock
from hermesd.database import Database, Tx
from hermesd.errors import UserError
from hermesd.ports import Row, ToolCall
from hermesd.session import search
from hermesd.session.key import moved
from hermesd.session.value import Compactable, Exchange, Found, Session
from hermesd.session.window import estimate, fit

_COLUMNS = "id, title, exchanges, created_at, updated_at, closed_at"
_ACTIVE = f"SELECT {_COLUMNS} FROM session WHERE key = ? AND closed_at IS NULL"
_CREATE = (
    "INSERT INTO session(id, key, title, created_at, updated_at) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT(key) WHERE closed_at IS NULL DO NOTHING"
)
_RESTORE = "INSERT INTO session(id, key, created_at, updated_at, closed_at) VALUES (?, ?, ?, ?, ?)"
_CLOSE = "UPDATE session SET closed_at = ? WHERE key = ? AND closed_at IS NULL"
_REOPEN = "UPDATE session SET closed_at = NULL, updated_at = ? WHERE id = ?"
_LIST = f"SELECT {_COLUMNS} FROM session WHERE key = ? AND (exchanges > 0 OR closed_at IS NULL) "
_LIST += "ORDER BY closed_at IS NULL DESC, updated_at DESC, id LIMIT ?"
_RECENT = f"SELECT key, {_COLUMNS} FROM session WHERE exchanges > 0 ORDER BY updated_at DESC, id LIMIT ?"
_BY_PREFIX = f"SELECT {_COLUMNS} FROM session WHERE key = ? AND (substr(id, 1, ?) = ? OR lower(title) = lower(?)) "
_BY_PREFIX += "ORDER BY updated_at DESC LIMIT 2"
_TITLE = "UPDATE session SET title = ? WHERE id = ?"
_GET = f"SELECT {_COLUMNS} FROM session WHERE id = ?"
# each statement costs two exchanges of the interpreter lock with the busy loop: what one can say is not said in three
_BEFORE_FILING = (
    "SELECT EXISTS (SELECT 1 FROM message WHERE turn_id = ?), EXISTS (SELECT 1 FROM session WHERE id = ?), "
    "coalesce((SELECT max(seq) FROM message WHERE session_id = ?), 0) + 1"
)
_INSERT = "INSERT INTO message(session_id, seq, turn_id, role, text, calls, call_id, tool, tokens, at) VALUES "
_INSERT_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INDEX = (
    "INSERT INTO message_text(rowid, text) SELECT id, text FROM message "
    "WHERE session_id = ? AND seq >= ? AND role != 'tool' AND text != ''"
)
#: rows in one statement; a turn with more takes several
_ROWS_AT_ONCE = 50
_TOUCH = "UPDATE session SET exchanges = exchanges + 1, updated_at = ?, title = coalesce(title, ?) WHERE id = ?"
_SUMMARY = "SELECT upto_seq, text, tokens FROM summary WHERE session_id = ? ORDER BY upto_seq DESC LIMIT 1"
_ROWS = (
    "SELECT tokens, role, text, calls, call_id, tool, seq FROM message "
    "WHERE session_id = ? AND seq > ? AND undone_at IS NULL ORDER BY seq DESC"
)
_WEIGHT = "SELECT sum(tokens) FROM message WHERE session_id = ? AND seq > ? AND undone_at IS NULL"
_LAST_TURN = (
    "SELECT turn_id FROM message WHERE session_id = ? AND seq > ? AND undone_at IS NULL ORDER BY seq DESC LIMIT 1"
)
_OF_TURN = "SELECT role, text, at FROM message WHERE session_id = ? AND turn_id = ? AND undone_at IS NULL ORDER BY seq"
_UNDO = "UPDATE message SET undone_at = ? WHERE session_id = ? AND turn_id = ? AND undone_at IS NULL"
_UNCOUNT = "UPDATE session SET exchanges = exchanges - 1, updated_at = ? WHERE id = ?"
_COMPACT = "INSERT INTO summary(session_id, upto_seq, text, tokens, at) VALUES (?, ?, ?, ?, ?) "
_COMPACT += "ON CONFLICT(session_id, upto_seq) DO NOTHING"
_KEYS_OF_CHAT = "SELECT DISTINCT key FROM session WHERE instr(key, ?) > 0"
_CLOSE_KEY = "UPDATE session SET closed_at = ? WHERE key = ? AND closed_at IS NULL AND EXISTS "
_CLOSE_KEY += "(SELECT 1 FROM session WHERE key = ? AND closed_at IS NULL)"
_RENAME_KEY = "UPDATE session SET key = ? WHERE key = ?"

_TITLE_LENGTH = 80
_NOTES = "Notes on the earlier part of this conversation:\n"


class SessionStore:
    """One profile's conversations, in its own database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def active(self, key: ConversationKey) -> Session:
        """The session the next message of this key continues; begun now if there is none."""
        encoded = key.encode()
        found = await self._database.read(partial(_find_active, key=encoded))
        if found is not None:
            return found
        return await self._database.write(partial(_begin, key=encoded, at=self._clock.now(), id=_new_id()))

    async def history(self, key: ConversationKey, budget: int) -> tuple[Session, tuple[Row, ...]]:
        """`active` and `window` in one go: what a turn needs before it starts."""
        encoded = key.encode()

        def both(tx: Tx) -> tuple[Session, tuple[Row, ...]] | None:
            session = _find_active(tx, encoded)
            return None if session is None else (session, _window(tx, session.id, budget))

        found = await self._database.read(both)
        return (await self.active(key), ()) if found is None else found

    async def new(self, key: ConversationKey, title: str | None = None) -> Session:
        """Close the key's session and begin another."""
        at, identity, encoded = self._clock.now(), _new_id(), key.encode()

        def work(tx: Tx) -> Session:
            tx.execute(_CLOSE, (at, encoded))
            return _begin(tx, encoded, at, identity, title and _one_line(title))

        return await self._database.write(work)

    async def list(self, key: ConversationKey, limit: int = 20) -> tuple[Session, ...]:
        """The key's sessions, the open one first, then the latest."""
        wanted = (key.encode(), limit)
        return await self._database.read(lambda tx: tuple(Session(*row) for row in tx.execute(_LIST, wanted)))

    async def resume(self, key: ConversationKey, wanted: str) -> Session:
        """Continue an earlier session of this key, named by the beginning of its id or by its whole title.

        Raises UserError, the same for a session that does not exist and for one of somebody else.
        """
        at, encoded, wanted = self._clock.now(), key.encode(), wanted.strip()

        def work(tx: Tx) -> Session:
            session = _find_one(tx, encoded, wanted)
            if session.closed_at is not None:
                tx.execute(_CLOSE, (at, encoded))
                tx.execute(_REOPEN, (at, session.id))
            return Session(*tx.execute(_GET, (session.id,)).fetchone())

        return await self._database.write(work)

    async def title(self, session: Session, text: str) -> Session:
        """Name a session. Raises UserError for a name without a visible character."""
        name = _one_line(text)
        if not name:
            raise UserError("a title needs at least one letter", hint="write /title and the name behind it")

        def work(tx: Tx) -> Session:
            tx.execute(_TITLE, (name, session.id))
            return Session(*tx.execute(_GET, (session.id,)).fetchone())

        return await self._database.write(work)

    async def window(self, session_id: str, budget: int) -> tuple[Row, ...]:
        """The newest rows that fit into `budget` estimated tokens, oldest first, notes on what fell out before them."""
        return await self._database.read(partial(_window, session_id=session_id, budget=budget))

    async def file(
        self,
        turn_id: str,
        session_id: str,
        prompt: Row,
        rows: Sequence[Row],
        at: float,
        *,
        key: ConversationKey | None = None,
    ) -> bool:
        """Store a finished exchange, once: False when this turn was stored before. `at` is Unix seconds.

        With `key`, a session that is no longer there (the database was replaced) is begun again under its id.
        """

        def work(tx: Tx) -> bool:
            filed, known, seq = tx.execute(_BEFORE_FILING, (turn_id, session_id, session_id)).fetchone()
            if filed:
                return False
            if key is not None and not known:
                opened = tx.execute(_ACTIVE, (key.encode(),)).fetchone() is not None
                tx.execute(_RESTORE, (session_id, key.encode(), at, at, at if opened else None))
            _file(tx, turn_id, session_id, seq, (prompt, *rows), at)
            return True

        return await self._database.write(work)

    async def last_exchange(self, session_id: str) -> Exchange | None:
        """The newest exchange that is neither undone nor condensed."""
        return await self._database.read(partial(_last_exchange, session_id=session_id))

    async def undo(self, session_id: str) -> Exchange | None:
        """Take the last exchange out of the conversation; the rows stay for the record. None when there is none."""
        at = self._clock.now()

        def work(tx: Tx) -> Exchange | None:
            last = _last_exchange(tx, session_id)
            if last is not None:
                tx.execute(_UNDO, (at, session_id, last.turn_id))
                tx.execute(_UNCOUNT, (at, session_id))
            return last

        return await self._database.write(work)

    async def compactable(self, session_id: str, *, over: int, keep: int) -> Compactable | None:
        """What to condense when the conversation has grown `over` so many estimated tokens, so that `keep` remain.

        None while it is not, or when its last exchange alone is that long.
        """
        return await self._database.read(lambda tx: _compactable(tx, session_id, over, keep))

    async def compact(self, session_id: str, upto_seq: int, notes: str) -> None:
        """Let notes stand for every row up to `upto_seq`: from one moment to the next, never half; rows are kept."""
        row = (session_id, upto_seq, _storable(notes), estimate(Row("user", notes)), self._clock.now())
        await self._database.write(lambda tx: tx.execute(_COMPACT, row).rowcount)

    async def recent(self, limit: int = 20) -> tuple[tuple[str, Session], ...]:
        """For operators: the profile's latest sessions, each with the encoded key it belongs to."""
        return await self._database.read(
            lambda tx: tuple((row[0], Session(*row[1:])) for row in tx.execute(_RECENT, (limit,)))
        )

    async def search(self, key: ConversationKey, query: str, limit: int = 10) -> tuple[Found, ...]:
        """Messages of this key that contain every word of `query`, the best match first; any text is a query."""
        encoded = key.encode()
        return await self._database.read(lambda tx: search.messages(tx, encoded, query, limit))

    async def move_chat(self, adapter: AdapterKey, old_chat: str, new_chat: str) -> int:
        """Give every session of a chat to the chat's new id, at once; returns how many keys moved. Repeatable."""
        at = self._clock.now()
        return await self._database.write(lambda tx: _move_chat(tx, adapter, old_chat, new_chat, at))


def _new_id() -> str:
    return secrets.token_hex(16)


def _one_line(text: str) -> str:
    return " ".join(_storable(text).split())[:_TITLE_LENGTH]


def _storable(text: str) -> str:
    # SQLite takes UTF-8 only; a lone surrogate becomes its escape
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _find_active(tx: Tx, key: str) -> Session | None:
    row = tx.execute(_ACTIVE, (key,)).fetchone()
    return None if row is None else Session(*row)


def _begin(tx: Tx, key: str, at: float, id: str, title: str | None = None) -> Session:  # noqa: A002 - the column's name
    tx.execute(_CREATE, (id, key, title, at, at))
    return Session(*tx.execute(_ACTIVE, (key,)).fetchone())


def _find_one(tx: Tx, key: str, wanted: str) -> Session:
    name = _one_line(wanted)
    found = tx.execute(_BY_PREFIX, (key, len(name), name, name)).fetchall() if name else []
    if len(found) == 1:
        return Session(*found[0])
    if found:
        raise UserError(f"{name!r} fits several sessions", hint="write more letters of the id; /sessions lists them")
    raise UserError(f"there is no session {name!r} here", hint="/sessions lists the ones you can resume")


def _file(tx: Tx, turn_id: str, session_id: str, seq: int, rows: Sequence[Row], at: float) -> None:
    values = [_values(turn_id, session_id, seq + offset, row, at) for offset, row in enumerate(rows)]
    for start in range(0, len(values), _ROWS_AT_ONCE):
        some = values[start : start + _ROWS_AT_ONCE]
        tx.execute(_INSERT + ", ".join([_INSERT_ROW] * len(some)), [value for row in some for value in row])
    tx.execute(_INDEX, (session_id, seq))
    tx.execute(_TOUCH, (at, _one_line(rows[0].text[:400]) or None, session_id))


def _values(turn_id: str, session_id: str, seq: int, row: Row, at: float) -> tuple[Any, ...]:
    calls = json.dumps([[call.call_id, call.name, call.arguments] for call in row.calls]) if row.calls else None
    text = _storable(row.text)
    return (session_id, seq, turn_id, row.role, text, calls, row.call_id, row.tool, estimate(row), at)


def _window(tx: Tx, session_id: str, budget: int) -> tuple[Row, ...]:
    upto, notes = _notes(tx, session_id)
    spent = estimate(notes[0]) if notes else 0
    cursor = tx.execute(_ROWS, (session_id, upto))
    try:
        return (*notes, *fit(((row[0], _row(row)) for row in cursor), budget - spent))
    finally:
        cursor.close()


def _notes(tx: Tx, session_id: str) -> tuple[int, tuple[Row, ...]]:
    found = tx.execute(_SUMMARY, (session_id,)).fetchone()
    return (0, ()) if found is None else (int(found[0]), (Row("user", _NOTES + found[1]),))


def _row(columns: tuple[Any, ...]) -> Row:
    _, role, text, calls, call_id, tool, _ = columns
    asked = tuple(ToolCall(*call) for call in json.loads(calls)) if calls else ()
    return Row(role, text, asked, call_id, tool)


def _last_exchange(tx: Tx, session_id: str) -> Exchange | None:
    upto, _ = _notes(tx, session_id)
    last = tx.execute(_LAST_TURN, (session_id, upto)).fetchone()
    if last is None:
        return None
    rows = tx.execute(_OF_TURN, (session_id, last[0])).fetchall()
    replies = [text for role, text, _ in rows if role == "assistant" and text]
    return Exchange(last[0], rows[0][1], replies[-1] if replies else "", rows[0][2])


def _compactable(tx: Tx, session_id: str, over: int, keep: int) -> Compactable | None:
    upto, notes = _notes(tx, session_id)
    if (tx.execute(_WEIGHT, (session_id, upto)).fetchone()[0] or 0) <= over:
        return None
    newest_first = tx.execute(_ROWS, (session_id, upto)).fetchall()
    cut = _cut(newest_first, keep)
    old = [row for row in reversed(newest_first) if row[6] < cut]
    return Compactable((*notes, *map(_row, old)), cut - 1) if old else None


def _cut(newest_first: Sequence[tuple[Any, ...]], keep: int) -> int:
    """The seq at which the part to keep begins: a prompt, at least the last one."""
    cut, spent = 0, 0
    for tokens, role, *_, seq in newest_first:
        spent += tokens
        if spent > keep and cut:
            break
        if role == "user":
            cut = seq
    return cut


def _move_chat(tx: Tx, adapter: AdapterKey, old_chat: str, new_chat: str, at: float) -> int:
    count = 0
    for old, new in _renamed(tx, adapter, old_chat, new_chat):
        tx.execute(_CLOSE_KEY, (at, old, new))
        tx.execute(_RENAME_KEY, (new, old))
        count += 1
    return count


def _renamed(tx: sqlite3.Connection, adapter: AdapterKey, old: str, new: str) -> Iterator[tuple[str, str]]:
    for (key,) in tx.execute(_KEYS_OF_CHAT, (old,)).fetchall():
        if (target := moved(key, adapter, old, new)) is not None:
            yield key, target
