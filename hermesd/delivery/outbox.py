"""The sender: one gate per (bot, chat), in order, from the ledger, surviving limits, resets and restarts."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from secrets import token_hex

import anyio
from anyio.abc import TaskGroup

from hermesd.adapter.registry import AdapterRegistry
from hermesd.address import AdapterKey, Address
from hermesd.clock import Clock
from hermesd.database import Database, Tx
from hermesd.delivery.policy import DUPLICATE_MARK, Verdict, judge
from hermesd.ledger import chat, delivery
from hermesd.ledger.delivery import Delivery, DeliveryState, Draft
from hermesd.message import Outgoing, Receipt
from hermesd.ports import Adapter, BotState, Log

Bucket = tuple[AdapterKey, str]
#: after that many seconds a send counts as ambiguous, whatever the adapter is still doing
SEND_SECONDS = 120.0


@dataclass(slots=True)
class _Gate:
    queue: deque[Delivery] = field(default_factory=deque)
    #: somebody sends, or is about to
    owned: bool = False


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

    # --- writing ---------------------------------------------------------------------------------------------------

    def drafts(self, address: Address, text: str, *, reply_to: str | None = None) -> tuple[Draft, ...]:
        """Cut a reply into parts for its platform. The whole text is one part while the bot is away."""
        bot = self._bots.get(address.adapter)
        parts = bot.adapter.split(text) if bot is not None and bot.adapter is not None else [text]
        return tuple(
            Draft(token_hex(12), address, n, len(parts), part, reply_to if n == 1 else None)
            for n, part in enumerate(parts, 1)
        )

    def claim(self, address: Address) -> bool:
        """Reserve an idle gate, so that the first part may be stored as already being attempted."""
        bot = self._bots.get(address.adapter)
        gate = self._gates.setdefault((address.adapter, address.chat_id), _Gate())
        if gate.owned or gate.queue or bot is None or not bot.sendable or self._stopping:
            return False
        gate.owned = True
        return True

    def release(self, address: Address) -> None:
        """Give back a claimed gate when nothing came of it."""
        bucket = (address.adapter, address.chat_id)
        self._gates[bucket].owned = False
        self._wake(bucket)

    def add(self, rows: Sequence[Delivery], *, claimed: bool = False) -> None:
        """Send these rows, which are already in the ledger; `claimed` hands over the gate reserved for them."""
        for row in rows:
            bucket = (row.address.adapter, row.address.chat_id)
            self._gates.setdefault(bucket, _Gate()).queue.append(row)
        if rows:
            bucket = (rows[0].address.adapter, rows[0].address.chat_id)
            if claimed:
                self._gates[bucket].owned = False
            self._wake(bucket)

    async def post(self, address: Address, text: str, *, reply_to: str | None = None) -> None:
        """Store and send a message that belongs to no turn: a command's answer, a notice."""
        drafts, at = self.drafts(address, text, reply_to=reply_to), self._clock.now()
        claimed, rows = self.claim(address), None
        # once begun it is seen to its end: rows that are stored must reach the sender
        with anyio.CancelScope(shield=True):
            try:
                rows = await self._ledger.write(
                    lambda tx: delivery.insert(tx, drafts, turn_id=None, boot=self._boot, at=at, begin_first=claimed)
                )
            finally:
                if claimed and rows is None:
                    self.release(address)
            self.add(rows, claimed=claimed)

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
        """A bot is configured again: send what was parked when it went."""

        def load(tx: Tx) -> tuple[Delivery, ...]:
            return delivery.of_bot(tx, key) if delivery.unpark_bot(tx, key) else ()

        waiting = {row.id for gate in self._gates.values() for row in gate.queue}
        self._enqueue([row for row in await self._ledger.write(load) if row.id not in waiting])

    async def park(self, key: AdapterKey, reason: str) -> int:
        """A bot left the configuration: keep what waits for it, out of the way."""
        for bucket, gate in self._gates.items():
            if bucket[0] == key:
                gate.queue.clear()
        return await self._ledger.write(lambda tx: delivery.park_bot(tx, key, reason))

    async def run(self) -> None:
        """Send until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            for bucket in list(self._gates):
                self._wake(bucket)
            await anyio.sleep_forever()

    async def drain(self) -> None:
        """Begin nothing new; return when no send is in flight."""
        self._stopping = True
        if self._in_flight:
            await self._quiet.wait()

    def _enqueue(self, rows: Sequence[Delivery]) -> None:
        for row in rows:
            self.add([row])

    def _wake(self, bucket: Bucket) -> None:
        gate = self._gates[bucket]
        if self._tasks is None or gate.owned or not gate.queue or self._stopping:
            return
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
        bot = self._bots.get(row.address.adapter)
        if bot is None:
            await self.park(row.address.adapter, "the bot is not configured")
            return
        wait = row.next_at - self._clock.now()
        if wait > 0:
            await self._clock.sleep(min(wait, 300.0))
            return
        adapter = await bot.until_sendable()
        if adapter is None or self._changed_meanwhile(gate, row):
            return
        if row.state is not DeliveryState.ATTEMPTING and not await self._move(row, DeliveryState.ATTEMPTING):
            gate.queue.popleft()
            return
        marked = row.state is DeliveryState.AMBIGUOUS and not adapter.capabilities.idempotent_send
        self._in_flight += 1
        try:
            # a send that has begun is seen to its end: a cancelled one would have to go out again with a mark
            with anyio.CancelScope(shield=True):
                await self._attempt(bucket, gate, row, adapter, marked=marked)
        finally:
            self._in_flight -= 1
            if self._stopping and not self._in_flight:
                self._quiet.set()

    def _changed_meanwhile(self, gate: _Gate, row: Delivery) -> bool:
        return self._stopping or not gate.queue or gate.queue[0] is not row

    async def _attempt(self, bucket: Bucket, gate: _Gate, row: Delivery, adapter: Adapter, *, marked: bool) -> None:
        text = DUPLICATE_MARK + row.text if marked else row.text
        try:
            with anyio.fail_after(SEND_SECONDS):
                receipt = await adapter.send(Outgoing(row.id, row.address, text, row.part, row.of, row.reply_to))
        except Exception as error:  # noqa: BLE001  # every end of a send has a meaning: policy.judge gives it
            attempts = row.attempts + (row.state is not DeliveryState.ATTEMPTING)
            await self._after_error(bucket, gate, row, error, judge(error, attempts=max(attempts, 1)))
        else:
            await self._sent(gate, row, receipt)

    async def _sent(self, gate: _Gate, row: Delivery, receipt: Receipt) -> None:
        gate.queue.popleft()
        following = gate.queue[0] if gate.queue and not self._stopping else None
        begin = following is not None and following.state is DeliveryState.PENDING and following.next_at == 0
        at, boot = self._clock.now(), self._boot

        def record(tx: Tx) -> bool:
            delivery.move(tx, row.id, DeliveryState.SENT, boot=boot, at=at, receipt=receipt.message_key)
            if following is not None and begin:
                return delivery.move(tx, following.id, DeliveryState.ATTEMPTING, boot=boot, at=at)
            return False

        if await self._ledger.write(record) and following is not None:
            gate.queue[0] = replace(following, state=DeliveryState.ATTEMPTING, attempts=following.attempts + 1)

    async def _after_error(
        self, bucket: Bucket, gate: _Gate, row: Delivery, error: Exception, verdict: Verdict
    ) -> None:
        self._log.warning(
            "send did not succeed", action="delivery.error", bot=str(bucket[0]), delivery=row.id,
            error=type(error).__name__, detail=str(error), next=str(verdict.state),
        )  # fmt: skip
        next_at = self._clock.now() + verdict.wait if verdict.wait else 0.0
        await self._move(row, verdict.state, reason=verdict.reason, next_at=next_at)
        attempts = row.attempts + (row.state is not DeliveryState.ATTEMPTING)
        again = replace(row, state=verdict.state, reason=verdict.reason, attempts=attempts, next_at=next_at)
        if verdict.unauthorized:
            self._bots[bucket[0]].report(BotState.UNAUTHORIZED, str(error))
        if verdict.moved_to is not None:
            await self._follow(bucket, gate, verdict.moved_to)
        elif verdict.state in (DeliveryState.FAILED, DeliveryState.PARKED):
            gate.queue.popleft()
        else:
            gate.queue[0] = again

    async def _follow(self, bucket: Bucket, gate: _Gate, new_chat: str) -> None:
        key, old_chat = bucket
        at = self._clock.now()
        await self._ledger.write(lambda tx: chat.migrate(tx, key, old_chat, new_chat, at=at))
        self._on_migrated(key, old_chat, new_chat)
        self.migrated(key, old_chat, new_chat)

    def migrated(self, key: AdapterKey, old_chat: str, new_chat: str) -> None:
        """The ledger moved a chat to its new id: move what waits in memory as well."""
        gate = self._gates.get((key, old_chat))
        if gate is None:
            return
        rows = [
            replace(row, address=row.address.in_chat(new_chat), state=DeliveryState.PENDING)
            if row.state is DeliveryState.ATTEMPTING
            else replace(row, address=row.address.in_chat(new_chat))
            for row in gate.queue
        ]
        gate.queue.clear()
        self.add(rows)

    async def _move(self, row: Delivery, state: DeliveryState, *, reason: str = "", next_at: float = 0.0) -> bool:
        at, boot = self._clock.now(), self._boot
        return await self._ledger.write(
            lambda tx: delivery.move(tx, row.id, state, boot=boot, at=at, reason=reason, next_at=next_at)
        )
