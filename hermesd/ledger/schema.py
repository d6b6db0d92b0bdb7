"""The ledger's tables, as numbered migrations that only ever grow."""

from hermesd.audit import SCHEMA as AUDIT
from hermesd.database import Migration

_FIRST = """
CREATE TABLE boot(
    epoch       INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at  REAL NOT NULL,
    ended_at    REAL,
    pid         INTEGER NOT NULL,
    version     TEXT NOT NULL,
    audit_id    INTEGER,
    audit_hash  BLOB
);
CREATE TABLE config(
    epoch       INTEGER PRIMARY KEY AUTOINCREMENT,
    digest      TEXT NOT NULL,
    applied_at  REAL NOT NULL
);
CREATE TABLE cursor(
    platform    TEXT NOT NULL,
    bot_id      TEXT NOT NULL,
    value       TEXT NOT NULL,
    updated_at  REAL NOT NULL,
    PRIMARY KEY (platform, bot_id)
) WITHOUT ROWID;
CREATE TABLE bot_token(
    platform    TEXT NOT NULL,
    bot_id      TEXT NOT NULL,
    token       TEXT NOT NULL,
    PRIMARY KEY (platform, bot_id)
) WITHOUT ROWID;
CREATE TABLE line(value INTEGER NOT NULL);
INSERT INTO line VALUES (0);
CREATE TABLE inbound(
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    line        INTEGER NOT NULL,
    platform    TEXT NOT NULL,
    bot_id      TEXT NOT NULL,
    event_id    TEXT NOT NULL,
    raw         TEXT,
    received_at REAL NOT NULL,
    state       TEXT NOT NULL DEFAULT 'received',
    reason      TEXT NOT NULL DEFAULT '',
    message_key TEXT,
    chat_id     TEXT,
    thread_id   TEXT,
    attempts    INTEGER NOT NULL DEFAULT 0,
    UNIQUE (platform, bot_id, event_id)
);
CREATE UNIQUE INDEX inbound_message ON inbound(platform, bot_id, message_key) WHERE message_key IS NOT NULL;
CREATE INDEX inbound_quarantined ON inbound(seq) WHERE state = 'quarantined';
CREATE INDEX inbound_open ON inbound(seq) WHERE state = 'received';
CREATE INDEX inbound_place ON inbound(platform, bot_id, chat_id, thread_id, line) WHERE chat_id IS NOT NULL;
CREATE TRIGGER inbound_takes_a_line AFTER INSERT ON inbound BEGIN UPDATE line SET value = NEW.line; END;
CREATE TABLE turn(
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    inbound_seq INTEGER,
    lane        TEXT NOT NULL,
    profile     TEXT NOT NULL,
    role        TEXT,
    why         TEXT NOT NULL,
    platform    TEXT NOT NULL,
    bot_id      TEXT NOT NULL,
    guild       TEXT,
    chat_id     TEXT NOT NULL,
    thread_id   TEXT,
    chat_kind   TEXT NOT NULL,
    key_user    TEXT,
    user_id     TEXT NOT NULL,
    user_name   TEXT NOT NULL,
    message_key TEXT,
    text        TEXT NOT NULL,
    origin      TEXT NOT NULL,
    lineage     TEXT NOT NULL,
    epoch       INTEGER NOT NULL,
    state       TEXT NOT NULL DEFAULT 'queued',
    reason      TEXT NOT NULL DEFAULT '',
    attempts    INTEGER NOT NULL DEFAULT 0,
    boot        INTEGER,
    created_at  REAL NOT NULL,
    started_at  REAL,
    ended_at    REAL,
    session_id  TEXT,
    reply       TEXT,
    rows        TEXT,
    model       TEXT,
    tokens_in   INTEGER NOT NULL DEFAULT 0,
    tokens_out  INTEGER NOT NULL DEFAULT 0,
    money       REAL NOT NULL DEFAULT 0,
    filed       INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX turn_open ON turn(seq) WHERE state IN ('queued', 'running');
CREATE INDEX turn_unfiled ON turn(seq) WHERE state = 'done' AND filed = 0;
CREATE INDEX turn_lane ON turn(lane, seq);
CREATE TABLE step(
    turn_id     TEXT NOT NULL,
    call_id     TEXT NOT NULL,
    ordinal     INTEGER NOT NULL,
    tool        TEXT NOT NULL,
    arguments   TEXT NOT NULL,
    effect      TEXT NOT NULL,
    started_at  REAL NOT NULL,
    ended_at    REAL,
    result      TEXT,
    failed      INTEGER,
    PRIMARY KEY (turn_id, call_id)
) WITHOUT ROWID;
CREATE TABLE delivery(
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    line        INTEGER NOT NULL,
    id          TEXT NOT NULL UNIQUE,
    turn_id     TEXT,
    platform    TEXT NOT NULL,
    bot_id      TEXT NOT NULL,
    guild       TEXT,
    chat_id     TEXT NOT NULL,
    thread_id   TEXT,
    part        INTEGER NOT NULL,
    parts       INTEGER NOT NULL,
    text        TEXT NOT NULL,
    reply_to    TEXT,
    state       TEXT NOT NULL,
    reason      TEXT NOT NULL DEFAULT '',
    attempts    INTEGER NOT NULL DEFAULT 0,
    next_at     REAL NOT NULL DEFAULT 0,
    doubtful    INTEGER NOT NULL DEFAULT 0,
    receipt     TEXT,
    boot        INTEGER NOT NULL,
    created_at  REAL NOT NULL,
    updated_at  REAL NOT NULL
);
CREATE INDEX delivery_open ON delivery(seq) WHERE state IN ('pending', 'attempting', 'ambiguous', 'parked');
CREATE INDEX delivery_place ON delivery(platform, bot_id, chat_id, thread_id, line);
CREATE TRIGGER delivery_takes_a_line AFTER INSERT ON delivery BEGIN UPDATE line SET value = NEW.line; END;
CREATE TABLE usage(
    day         TEXT NOT NULL,
    scope       TEXT NOT NULL,
    subject     TEXT NOT NULL,
    turns       INTEGER NOT NULL DEFAULT 0,
    tokens      INTEGER NOT NULL DEFAULT 0,
    money       REAL NOT NULL DEFAULT 0,
    warned      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (day, scope, subject)
) WITHOUT ROWID;
CREATE TABLE reservation(
    turn_id     TEXT NOT NULL,
    day         TEXT NOT NULL,
    scope       TEXT NOT NULL,
    subject     TEXT NOT NULL,
    turns       INTEGER NOT NULL,
    tokens      INTEGER NOT NULL,
    money       REAL NOT NULL,
    PRIMARY KEY (turn_id, scope, subject)
) WITHOUT ROWID;
CREATE TABLE pause(
    scope       TEXT PRIMARY KEY,
    by_whom     TEXT NOT NULL,
    note        TEXT NOT NULL,
    at          REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE notice(
    key         TEXT PRIMARY KEY,
    at          REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE pairing(
    code        TEXT PRIMARY KEY,
    platform    TEXT NOT NULL,
    bot_id      TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    user_name   TEXT NOT NULL,
    chat_id     TEXT NOT NULL,
    created_at  REAL NOT NULL,
    expires_at  REAL NOT NULL,
    state       TEXT NOT NULL DEFAULT 'asked',
    decided_by  TEXT,
    decided_at  REAL
) WITHOUT ROWID;
CREATE UNIQUE INDEX pairing_asked ON pairing(platform, bot_id, user_id) WHERE state = 'asked';
CREATE TABLE permit(
    platform    TEXT NOT NULL,
    bot_id      TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    by_whom     TEXT NOT NULL,
    at          REAL NOT NULL,
    PRIMARY KEY (platform, bot_id, user_id)
) WITHOUT ROWID;
CREATE TABLE chat_alias(
    platform    TEXT NOT NULL,
    bot_id      TEXT NOT NULL,
    old_chat    TEXT NOT NULL,
    new_chat    TEXT NOT NULL,
    at          REAL NOT NULL,
    PRIMARY KEY (platform, bot_id, old_chat)
) WITHOUT ROWID;
"""

MIGRATIONS = (Migration(1, _FIRST + AUDIT),)
