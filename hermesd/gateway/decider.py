"""From one stored event to a decision: parsed alone, routed, admitted, then a command or a turn.

Decisions that need no answer of their own are written together.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from hermesd import audit
from hermesd.address import AdapterKey, Address, ConversationKey
from hermesd.database import Tx
from hermesd.errors import ProfileUnavailable
from hermesd.gateway import admission, conversation, pairing
from hermesd.gateway.commands import table
from hermesd.gateway.commands.call import Answer, Call
from hermesd.gateway.desk import Desk
from hermesd.ledger import chat, delivery, inbound, pause
from hermesd.ledger import turn as turns
from hermesd.ledger.inbound import InboundState, Stored
from hermesd.ledger.turn import Request
from hermesd.lineage import Lineage
from hermesd.message import InboundMessage, MessageKind
from hermesd.ports import Adapter
from hermesd.profile import ProfileContext
from hermesd.route import Resolution

#: later starts that may die while they decide about an event
MOST_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Step:
    """One decision: what it writes, and what happens once that is on disk."""

    write: Callable[[Tx], Any]
    after: Callable[[Any], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Routed:
    """A message with its route and profile."""

    message: InboundMessage
    stored: Stored
    resolution: Resolution
    #: None when nothing is routed
    profile: ProfileContext | ProfileUnavailable | None

    def key(self) -> ConversationKey | None:
        if self.resolution.profile is None:
            return None
        settings = self.profile.settings if isinstance(self.profile, ProfileContext) else None
        return conversation.key_of(
            self.message,
            self.resolution.profile,
            group_sessions_per_user=settings.group_sessions_per_user if settings else True,
            thread_sessions_per_user=settings.thread_sessions_per_user if settings else False,
        )


class Decider:
    """Decides about stored events, a batch of one bot at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def decide(self, batch: Sequence[Stored]) -> None:
        """Bring the events of one bot to a decision; while the bot has no adapter they stay as they are."""
        bot = self._desk.bots.get(batch[0].key)
        if bot is None or bot.adapter is None:
            return
        if len(batch) > 1 and any(stored.attempts for stored in batch):
            # one of these may have taken the daemon down: alone, each is counted for itself
            for stored in batch:
                await self.decide([stored])
            return
        try:
            if left := [stored.seq for stored in batch if stored.again]:
                await self._desk.ledger.write(lambda tx: inbound.count_attempt(tx, left))
            await self._decide_all(batch, bot.adapter)
        except Exception as error:  # a mistake of ours over one event must not stop the bot's others
            self._desk.log.error("deciding failed", action="inbound.error", bot=str(batch[0].key), exc_info=error)
            if len(batch) == 1:
                await self._commit([self._quarantine(batch[0], f"deciding failed: {type(error).__name__}")])
                return
            for stored in batch:
                await self.decide([stored])

    async def _decide_all(self, batch: Sequence[Stored], adapter: Adapter) -> None:
        steps: list[Step] = []
        queued: dict[str, int] = {}
        for stored in batch:
            message = self._parse(stored, adapter, steps)
            if message is None:
                continue
            routed = self._route(message, stored)
            verdict = self._admit(routed)
            command = table.parse(message.text) if message.kind is MessageKind.TEXT else None
            if isinstance(verdict, admission.Admit) and command is not None:
                await self._commit(steps)
                queued.clear()  # in their lanes by now, where they are counted
                await self._command(routed, command, admin=verdict.admin)
            else:
                steps.append(self._step(routed, verdict, queued))
        await self._commit(steps)

    async def _commit(self, steps: list[Step]) -> None:
        if not steps:
            return
        todo = tuple(steps)
        steps.clear()
        results = await self._desk.ledger.write(lambda tx: [step.write(tx) for step in todo])
        for step, result in zip(todo, results, strict=True):
            if step.after is not None and result is not None:
                await step.after(result)

    def _parse(self, stored: Stored, adapter: Adapter, steps: list[Step]) -> InboundMessage | None:
        if stored.attempts >= MOST_ATTEMPTS:
            steps.append(self._quarantine(stored, f"the daemon died {stored.attempts + 1} times before deciding"))
            return None
        try:
            messages = adapter.parse(stored.event)
        except Exception as error:  # noqa: BLE001  # one unreadable event must not stop the ones behind it
            steps.append(self._quarantine(stored, f"unreadable: {type(error).__name__}: {str(error)[:200]}"))
            return None
        if not messages:
            steps.append(self._ignore(stored, "of no interest"))
            return None
        return _clean(messages[0])

    def _route(self, message: InboundMessage, stored: Stored) -> Routed:
        live = self._desk.live
        resolution = live.snapshot.routes.match(message, live.aliases)
        profile = self._desk.open(resolution.profile) if resolution.profile is not None else None
        return Routed(message, stored, resolution, profile)

    def _admit(self, routed: Routed) -> admission.Verdict:
        live, message = self._desk.live, routed.message
        bot = live.snapshot.access.get(message.address.adapter)
        if bot is None:
            return admission.Ignore("the bot is not configured")
        own = routed.profile.settings.access if isinstance(routed.profile, ProfileContext) else None
        permitted = (message.address.adapter, message.sender.id) in live.permits
        return admission.admit(message, bot, own, permitted=permitted)

    def _step(self, routed: Routed, verdict: admission.Verdict, queued: dict[str, int]) -> Step:
        match verdict:
            case admission.Ignore(reason):
                return self._ignore(routed.stored, reason, routed.message)
            case admission.Migrate(new_chat):
                return self._migrate(routed, new_chat)
            case admission.Pair():
                return self._refuse(routed, "unknown person", None)
            case admission.Refuse(reason, text):
                return self._refuse(routed, reason, text)
            case admission.Admit():
                return self._admitted(routed, queued)

    def _admitted(self, routed: Routed, queued: dict[str, int]) -> Step:
        if routed.message.kind is MessageKind.EDIT:
            return self._edit(routed)
        key = routed.key()
        if key is None:
            text = f"No profile answers here: {routed.resolution.why}. /whereami shows the line that routes this place."
            return self._refuse(routed, "no profile is routed", text)
        lane = key.encode()
        if self._desk.lanes.waiting(lane) + queued.get(lane, 0) >= self._desk.live.snapshot.settings.limits.lane_queue:
            return self._full(routed, self._desk.lanes.waiting(lane) + queued.get(lane, 0))
        queued[lane] = queued.get(lane, 0) + 1
        return self._queue(routed, key)

    # --- the steps -------------------------------------------------------------------------------------------------

    def _queue(self, routed: Routed, key: ConversationKey) -> Step:
        message, turn_id, at = routed.message, uuid4().hex, self._desk.clock.now()
        request = Request(
            turn_id,
            key=key,
            why=routed.resolution.why,
            user_id=message.sender.id,
            user_name=message.sender.name,
            text=conversation.prompt_of(message),
            lineage=Lineage(turn_id, f"{message.address.adapter}:{message.sender.id}"),
            epoch=self._desk.live.snapshot.epoch,
            role=routed.resolution.role,
            inbound_seq=routed.stored.seq,
            message_key=message.message_key,
        )

        def write(tx: Tx) -> turns.Turn | None:
            if not self._decide(tx, routed, InboundState.QUEUED):
                return None
            return turns.insert(tx, request, at=at)

        async def after(turn: turns.Turn) -> None:
            self._desk.lanes.offer(turn)

        return Step(write, after)

    def _full(self, routed: Routed, waiting: int) -> Step:
        text = f"{waiting} messages are waiting here already, so I did not take this one. Please send it again later."
        return self._say(routed, InboundState.REFUSED, "the queue is full", text)

    def _refuse(self, routed: Routed, reason: str, text: str | None) -> Step:
        """Once per person and place; without a text of its own it is a pairing offer."""
        message, at, clock = routed.message, self._desk.clock.now(), self._desk.clock
        if text is None:
            wish = pairing.wish(message, at=clock.now())
            return self._say(routed, InboundState.REFUSED, reason, "", text_of=lambda tx: pairing.offer(tx, wish))
        once = f"refused|{reason}|{message.address}|{message.sender.id}"
        return self._say(
            routed, InboundState.REFUSED, reason, text,
            text_of=lambda tx: text if pause.say_once(tx, once, at=at) else None,
        )  # fmt: skip

    def _say(
        self,
        routed: Routed,
        state: InboundState,
        reason: str,
        text: str,
        *,
        text_of: Callable[[Tx], str | None] | None = None,
    ) -> Step:
        message, desk, at = routed.message, self._desk, self._desk.clock.now()

        def write(tx: Tx) -> tuple[delivery.Delivery, ...] | None:
            if not self._decide(tx, routed, state, reason):
                return None
            audit.append(
                tx, at=at, kind="message.refused", actor=f"{message.address.adapter}:{message.sender.id}",
                subject=str(message.address), target=routed.resolution.profile or "", rule=reason,
            )  # fmt: skip
            shown = text_of(tx) if text_of is not None else text
            if not shown:
                return None
            drafts = desk.outbox.drafts(message.address, shown, reply_to=message.message_key)
            return delivery.insert(tx, drafts, turn_id=None, boot=desk.boot, at=at)

        return Step(write, self._send)

    async def _send(self, rows: tuple[delivery.Delivery, ...]) -> None:
        self._desk.outbox.add(rows)

    def _edit(self, routed: Routed) -> Step:
        message, text = routed.message, conversation.prompt_of(routed.message)
        key, sender = message.address.adapter, message.sender.id

        def write(tx: Tx) -> bool | None:
            replaced = turns.edit_queued(tx, key, message.message_key, sender, text)
            reason = "edit of a waiting message" if replaced else "edit"
            inbound.decide(tx, routed.stored.seq, InboundState.IGNORED, reason=reason)
            return replaced or None

        async def after(_: bool) -> None:
            self._desk.lanes.replace(key, message.message_key, lambda turn: replace(turn, text=text))

        return Step(write, after)

    def _migrate(self, routed: Routed, new_chat: str) -> Step:
        key, old_chat, at = routed.message.address.adapter, routed.message.address.chat_id, self._desk.clock.now()

        def write(tx: Tx) -> bool:
            inbound.decide(tx, routed.stored.seq, InboundState.IGNORED, reason="chat migrated")
            chat.migrate(tx, key, old_chat, new_chat, at=at)
            audit.append(tx, at=at, kind="chat.migrated", subject=f"{key}:{old_chat}", target=f"{key}:{new_chat}")
            return True

        async def after(_: bool) -> None:
            self.migrated(key, old_chat, new_chat)
            self._desk.outbox.migrated(key, old_chat, new_chat)

        return Step(write, after)

    def migrated(self, key: AdapterKey, old_chat: str, new_chat: str) -> None:
        """The ledger moved a chat: follow in memory."""
        desk = self._desk
        for (bot, old), new in list(desk.live.aliases.items()):
            if bot == key and new == old_chat:
                desk.live.aliases[bot, old] = new_chat
        desk.live.aliases[key, old_chat] = new_chat
        moved = desk.lanes.drop_waiting(lambda turn: turn.address == Address(key, old_chat, turn.address.thread_id))
        for turn in moved:
            address = turn.address.in_chat(new_chat)
            desk.lanes.offer(replace(turn, key=replace(turn.key, address=address)))

    def _ignore(self, stored: Stored, reason: str, message: InboundMessage | None = None) -> Step:
        def write(tx: Tx) -> None:
            keyed = message if message is not None and message.kind is MessageKind.TEXT else None
            # the same post may come once more as an event that does address the bot: that one is to be answered
            key = keyed.message_key if keyed and reason != admission.NOT_ADDRESSED else None
            address = keyed.address if keyed else None
            inbound.decide(tx, stored.seq, InboundState.IGNORED, reason=reason, message_key=key, address=address)

        return Step(write)

    def _quarantine(self, stored: Stored, reason: str) -> Step:
        at = self._desk.clock.now()
        self._desk.log.warning(
            "event quarantined", action="inbound.quarantine", bot=str(stored.key), event_id=stored.event.event_id,
            reason=reason,
        )  # fmt: skip

        def write(tx: Tx) -> None:
            inbound.decide(tx, stored.seq, InboundState.QUARANTINED, reason=reason)
            audit.append(
                tx,
                at=at,
                kind="inbound.quarantined",
                subject=str(stored.key),
                target=stored.event.event_id,
                rule=reason,
            )

        return Step(write)

    def _decide(self, tx: Tx, routed: Routed, state: InboundState, reason: str = "") -> bool:
        message = routed.message
        return inbound.decide(
            tx, routed.stored.seq, state, reason=reason, message_key=message.message_key, address=message.address
        )

    async def _command(self, routed: Routed, parsed: table.Parsed, *, admin: bool) -> None:
        message, desk = routed.message, self._desk
        key = message.address.adapter
        if await desk.ledger.read(lambda tx: inbound.knows_message(tx, key, message.message_key)):
            await desk.ledger.write(lambda tx: self._decide(tx, routed, InboundState.IGNORED, "repeat"))
            return
        none = ProfileUnavailable("no profile is routed here", hint="/whereami shows the line that routes this place.")
        call = Call(
            message, parsed.args, admin, routed.resolution, routed.profile or none, desk, routed.key()
        )  # fmt: skip
        answer = await self._run_command(routed.stored, parsed, call)
        drafts = desk.outbox.drafts(message.address, answer.text, reply_to=message.message_key)
        at = desk.clock.now()
        claimed = desk.outbox.claim(message.address)

        def write(tx: Tx) -> tuple[tuple[delivery.Delivery, ...], turns.Turn | None] | None:
            if not self._decide(tx, routed, InboundState.ANSWERED, f"/{parsed.name}"):
                return None
            rows = delivery.insert(tx, drafts, turn_id=None, boot=desk.boot, at=at, begin_first=claimed)
            return rows, turns.insert(tx, answer.turn, at=at) if answer.turn else None

        written = None
        try:
            written = await desk.ledger.write(write)
        finally:
            if claimed and written is None:
                desk.outbox.release(message.address)
        if written is not None:
            desk.outbox.add(written[0], claimed=claimed)
            if written[1] is not None:
                desk.lanes.offer(written[1])

    async def _run_command(self, stored: Stored, parsed: table.Parsed, call: Call) -> Answer:
        """A command always has an answer, and one that must not happen twice does not, whatever ends in between."""
        command = table.find(parsed.name)
        if command is not None and command.once:
            if stored.attempts:
                return Answer(
                    f"I was interrupted in the middle of /{command.name} and did not do it again. "
                    "Look whether it took effect; if not, send it once more."
                )
            await self._desk.ledger.write(lambda tx: inbound.count_attempt(tx, [stored.seq]))
        try:
            return await table.answer(parsed, call)
        except Exception as error:  # tried again with the rest of its batch it would happen twice
            self._desk.log.error("command failed", action="command.error", command=parsed.name, exc_info=error)
            return Answer(f"Something went wrong inside me over /{parsed.name}; my operator finds it in the log.")


def _clean(message: InboundMessage) -> InboundMessage:
    # a lone surrogate cannot be stored or sent: what cannot be shown becomes a question mark
    sender = replace(message.sender, name=_printable(message.sender.name))
    attached = tuple(replace(one, name=_printable(one.name)) for one in message.attachments)
    return replace(message, text=_printable(message.text), sender=sender, attachments=attached)


def _printable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
