"""Carrying out one command: once, always with an answer, which is stored with what follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass

from hermesd.database import Tx
from hermesd.errors import ProfileUnavailable
from hermesd.gateway.access import Rights
from hermesd.gateway.commands import table
from hermesd.gateway.commands.call import Answer, Call
from hermesd.gateway.desk import Desk
from hermesd.gateway.routed import Routed
from hermesd.ledger import delivery, inbound
from hermesd.ledger import turn as turns
from hermesd.ledger.inbound import InboundState


@dataclass(frozen=True, slots=True)
class _Follows:
    #: queued with the answer
    turn: turns.Turn | None


@dataclass(frozen=True, slots=True)
class Execution:
    """Runs commands."""

    desk: Desk

    async def run(self, routed: Routed, parsed: table.Parsed, rights: Rights) -> None:
        """Answer one command; a message that was decided under another event id is only noted."""
        message, desk = routed.message, self.desk
        key = message.address.adapter
        if await desk.ledger.read(lambda tx: inbound.knows_message(tx, key, message.message_key)):
            await desk.ledger.write(lambda tx: decide(tx, routed, InboundState.IGNORED, "repeat"))
            return
        none = ProfileUnavailable("no profile is routed here", hint="/whereami shows the line that routes this place")
        call = Call(message, parsed.args, rights, routed.resolution, routed.profile or none, desk, routed.key())
        answer = await self._answer(routed, parsed, call)
        drafts = desk.outbox.drafts(message.address, answer.text, reply_to=message.message_key)
        at = desk.clock.now()

        def work(tx: Tx, begin: bool) -> tuple[Sequence[delivery.Delivery], _Follows] | None:
            if not decide(tx, routed, InboundState.ANSWERED, f"/{parsed.name}"):
                return None
            rows = delivery.insert(tx, drafts, turn_id=None, boot=desk.boot, at=at, begin_first=begin)
            return rows, _Follows(turns.insert(tx, answer.turn, at=at) if answer.turn else None)

        follows = await desk.outbox.store(message.address, work)
        if follows is not None and follows.turn is not None:
            desk.lanes.offer(follows.turn)

    async def _answer(self, routed: Routed, parsed: table.Parsed, call: Call) -> Answer:
        """A command always has an answer, and one that must not happen twice does not, whatever ends in between."""
        command = table.find(parsed.name)
        if command is not None and command.once:
            if routed.stored.attempts:
                return Answer(
                    f"I was interrupted in the middle of /{command.name} and did not do it again. "
                    "Look whether it took effect; if not, send it once more."
                )
            await self.desk.ledger.write(lambda tx: inbound.count_attempt(tx, [routed.stored.seq]))
        try:
            return await table.answer(parsed, call)
        except Exception as error:  # tried again with the rest of its batch it would happen twice
            self.desk.log.error("command failed", action="command.error", command=parsed.name, exc_info=error)
            return Answer(f"Something went wrong inside me over /{parsed.name}; my operator finds it in the log.")


def decide(tx: Tx, routed: Routed, state: InboundState, reason: str = "") -> bool:
    """Bring a message out of `received`; False when it was decided before under another event id."""
    message = routed.message
    return inbound.decide(
        tx, routed.stored.seq, state, reason=reason, message_key=message.message_key, address=message.address
    )
