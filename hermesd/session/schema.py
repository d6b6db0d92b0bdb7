"""The tables of a profile's `hermesd.db`, as numbered migrations that only ever grow."""

from hermesd.database import Migration

_FIRST = """
CREATE TABLE session(
    id          TEXT PRIMARY KEY,
    key         TEXT NOT NULL,
    title       TEXT,
    exchanges   INTEGER NOT NULL DEFAULT 0,
    created_at  REAL NOT NULL,
    updated_at  REAL NOT NULL,
    closed_at   REAL
) WITHOUT ROWID;
CREATE UNIQUE INDEX session_active ON session(key) WHERE closed_at IS NULL;
CREATE INDEX session_of_key ON session(key, updated_at);
CREATE TABLE message(
    id          INTEGER PRIMARY KEY,
    session_id  TEXT NOT NULL REFERENCES session(id),
    seq         INTEGER NOT NULL,
    turn_id     TEXT NOT NULL,
    role        TEXT NOT NULL CHECK (role IN ('user', 'assistant', 'tool')),
    tokens      INTEGER NOT NULL,
    at          REAL NOT NULL,
    undone_at   REAL,
    call_id     TEXT,
    tool        TEXT,
    calls       TEXT,
    text        TEXT NOT NULL,
    UNIQUE (session_id, seq)
);
CREATE INDEX message_of_turn ON message(turn_id);
CREATE TABLE summary(
    session_id  TEXT NOT NULL REFERENCES session(id),
    upto_seq    INTEGER NOT NULL,
    text        TEXT NOT NULL,
    tokens      INTEGER NOT NULL,
    at          REAL NOT NULL,
    PRIMARY KEY (session_id, upto_seq)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE message_text USING fts5(
    text, content = 'message', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
);
"""

MIGRATIONS = (Migration(1, _FIRST),)
