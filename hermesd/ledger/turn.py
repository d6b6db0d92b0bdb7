"""Turns: what was asked, under which profile and config epoch, and how it ended.

queued ──> running ──> done          answered
  │          ├──────> failed         told why
  │          ├──────> refused        a limit was used up on the way
  │          ├──────> cancelled      /stop
  │          ├──────> interrupted    the daemon died after a side effect began; the person is asked
  │          ├──────> dead           it took the daemon down three times
  │          └──────> queued         the daemon died before any side effect
  └──> cancelled, refused, dead
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from hermesd.address import AdapterKey, Address, ConversationKey, ConversationKind
from hermesd.database import Tx
from hermesd.lineage import Lineage, Origin
from hermesd.ports import Row, ToolCall, Usage

_COLUMNS = (
    "seq, id, inbound_seq, profile, role, why, platform, bot_id, guild, chat_id, thread_id, chat_kind, key_user, "
    "user_id, user_name, message_key, text, origin, lineage, epoch, state, reason, attempts, created_at, session_id, "
    "reply"
)
_INSERT = (
    "INSERT INTO turn(id, inbound_seq, lane, profile, role, why, platform, bot_id, guild, chat_id, thread_id, "
    "chat_kind, key_user, user_id, user_name, message_key, text, origin, lineage, epoch, created_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_START = (
    "UPDATE turn SET state = 'running', attempts = attempts + 1, boot = ?, started_at = ?, tokens_in = 0, "
    "tokens_out = 0, money = 0 WHERE id = ? AND state = 'queued' RETURNING text, attempts"
)
_END = (
    "UPDATE turn SET state = ?, reason = ?, ended_at = ?, session_id = coalesce(?, session_id), reply = ?, rows = ?, "
    "model = ?, tokens_in = max(tokens_in, ?), tokens_out = max(tokens_out, ?), money = max(money, ?) "
    "WHERE id = ? AND state IN ({sources})"
)
_SPENT = "UPDATE turn SET tokens_in = ?, tokens_out = ?, money = ? WHERE id = ?"
_USED = "SELECT tokens_in, tokens_out, money FROM turn WHERE id = ?"
_REQUEUE = "UPDATE turn SET state = 'queued', attempts = attempts - ? WHERE id = ? AND state = 'running'"
_QUEUED = f"SELECT {_COLUMNS} FROM turn WHERE state = 'queued' ORDER BY seq"
_LEFT_RUNNING = f"SELECT {_COLUMNS} FROM turn WHERE state = 'running' AND boot < ? ORDER BY seq"
_BY_ID = f"SELECT {_COLUMNS} FROM turn WHERE id = ?"
_LAST_OF_LANE = (
    f"SELECT {_COLUMNS} FROM turn WHERE lane = ? AND state NOT IN ('queued', 'running') ORDER BY seq DESC LIMIT 1"
)
_UNFILED = f"SELECT {_COLUMNS}, rows, ended_at FROM turn WHERE state = 'done' AND filed = 0 ORDER BY seq"
_FILED = "UPDATE turn SET filed = 1 WHERE id = ?"
_EDIT = (
    "UPDATE turn SET text = ? WHERE state = 'queued' AND platform = ? AND bot_id = ? AND message_key = ? "
    "AND user_id = ?"
)
_REKEY = (
    "SELECT id, profile, thread_id, chat_kind, key_user FROM turn "
    "WHERE state IN ('queued', 'running') AND platform = ? AND bot_id = ? AND chat_id = ?"
)
_REKEY_ONE = "UPDATE turn SET chat_id = ?, lane = ? WHERE id = ?"
_COUNTS = "SELECT state, count(*) FROM turn WHERE state IN ('queued', 'running') GROUP BY state"
_ENDED_SINCE = "SELECT state, count(*) FROM turn WHERE ended_at >= ? GROUP BY state"
_STEP_START = (
    "INSERT INTO step(turn_id, call_id, ordinal, tool, arguments, effect, started_at) "
    "VALUES (?, ?, (SELECT count(*) FROM step WHERE turn_id = ?), ?, ?, ?, ?)"
)
_STEP_GET = "SELECT result, failed FROM step WHERE turn_id = ? AND call_id = ?"
_STEP_END = "UPDATE step SET ended_at = ?, result = ?, failed = ? WHERE turn_id = ? AND call_id = ?"
_SIDE_EFFECTS = "SELECT tool FROM step WHERE turn_id = ? AND effect = 'write' ORDER BY ordinal"
# an exchange that its profile's database does not hold yet (a profile that is away) stays however old it is
_OLD = "ended_at < ? AND state NOT IN ('queued', 'running') AND NOT (state = 'done' AND filed = 0)"
_PURGE_STEPS = f"DELETE FROM step WHERE turn_id IN (SELECT id FROM turn WHERE {_OLD})"
_PURGE_RESERVATIONS = f"DELETE FROM reservation WHERE turn_id IN (SELECT id FROM turn WHERE {_OLD})"
_PURGE = f"DELETE FROM turn WHERE {_OLD}"


class TurnState(StrEnum):
    """Where a turn stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    DEAD = "dead"


