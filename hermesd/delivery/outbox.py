"""The sender: one gate per (bot, chat), in order, from the ledger, surviving limits, resets and restarts."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from secrets import token_hex
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from hermesd.adapter.registry import AdapterRegistry
from hermesd.address import AdapterKey, Address
from hermesd.clock import Clock
from hermesd.database import Database, Tx
from hermesd.delivery.policy import DUPLICATE_MARK, LONGEST_WAIT, Verdict, backoff, judge
from hermesd.ledger import chat, delivery
from hermesd.ledger.delivery import Delivery, DeliveryState, Draft
from hermesd.message import Outgoing, Receipt
from hermesd.ports import Adapter, BotState, Log

T = TypeVar("T")
Bucket = tuple[AdapterKey, str]
#: writes the parts of a reply, told whether to store the first as being attempted; None when there is nothing to send
Work = Callable[[Tx, bool], tuple[Sequence[Delivery], T] | None]
#: after that many seconds a send counts as ambiguous, whatever the adapter is still doing
SEND_SECONDS = 120.0
#: seconds a row read back from disk may still ask to be left alone
_LONGEST_DELAY = 3600.0


@dataclass(slots=True)
class _Gate:
    #: what goes out next; anybody may clear or move it
    queue: deque[Delivery] = field(default_factory=deque)
    #: somebody sends, or is about to
    owned: bool = False
    #: off the queue and in its owner's hand until the attempt has ended
    hand: Delivery | None = None
    #: where all of it belongs once the attempt has ended: its chat got a new id meanwhile
    moved_to: str | None = None
    #: monotonic seconds; nothing goes out before
    not_before: float = 0.0


class Outbox:
    """Sends what the ledger says must be sent."""

    def __init__(
        self,
        ledger: Database,
        bots: AdapterRegistry,
        *,
        boot: int,
        clock: Clock,
        log: Log,
        on_migrated: Callable[[AdapterKey, str, str], None] = lambda key, old, new: None,
    ) -> None:
        self._ledger = ledger
        self._bots = bots
        self._boot = boot
        self._clock = clock
        self._log = log
        self._on_migrated = on_migrated
        self._gates: dict[Bucket, _Gate] = {}
        self._tasks: TaskGroup | None = None
        self._stopping = False
        self._in_flight = 0
        self._quiet = anyio.Event()
        #: what is seen to its end although its task is cancelled, until `abandon`
        self._shields: set[anyio.CancelScope] = set()
        self._abandoned = False

    # --- writing ---------------------------------------------------------------------------------------------------

    def drafts(self, address: Address, text: str, *, reply_to: str | None = None) -> tuple[Draft, ...]:
        """Cut a reply into parts for its platform, at least one. The whole text is one part while the bot is away."""
        bot = self._bots.get(address.adapter)
        # what cannot be encoded can neither be stored nor sent
        text = text if text.isascii() else text.encode("utf-8", "replace").decode()
        parts = bot.adapter.split(text) if bot is not None and bot.adapter is not None else [text]
        parts = [part for part in parts if part.strip()] or ["(no text)"]
        return tuple(
            Draft(token_hex(12), address, n, len(parts), part, reply_to if n == 1 else None)
            for n, part in enumerate(parts, 1)
        )

    def claim(self, address: Address) -> bool:
        """Reserve an idle gate, so that the first part may be stored as already being attempted."""
        bucket = (address.adapter, address.chat_id)
        bot, gate = self._bots.get(address.adapter), self._gates.get(bucket)
        if gate is not None or bot is None or not bot.sendable or self._stopping:
            return False
        self._gates[bucket] = _Gate(owned=True)
        return True

    def release(self, address: Address) -> None:
        """Give back a claimed gate when nothing came of it."""
        bucket = (address.adapter, address.chat_id)
        self._gates[bucket].owned = False
        self._wake(bucket)

    def add(self, rows: Sequence[Delivery], *, claimed: bool = False) -> None:
        """Send these rows, which are already in the ledger; `claimed` hands over the gate reserved for them."""
        for row in rows:
            gate = self._gates.setdefault((row.address.adapter, row.address.chat_id), _Gate())
            gate.queue.append(row)
            gate.not_before = max(gate.not_before, self._due(row.next_at))
        if rows:
            bucket = (rows[0].address.adapter, rows[0].address.chat_id)
            if claimed:
                self._gates[bucket].owned = False
            self._wake(bucket)

    async def store(self, address: Address, work: Work[T]) -> T | None:
        """Commit `work`, which writes the parts of one reply, and send them; its second result, or None if it had none.

        Once begun it is seen to its end: rows that are stored must reach the sender, so a cancellation waits.
        """
        claimed = self.claim(address)
        done: tuple[Sequence[Delivery], T] | None = None
        rows: Sequence[Delivery] = ()
        with self._seen_through():
            try:
                done = await self._ledger.write(lambda tx: work(tx, claimed))
                rows = done[0] if done is not None else ()
            finally:
                if claimed and not rows:
                    self.release(address)
            self.add(rows, claimed=claimed)
        return done[1] if done is not None else None

    async def post(self, address: Address, text: str, *, reply_to: str | None = None) -> None:
        """Store and send a message that belongs to no turn: a command's answer, a notice."""
        drafts, at, boot = self.drafts(address, text, reply_to=reply_to), self._clock.now(), self._boot

        def work(tx: Tx, begin: bool) -> tuple[Sequence[Delivery], None]:
            return delivery.insert(tx, drafts, turn_id=None, boot=boot, at=at, begin_first=begin), None

        await self.store(address, work)

    # --- life ------------------------------------------------------------------------------------------------------

    async def recover(self) -> int:
        """At boot: what was being sent becomes ambiguous, and everything open is queued. Returns how many rows."""

        def load(tx: Tx) -> tuple[Delivery, ...]:
            delivery.recover(tx, boot=self._boot)
            return delivery.open_rows(tx)

        rows = await self._ledger.write(load)
        self._enqueue(rows)
        return len(rows)

    async def take_up(self, key: AdapterKey) -> None:
        """A bot has an adapter again: send what was set aside for it."""
        self._enqueue(await self._ledger.write(lambda tx: delivery.unpark_bot(tx, key)))

    async def park(self, key: AdapterKey, reason: str) -> int:
        """A bot left the configuration: keep what waits for it, out of the way.

        What is being sent right now is seen to its end and set aside then, if it has to go out again.
        """
        waiting = [row for bucket, gate in self._gates.items() if bucket[0] == key for row in gate.queue]
        for bucket, gate in self._gates.items():
            if bucket[0] == key:
                gate.queue.clear()
        begun = [row for row in waiting if row.state is DeliveryState.ATTEMPTING]
        at, boot = self._clock.now(), self._boot

        def set_aside(tx: Tx) -> int:
            moved = [delivery.move(tx, row.id, DeliveryState.PARKED, boot=boot, at=at, reason=reason) for row in begun]
            return sum(moved) + delivery.park_bot(tx, key, reason)

        return await self._ledger.write(set_aside)

    async def run(self) -> None:
        """Send until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            for bucket in list(self._gates):
                self._wake(bucket)
            await anyio.sleep_forever()

    async def drain(self) -> None:
        """Begin nothing new; return when no send is in flight and nothing unsent looks as if it might have been."""
        self._stopping = True
        if self._in_flight:
            await self._quiet.wait()
        begun = [row for gate in self._gates.values() for row in gate.queue if row.state is DeliveryState.ATTEMPTING]
        at, boot = self._clock.now(), self._boot

        def not_begun(tx: Tx) -> None:
            for row in begun:
                state = DeliveryState.AMBIGUOUS if row.doubtful else DeliveryState.PENDING
                delivery.move(tx, row.id, state, boot=boot, at=at, reason="stopped before it was sent")

        if begun:
            await self._ledger.write(not_begun)

    def abandon(self) -> None:
        """The time to stop is up: let go of what hangs. The next start finds it begun and marks what it sends again."""
        self._stopping = self._abandoned = True
        for scope in tuple(self._shields):
            scope.cancel()

    @contextmanager
    def _seen_through(self) -> Iterator[None]:
        with anyio.CancelScope(shield=not self._abandoned) as scope:
            self._shields.add(scope)
            try:
                yield
            finally:
                self._shields.discard(scope)

    def migrated(self, key: AdapterKey, old_chat: str, new_chat: str) -> None:
        """The ledger moved a chat to its new id: move what waits in memory as well."""
        gate = self._gates.get((key, old_chat))
        if gate is None:
            return
        gate.moved_to = new_chat
        if gate.hand is None:
            self._hand_over(key, gate)

    # --- sending ---------------------------------------------------------------------------------------------------

    def _enqueue(self, rows: Sequence[Delivery]) -> None:
        for row in rows:
            self.add([row])

    def _due(self, next_at: float) -> float:
        # in monotonic seconds, so that a clock that is set makes nothing early or late; a time read back from disk may
        # be nonsense after the clock was set while the daemon was down, hence at most an hour
        return self._clock.monotonic() + min(next_at - self._clock.now(), _LONGEST_DELAY) if next_at else 0.0

    def _wake(self, bucket: Bucket) -> None:
        gate = self._gates[bucket]
        if gate.owned:
            return
        if not gate.queue:
            del self._gates[bucket]
        elif self._tasks is not None and not self._stopping:
            gate.owned = True
            self._tasks.start_soon(self._serve, bucket, gate, name=f"outbox:{bucket[0]}:{bucket[1]}")

    async def _serve(self, bucket: Bucket, gate: _Gate) -> None:
        try:
            while gate.queue and not self._stopping:
                await self._send_head(bucket, gate)
        finally:
            gate.owned = False
            if not gate.queue:
                self._gates.pop(bucket, None)

    async def _send_head(self, bucket: Bucket, gate: _Gate) -> None:
        row = gate.queue[0]
        bot = self._bots.get(bucket[0])
        if bot is None:
            await self._set_aside(gate, "the bot is not configured")
            return
        wait = gate.not_before - self._clock.monotonic()
        if wait > 0:
            await self._clock.sleep(min(wait, LONGEST_WAIT))
            return
        adapter = await bot.until_sendable()
        if adapter is None or self._changed_meanwhile(gate, row):
            return
        gate.hand = gate.queue.popleft()
        self._in_flight += 1
        try:
            # a send that has begun is seen to its end: a cancelled one would have to go out again with a mark
            with self._seen_through():
                await self._attempt(bucket, gate, row, adapter)
        finally:
            gate.hand = None
            self._hand_over(bucket[0], gate)
            self._in_flight -= 1
            if self._stopping and not self._in_flight:
                self._quiet.set()

    def _changed_meanwhile(self, gate: _Gate, row: Delivery) -> bool:
        return self._stopping or not gate.queue or gate.queue[0] is not row

    async def _set_aside(self, gate: _Gate, reason: str) -> None:
        rows = tuple(gate.queue)
        gate.queue.clear()
        at, boot = self._clock.now(), self._boot

        def park(tx: Tx) -> None:
            for row in rows:
                delivery.move(tx, row.id, DeliveryState.PARKED, boot=boot, at=at, reason=reason)

        await self._ledger.write(park)

    async def _attempt(self, bucket: Bucket, gate: _Gate, row: Delivery, adapter: Adapter) -> None:
        if row.state is not DeliveryState.ATTEMPTING:
            if not await self._move(row, DeliveryState.ATTEMPTING):
                return
            row = replace(row, state=DeliveryState.ATTEMPTING, attempts=row.attempts + 1)
        marked = row.doubtful and not adapter.capabilities.idempotent_send
        text = DUPLICATE_MARK + row.text if marked else row.text
        try:
            with anyio.fail_after(SEND_SECONDS):
                receipt = await adapter.send(Outgoing(row.id, row.address, text, row.part, row.of, row.reply_to))
        except Exception as error:  # noqa: BLE001  # every end of a send has a meaning: policy.judge gives it
            await self._after_error(bucket, gate, row, error, judge(error, attempts=max(row.attempts, 1)))
        else:
            await self._sent(bucket, gate, row, receipt)

    async def _sent(self, bucket: Bucket, gate: _Gate, row: Delivery, receipt: Receipt) -> None:
        # the next part is begun in the commit that ends this one
        following = gate.queue.popleft() if self._may_follow(bucket, gate) else None
        at, boot = self._clock.now(), self._boot

        def record(tx: Tx) -> bool:
            delivery.move(tx, row.id, DeliveryState.SENT, boot=boot, at=at, receipt=receipt.message_key)
            if following is None:
                return False
            return delivery.move(tx, following.id, DeliveryState.ATTEMPTING, boot=boot, at=at)

        begun = await self._ledger.write(record)
        if following is not None and begun:
            begun_row = replace(following, state=DeliveryState.ATTEMPTING, attempts=following.attempts + 1)
            gate.queue.appendleft(begun_row)

    def _may_follow(self, bucket: Bucket, gate: _Gate) -> bool:
        bot = self._bots.get(bucket[0])
        ready = bool(gate.queue) and gate.queue[0].state is DeliveryState.PENDING
        return ready and bot is not None and bot.sendable and not self._stopping

    def _hand_over(self, key: AdapterKey, gate: _Gate) -> None:
        """To the front of the chat's new queue: it was there first."""
        new_chat, gate.moved_to = gate.moved_to, None
        if new_chat is None or not gate.queue:
            return
        rows = [replace(row, address=row.address.in_chat(new_chat)) for row in gate.queue]
        gate.queue.clear()
        there = self._gates.setdefault((key, new_chat), _Gate())
        there.queue.extendleft(reversed(rows))
        there.not_before = max(there.not_before, gate.not_before)
        self._wake((key, new_chat))

    async def _after_error(
        self, bucket: Bucket, gate: _Gate, row: Delivery, error: Exception, verdict: Verdict
    ) -> None:
        self._log.warning(
            "send did not succeed", action="delivery.error", bot=str(bucket[0]), delivery=row.id,
            error=type(error).__name__, detail=str(error), next=str(verdict.state),
        )  # fmt: skip
        if verdict.moved_to == row.address.chat_id:
            # a chat that moved to where it is would be asked again at once, for ever
            verdict = Verdict(verdict.state, verdict.reason, backoff(row.attempts))
        next_at = self._clock.now() + verdict.wait if verdict.wait else 0.0
        await self._move(row, verdict.state, reason=verdict.reason, next_at=next_at)
        bot = self._bots.get(bucket[0])
        if verdict.unauthorized and bot is not None:
            bot.report(BotState.UNAUTHORIZED, str(error))
        if verdict.state in (DeliveryState.FAILED, DeliveryState.PARKED):
            return
        doubtful = row.doubtful or verdict.state is DeliveryState.AMBIGUOUS
        again = replace(row, state=verdict.state, reason=verdict.reason, next_at=next_at, doubtful=doubtful)
        gate.not_before = self._clock.monotonic() + verdict.wait
        if verdict.moved_to is not None:
            await self._follow(bucket, verdict.moved_to)
        gate.queue.appendleft(again)

    async def _follow(self, bucket: Bucket, new_chat: str) -> None:
        key, old_chat = bucket
        at = self._clock.now()
        await self._ledger.write(lambda tx: chat.migrate(tx, key, old_chat, new_chat, at=at))
        self._on_migrated(key, old_chat, new_chat)
        self.migrated(key, old_chat, new_chat)

    async def _move(self, row: Delivery, state: DeliveryState, *, reason: str = "", next_at: float = 0.0) -> bool:
        at, boot = self._clock.now(), self._boot
        return await self._ledger.write(
            lambda tx: delivery.move(tx, row.id, state, boot=boot, at=at, reason=reason, next_at=next_at)
        )
