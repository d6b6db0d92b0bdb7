"""What a turn remembers of its conversation: a window of rows, condensed when it grows too long."""

from hermesd.agent.settings import ModelSettings
from hermesd.database import Database
from hermesd.errors import EngineError
from hermesd.ledger import turn as turns
from hermesd.ledger.turn import Turn
from hermesd.ports import Log, Row
from hermesd.profile import ProfileContext, ProfileRegistry
from hermesd.session import Session, SessionStore

#: seconds the model may take to condense old rows
SUMMARY_SECONDS = 60.0


async def begin(
    store: SessionStore, turn: Turn, formerly: tuple[str, ...], ctx: ProfileContext
) -> tuple[Session, tuple[Row, ...]]:
    """The conversation's session and the rows the model gets, oldest first.

    A session of a chat that migrated is found under its old ids and moved; old rows are condensed where they have
    become too many.
    """
    for chat_id in formerly:
        await store.move_chat(turn.address.adapter, chat_id, turn.address.chat_id)
    budget = window_of(ctx)
    session, rows = await store.history(turn.key, budget)
    if ctx.settings.context.compact and await _condense(store, session.id, ctx, budget):
        rows = await store.window(session.id, budget)
    return session, rows


def window_of(ctx: ProfileContext) -> int:
    """Tokens of history a prompt may hold: what is configured, and at most three quarters of what the model takes."""
    model = ctx.settings.model
    longest = model.context_length if isinstance(model, ModelSettings) else None
    return min(ctx.settings.context.window, longest * 3 // 4) if longest else ctx.settings.context.window


async def _condense(store: SessionStore, session_id: str, ctx: ProfileContext, budget: int) -> bool:
    old = await store.compactable(session_id, over=budget, keep=budget // 2)
    if old is None:
        return False
    try:
        notes = await ctx.agent.summarise(old.rows, seconds=SUMMARY_SECONDS)
    except EngineError as error:
        # the window still fits without them; the next turn tries again
        ctx.log.warning("old rows not condensed", action="session.compact", detail=error.message)
        return False
    await store.compact(session_id, old.upto_seq, notes)
    return True


async def file_left_over(ledger: Database, profiles: ProfileRegistry, log: Log) -> int:
    """At boot: exchanges that were answered but not yet written to their profile's database. Returns how many."""
    left = await ledger.read(turns.unfiled)
    filed = []
    for one in left:
        if one.turn.profile not in profiles or one.turn.session_id is None:
            continue
        try:
            async with profiles[one.turn.profile].sessions() as store:
                user = Row("user", one.turn.text)
                await store.file(one.turn.id, one.turn.session_id, user, one.rows, at=one.ended_at, key=one.turn.key)
        except Exception as error:  # noqa: BLE001  # one damaged profile must not keep the others from starting
            # its exchanges stay in the ledger and are tried again at the next start
            log.warning("exchange not filed", action="turn.file", profile=one.turn.profile, detail=str(error))
        else:
            filed.append(one.turn.id)
    await ledger.write(lambda tx: turns.mark_filed(tx, tuple(filed)))
    return len(filed)