#: which states a turn may leave for which others; a terminal state stays terminal
TRANSITIONS: dict[TurnState, frozenset[TurnState]] = {
    TurnState.QUEUED: frozenset({TurnState.RUNNING, TurnState.CANCELLED, TurnState.REFUSED, TurnState.DEAD}),
    TurnState.RUNNING: frozenset(
        {
            TurnState.QUEUED,
            TurnState.DONE,
            TurnState.FAILED,
            TurnState.REFUSED,
            TurnState.CANCELLED,
            TurnState.INTERRUPTED,
            TurnState.DEAD,
        }
    ),
    TurnState.DONE: frozenset(),
    TurnState.FAILED: frozenset(),
    TurnState.REFUSED: frozenset(),
    TurnState.CANCELLED: frozenset(),
    TurnState.INTERRUPTED: frozenset(),
    TurnState.DEAD: frozenset(),
}
_SOURCES = {
    target: ", ".join(f"'{state}'" for state, targets in TRANSITIONS.items() if target in targets)
    for target in TurnState
}


@dataclass(frozen=True, slots=True)
class Turn:
    """One piece of work for one profile in one place."""

    seq: int
    id: str
    inbound_seq: int | None
    key: ConversationKey
    role: str | None
    #: which route led here, in words
    why: str
    #: immutable id of whoever asked
    user_id: str
    user_name: str
    #: platform identity of the message that asked, None for schedules
    message_key: str | None
    text: str
    origin: Origin
    lineage: Lineage
    #: config epoch it was admitted under, kept to the end
    epoch: int
    state: TurnState
    reason: str
    #: runs that were begun
    attempts: int
    #: Unix seconds
    created_at: float
    session_id: str | None
    reply: str | None

    @property
    def profile(self) -> str:
        return self.key.profile

    @property
    def address(self) -> Address:
        return self.key.address


@dataclass(frozen=True, slots=True)
class Request:
    """A turn that has no row yet."""

    id: str
    key: ConversationKey
    why: str
    user_id: str
    user_name: str
    text: str
    lineage: Lineage
    epoch: int
    origin: Origin = Origin.PERSON
    role: str | None = None
    inbound_seq: int | None = None
    message_key: str | None = None


NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended."""

    state: TurnState
    reason: str = ""
    session_id: str | None = None
    reply: str | None = None
    rows: tuple[Row, ...] = ()
    usage: Usage = NOTHING
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Unfiled:
    """A finished exchange that the profile's own database does not hold yet."""

    turn: Turn
    rows: tuple[Row, ...]
    #: Unix seconds
    ended_at: float


def insert(tx: Tx, request: Request, *, at: float) -> Turn:
    """Queue a turn."""
    key, address = request.key, request.key.address
    lineage = json.dumps(asdict(request.lineage), separators=(",", ":"))
    values = (
        request.id, request.inbound_seq, key.encode(), key.profile, request.role, request.why, address.adapter.platform,
        address.adapter.bot_id, address.guild, address.chat_id, address.thread_id, key.kind, key.user_id,
        request.user_id, request.user_name, request.message_key, request.text, request.origin.value, lineage,
        request.epoch, at,
    )  # fmt: skip
    seq = int(tx.execute(_INSERT, values).lastrowid or 0)
    return Turn(
        seq, request.id, request.inbound_seq, key, request.role, request.why, request.user_id, request.user_name,
        request.message_key, request.text, request.origin, request.lineage, request.epoch, TurnState.QUEUED, "", 0, at,
        None, None,
    )  # fmt: skip


def start(tx: Tx, turn_id: str, *, boot: int, at: float) -> tuple[str, int] | None:
    """Claim a queued turn for this boot and count the attempt before anything runs.

    Its text, which may have been edited while it waited, and its attempts; None when it is not queued.
    """
    row = tx.execute(_START, (boot, at, turn_id)).fetchone()
    return None if row is None else (str(row[0]), int(row[1]))


def end(tx: Tx, turn_id: str, outcome: Outcome, *, at: float) -> bool:
    """Reach a terminal state once; False when the turn is already somewhere this cannot be reached from."""
    rows = json.dumps([asdict(row) for row in outcome.rows], separators=(",", ":")) if outcome.rows else None
    values = (
        outcome.state.value, outcome.reason, at, outcome.session_id, outcome.reply, rows, outcome.model,
        outcome.usage.input_tokens, outcome.usage.output_tokens, outcome.usage.money, turn_id,
    )  # fmt: skip
    return tx.execute(_END.format(sources=_SOURCES[outcome.state]), values).rowcount == 1


def spent(tx: Tx, turn_id: str, usage: Usage) -> None:
    """Record what a running turn has used so far, so that a crash cannot make it free."""
    tx.execute(_SPENT, (usage.input_tokens, usage.output_tokens, usage.money, turn_id))


def used(tx: Tx, turn_id: str) -> Usage:
    """What a turn is known to have used, however it ended."""
    tokens_in, tokens_out, money = tx.execute(_USED, (turn_id,)).fetchone()
    return Usage(tokens_in, tokens_out, 0, money)


