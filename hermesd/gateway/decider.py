"""From one stored event to a decision: parsed alone, routed, admitted, then a command or a turn.

Decisions that need no answer of their own are written together.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

import anyio
from anyio.abc import TaskGroup

from hermesd import audit
from hermesd.address import AdapterKey, Address, ConversationKey
from hermesd.database import Tx
from hermesd.errors import LedgerUnavailable
from hermesd.gateway import admission, conversation, pairing
from hermesd.gateway.access import Rights
from hermesd.gateway.commands import table
from hermesd.gateway.desk import Desk
from hermesd.gateway.execution import Execution, decide
from hermesd.gateway.routed import Routed
from hermesd.ledger import chat, delivery, inbound, pause
from hermesd.ledger import turn as turns
from hermesd.ledger.inbound import InboundState, Stored
from hermesd.ledger.turn import Request
from hermesd.lineage import Lineage
from hermesd.message import InboundMessage, MessageKind
from hermesd.ports import Adapter, TellsPlace, Whereabouts
from hermesd.profile import ProfileContext

#: told about a message that was given up
GIVEN_UP = (
    "I could not handle a message of yours: I was stopped each time I looked at it. It is kept for my operator. "
    "Please send it again, in other words if you can."
)
_Chat = tuple[AdapterKey, str]
#: seconds between two tries while the ledger cannot be read
RETRY_SECONDS = 1.0
#: later starts that may die while they decide about an event; the next one gives it up, and tells its writer
MOST_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Step:
    """One decision: what it writes, and what happens once that is on disk."""

    write: Callable[[Tx], Any]
    after: Callable[[Any], Awaitable[None]] | None = None


class Decider:
    """Decides about stored events, a batch of one bot at a time."""

    def __init__(self, desk: Desk, again: Callable[[AdapterKey], None]) -> None:
        """`again` has `decide` called for a bot although nothing new came."""
        self._desk = desk
        self._again = again
        self._execution = Execution(desk)
        self._tasks: TaskGroup | None = None
        #: chats in which a command is being carried out -> what was written there since
        self._busy: dict[_Chat, list[Stored]] = {}
        #: of these, where it is done: what was put off goes on with the bot's next batch, in the order it came
        self._done: set[_Chat] = set()
        self._quiet = anyio.Event()

    def start(self, tasks: TaskGroup) -> None:
        """Commands run in this group."""
        self._tasks = tasks

    async def settled(self) -> None:
        """Return when no command is being carried out."""
        while self._busy:
            self._quiet = anyio.Event()
            await self._quiet.wait()

    async def decide(self, key: AdapterKey, batch: Sequence[Stored]) -> None:
        """Bring the events of one bot to a decision; while the bot has no adapter they stay as they are."""
        batch = sorted([*self._put_off(key), *batch], key=lambda stored: stored.seq)
        while batch:
            try:
                await self._decide_batch(batch)
            except LedgerUnavailable as error:
                # nothing is lost: the events are on disk and this bot's queue waits for the disk
                self._desk.log.warning("deciding waits", action="inbound.wait", detail=error.message)
                await self._desk.clock.sleep(RETRY_SECONDS)
            else:
                return

    def _put_off(self, key: AdapterKey) -> list[Stored]:
        ready = [chat for chat in self._done if chat[0] == key]
        self._done.difference_update(ready)
        events = [stored for chat in ready for stored in self._busy.pop(chat)]
        if not self._busy:
            self._quiet.set()
        return events

    async def _decide_batch(self, batch: Sequence[Stored]) -> None:
        bot = self._desk.bots.get(batch[0].key)
        if bot is None or bot.adapter is None:
            return
        if len(batch) > 1 and any(stored.again for stored in batch):
            # one of these may have taken the daemon down: alone, each is counted for itself
            for stored in batch:
                await self._decide_batch([stored])
            return
        try:
            if left := [stored.seq for stored in batch if stored.again]:
                await self._desk.ledger.write(lambda tx: inbound.count_attempt(tx, left))
            await self._decide_all(batch, bot.adapter)
        except LedgerUnavailable:
            raise
        except Exception as error:  # a mistake of ours over one event must not stop the bot's others
            self._desk.log.error("deciding failed", action="inbound.error", bot=str(batch[0].key), exc_info=error)
            if len(batch) == 1:
                await self._commit([self._quarantine(batch[0], f"deciding failed: {type(error).__name__}")])
                return
            for stored in batch:
                await self._decide_batch([stored])

    async def _decide_all(self, batch: Sequence[Stored], adapter: Adapter) -> None:
        steps: list[Step] = []
        queued: dict[str, int] = {}
        for stored in batch:
            message = self._parse(stored, adapter, steps)
            if message is None:
                continue
            chat = (message.address.adapter, message.address.chat_id)
            if chat in self._busy:
                self._busy[chat].append(stored)
                continue
            routed = self._route(message, stored)
            verdict = self._admit(routed)
            command = table.parse(message.text) if message.kind is MessageKind.TEXT else None
            if isinstance(verdict, admission.Admit) and command is not None:
                await self._commit(steps)
                queued.clear()  # in their lanes by now, where they are counted
                self._begin(chat, routed, command, verdict.rights)
            else:
                steps.append(self._step(routed, verdict, queued))
        await self._commit(steps)

    def _begin(self, chat: _Chat, routed: Routed, command: table.Parsed, rights: Rights) -> None:
        """Carry out a command beside the queue: one that waits (a locked profile, a reload) stops its own chat only."""
        if self._tasks is None:
            raise RuntimeError("a command before the gateway runs")
        self._busy[chat] = []
        self._tasks.start_soon(self._execute, chat, routed, command, rights, name=f"command:{routed.stored.seq}")

    async def _execute(self, chat: _Chat, routed: Routed, command: table.Parsed, rights: Rights) -> None:
        try:
            await self._execution.run(routed, command, rights)
        except Exception as error:  # it stays `received` and is decided at the next start
            self._desk.log.error("command failed", action="command.error", command=command.name, exc_info=error)
        finally:
            self._done.add(chat)
            self._again(chat[0])

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
            where = adapter.place(stored.event) if isinstance(adapter, TellsPlace) else None
            reason = f"the daemon died {stored.attempts + 1} times before deciding"
            steps.append(self._quarantine(stored, reason, where))
            return None
        try:
            messages = adapter.parse(stored.event)
        except Exception as error:  # noqa: BLE001  # one unreadable event must not stop the ones behind it
            steps.append(self._quarantine(stored, f"unreadable: {type(error).__name__}: {str(error)[:200]}"))
            return None
        if not messages:
            steps.append(self._ignore(stored, "of no interest"))
            return None
        if len(messages) > 1:
            steps.append(self._quarantine(stored, "several messages in one event"))
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
                return self._pair(routed)
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
        if self._desk.lanes.is_full(lane, queued.get(lane, 0)):
            return self._full(routed, self._desk.live.snapshot.settings.limits.lane_queue)
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
            lineage=Lineage(turn_id, routed.actor),
            epoch=self._desk.live.snapshot.epoch,
            role=routed.resolution.role,
            inbound_seq=routed.stored.seq,
            message_key=message.message_key,
        )

        def write(tx: Tx) -> turns.Turn | None:
            if not decide(tx, routed, InboundState.QUEUED):
                return None
            return turns.insert(tx, request, at=at)

        async def after(turn: turns.Turn) -> None:
            self._desk.lanes.offer(turn)

        return Step(write, after)

    def _full(self, routed: Routed, waiting: int) -> Step:
        text = f"{waiting} messages are waiting here already, so I did not take this one. Please send it again later."
        return self._say(routed, "the queue is full", text)

    def _refuse(self, routed: Routed, reason: str, text: str) -> Step:
        """Once per person and place."""
        message, at = routed.message, self._desk.clock.now()
        once = f"refused|{reason}|{message.address}|{message.sender.id}"
        return self._say(routed, reason, text, lambda tx: pause.say_once(tx, once, at=at))

    def _pair(self, routed: Routed) -> Step:
        """A code for a stranger, once while it is valid."""
        wish = pairing.wish(routed.message, at=self._desk.clock.now())
        return self._say(routed, "unknown person", pairing.offer(wish), lambda tx: pairing.store(tx, wish))

    def _say(self, routed: Routed, reason: str, text: str, wanted: Callable[[Tx], bool] = lambda tx: True) -> Step:
        message, boot, at = routed.message, self._desk.boot, self._desk.clock.now()
        drafts = self._desk.outbox.drafts(message.address, text, reply_to=message.message_key)

        def write(tx: Tx) -> tuple[delivery.Delivery, ...] | None:
            if not decide(tx, routed, InboundState.REFUSED, reason):
                return None
            audit.append(
                tx, at=at, kind="message.refused", actor=routed.actor, subject=str(message.address),
                target=routed.resolution.profile or "", rule=reason,
            )  # fmt: skip
            return delivery.insert(tx, drafts, turn_id=None, boot=boot, at=at) if wanted(tx) else None

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

    def _quarantine(self, stored: Stored, reason: str, where: Whereabouts | None = None) -> Step:
        """Keep an event as it came; with `where`, whoever wrote it is told."""
        at, boot = self._desk.clock.now(), self._desk.boot
        drafts = self._desk.outbox.drafts(where.address, GIVEN_UP, reply_to=where.message_key) if where else ()
        self._desk.log.warning(
            "event quarantined", action="inbound.quarantine", bot=str(stored.key), event_id=stored.event.event_id,
            reason=reason,
        )  # fmt: skip

        def write(tx: Tx) -> tuple[delivery.Delivery, ...] | None:
            if not inbound.decide(tx, stored.seq, InboundState.QUARANTINED, reason=reason):
                return None
            audit.append(
                tx,
                at=at,
                kind="inbound.quarantined",
                subject=str(stored.key),
                target=stored.event.event_id,
                rule=reason,
            )
            return delivery.insert(tx, drafts, turn_id=None, boot=boot, at=at) if drafts else None

        return Step(write, self._send)


def _clean(message: InboundMessage) -> InboundMessage:
    # a lone surrogate cannot be stored or sent: what cannot be shown becomes a question mark
    sender = replace(message.sender, name=_printable(message.sender.name))
    attached = tuple(replace(one, name=_printable(one.name)) for one in message.attachments)
    return replace(message, text=_printable(message.text), sender=sender, attachments=attached)


def _printable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
