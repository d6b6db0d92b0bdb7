"""Full-text search over what was said, bound to one conversation key."""

from hermesd.database import Tx
from hermesd.session.value import Found

_SEARCH = """
SELECT session.id, session.title, message.role, snippet(message_text, 0, '«', '»', '…', 16), message.at
  FROM message_text
  JOIN message ON message.id = message_text.rowid
  JOIN session ON session.id = message.session_id
 WHERE message_text MATCH ? AND session.key = ? AND message.undone_at IS NULL
 ORDER BY message_text.rank LIMIT ?
"""
_WORDS = 32


def messages(tx: Tx, key: str, query: str, limit: int) -> tuple[Found, ...]:
    """See `SessionStore.search`."""
    expression = quoted(query)
    if not expression:
        return ()
    return tuple(Found(*row) for row in tx.execute(_SEARCH, (expression, key, limit)))


def quoted(query: str) -> str:
    """An FTS5 expression that asks for every word of the text as it is: no character of it has a meaning."""
    clean = query[:2000].encode("utf-8", "replace").decode().replace("\x00", " ")
    words = [word for word in clean.split()[:_WORDS] if any(map(str.isalnum, word))]
    return " ".join('"' + word.replace('"', '""') + '"' for word in words)