def requeue(tx: Tx, turn_id: str, *, forget_attempt: bool = False) -> bool:
    """Put a turn back where it was; `forget_attempt` when it was not its own fault (a drain, a store that is away)."""
    return tx.execute(_REQUEUE, (int(forget_attempt), turn_id)).rowcount == 1


def queued(tx: Tx) -> tuple[Turn, ...]:
    """Everything that waits, oldest first."""
    return tuple(_turn(row) for row in tx.execute(_QUEUED))


def left_running(tx: Tx, *, boot: int) -> tuple[Turn, ...]:
    """Turns that an earlier boot had begun and not ended."""
    return tuple(_turn(row) for row in tx.execute(_LEFT_RUNNING, (boot,)))


def by_id(tx: Tx, turn_id: str) -> Turn | None:
    row = tx.execute(_BY_ID, (turn_id,)).fetchone()
    return None if row is None else _turn(row)


def last_of_lane(tx: Tx, key: ConversationKey) -> Turn | None:
    """The newest ended turn of a conversation."""
    row = tx.execute(_LAST_OF_LANE, (key.encode(),)).fetchone()
    return None if row is None else _turn(row)


def unfiled(tx: Tx) -> tuple[Unfiled, ...]:
    """Finished exchanges still to be written to their profile's database, oldest first."""
    return tuple(Unfiled(_turn(row[:-2]), load_rows(row[-2]), row[-1]) for row in tx.execute(_UNFILED))


def mark_filed(tx: Tx, turn_ids: tuple[str, ...]) -> None:
    tx.executemany(_FILED, [(turn_id,) for turn_id in turn_ids])


def edit_queued(tx: Tx, key: AdapterKey, message_key: str, user_id: str, text: str) -> bool:
    """Replace the text of a message that still waits, if the same person edits it."""
    return tx.execute(_EDIT, (text, key.platform, key.bot_id, message_key, user_id)).rowcount > 0


def rekey(tx: Tx, key: AdapterKey, old_chat: str, new_chat: str) -> int:
    """Move open turns of a migrated chat to its new id."""
    rows = tx.execute(_REKEY, (key.platform, key.bot_id, old_chat)).fetchall()
    for turn_id, profile, thread, kind, user in rows:
        lane = ConversationKey(profile, Address(key, new_chat, thread), kind, user).encode()
        tx.execute(_REKEY_ONE, (new_chat, lane, turn_id))
    return len(rows)


def counts(tx: Tx, *, since: float) -> dict[str, int]:
    """Queued and running now; every terminal state reached since that moment (Unix seconds)."""
    return dict(tx.execute(_COUNTS).fetchall()) | dict(tx.execute(_ENDED_SINCE, (since,)).fetchall())


def step_started(tx: Tx, turn_id: str, call: ToolCall, effect: str, *, at: float) -> tuple[str, bool] | None:
    """Record the intent of a tool call; the stored (result, failed) if this call already ended."""
    known = tx.execute(_STEP_GET, (turn_id, call.call_id)).fetchone()
    if known is not None and known[0] is not None:
        return str(known[0]), bool(known[1])
    if known is None:
        tx.execute(_STEP_START, (turn_id, call.call_id, turn_id, call.name, call.arguments, effect, at))
    return None


def step_ended(tx: Tx, turn_id: str, call_id: str, result: str, *, failed: bool, at: float) -> None:
    tx.execute(_STEP_END, (at, result, int(failed), turn_id, call_id))


def side_effects(tx: Tx, turn_id: str) -> tuple[str, ...]:
    """Names of the tools with side effects that this turn has begun, in order."""
    return tuple(name for (name,) in tx.execute(_SIDE_EFFECTS, (turn_id,)))


def purge(tx: Tx, *, before: float) -> None:
    """Forget turns that ended before that moment (Unix seconds)."""
    tx.execute(_PURGE_STEPS, (before,))
    tx.execute(_PURGE_RESERVATIONS, (before,))
    tx.execute(_PURGE, (before,))


def load_rows(text: str | None) -> tuple[Row, ...]:
    """Read back what `end` wrote."""
    return tuple(
        Row(
            item["role"], item["text"], tuple(ToolCall(**call) for call in item["calls"]), item["call_id"], item["tool"]
        )
        for item in json.loads(text or "[]")
    )


def _turn(row: tuple[Any, ...]) -> Turn:
    (
        seq, id_, inbound_seq, profile, role, why, platform, bot_id, guild, chat, thread, kind, key_user, user_id,
        user_name, message_key, text, origin, lineage, epoch, state, reason, attempts, created_at, session_id, reply,
    ) = row  # fmt: skip
    chat_kind: ConversationKind = kind
    key = ConversationKey(profile, Address(AdapterKey(platform, bot_id), chat, thread, guild), chat_kind, key_user)
    born = json.loads(lineage)
    return Turn(
        seq, id_, inbound_seq, key, role, why, user_id, user_name, message_key, text, Origin(origin),
        Lineage(born["root_id"], born["human"], tuple(born["chain"])), epoch, TurnState(state), reason, attempts,
        created_at, session_id, reply,
    )  # fmt: skip
