"""Commands about the conversation itself."""

from uuid import uuid4

from hermesd.errors import UserError
from hermesd.gateway.commands import admin
from hermesd.gateway.commands.call import Answer, Call
from hermesd.ledger import turn as turns
from hermesd.ledger.turn import Request, Turn, TurnState
from hermesd.lineage import Lineage

_LISTED = 10


async def new(call: Call) -> Answer:
    """A fresh session; the old one stays listed."""
    async with call.ctx().sessions() as store:
        session = await store.new(call.conversation(), call.args or None)
    named = f" “{call.args}”" if call.args else ""
    return Answer(f"New conversation{named} (`{session.id[:8]}`). What came before is kept; /sessions lists it.")


async def stop(call: Call) -> Answer:
    """Never waits behind the turn it stops."""
    key = call.conversation()
    stopped = await call.desk.stop(key)
    waiting = call.desk.lanes.waiting(key.encode())
    rest = f" {waiting} more message{'s' if waiting != 1 else ''} from here will be answered now." if waiting else ""
    if stopped is None:
        return Answer(f"Nothing is being worked on here.{rest}")
    return Answer(f"Stopped.{rest}")


async def retry(call: Call) -> Answer:
    """The last message again, as a new turn; a finished exchange is taken back first."""
    key = call.conversation()
    ctx = call.ctx()
    if call.desk.lanes.running(key.encode()) is not None:
        raise UserError("I am still working on it.", hint="/stop first, then /retry.")
    last = await call.desk.ledger.read(lambda tx: turns.last_of_lane(tx, key))
    if last is None:
        raise UserError("There is nothing to retry here yet.")
    if last.state is TurnState.DONE:
        async with ctx.sessions() as store:
            session = await store.active(key)
            exchange = await store.last_exchange(session.id)
            # one that was undone already, or belongs to an earlier session, takes no other exchange with it
            if exchange is not None and exchange.turn_id == last.id:
                await store.undo(session.id)
    return Answer("Once more:", turn=_again(call, last))


def _again(call: Call, last: Turn) -> Request:
    turn_id = uuid4().hex
    return Request(
        turn_id,
        key=last.key,
        why=last.why,
        user_id=call.message.sender.id,
        user_name=call.message.sender.name,
        text=last.text,
        lineage=Lineage(turn_id, call.actor),
        epoch=call.desk.live.snapshot.epoch,
        role=last.role,
        message_key=call.message.message_key,
    )


async def undo(call: Call) -> Answer:
    """The last exchange leaves the conversation's memory."""
    async with call.ctx().sessions() as store:
        session = await store.active(call.conversation())
        gone = await store.undo(session.id)
    if not gone:
        raise UserError("There is nothing to undo in this conversation.")
    return Answer("Forgotten: your last message and my answer to it.")


async def sessions(call: Call) -> Answer:
    """Only this conversation's own."""
    key = call.conversation()
    async with call.ctx().sessions() as store:
        found = await store.list(key, _LISTED)
        active = await store.active(key)
    if not found:
        return Answer("No conversations here yet. Just write to me.")
    lines = [f"- `{one.id[:8]}`{' ← now' if one.id == active.id else ''} {one.title or 'untitled'}" for one in found]
    return Answer("Your conversations here, newest first:\n" + "\n".join(lines) + "\n\n/resume ID goes back to one.")


async def resume(call: Call) -> Answer:
    """By id prefix; another person's session and one that does not exist get the same answer.

    From an admin where something is paused, or with a scope behind it, it ends the pause instead.
    """
    if call.rights.profile and admin.ends_pause(call):
        return await admin.unpause(call)
    if not call.args:
        raise UserError("Which one?", hint="/sessions lists them; then /resume ID.")
    async with call.ctx().sessions() as store:
        session = await store.resume(call.conversation(), call.args)
    return Answer(f"Back in {f'“{session.title}”' if session.title else 'that conversation'} (`{session.id[:8]}`).")


async def title(call: Call) -> Answer:
    if not call.args:
        raise UserError("Which title?", hint="/title Plans for spring")
    async with call.ctx().sessions() as store:
        session = await store.active(call.conversation())
        named = await store.title(session, call.args)
    return Answer(f"This conversation is now called “{named.title}”.")
