"""What commands and intake share: the services of the gateway, in one frozen bundle."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hermesd import audit
from hermesd.adapter.registry import AdapterRegistry
from hermesd.address import Address, ConversationKey
from hermesd.clock import Clock
from hermesd.database import Database, Tx
from hermesd.delivery.outbox import Outbox
from hermesd.errors import ProfileUnavailable
from hermesd.gateway import hold
from hermesd.gateway.access import may_talk
from hermesd.gateway.hold import Hold
from hermesd.gateway.lanes import Lanes
from hermesd.gateway.live import Live
from hermesd.ledger import pause as pauses
from hermesd.ledger import turn as turns
from hermesd.ledger.pause import Pause
from hermesd.ledger.turn import Outcome, Request, Turn, TurnState
from hermesd.lineage import Origin
from hermesd.ports import Log
from hermesd.profile import ProfileContext, ProfileRegistry
from hermesd.turn import limits


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a message may need on its way. Built once by the daemon."""

    ledger: Database
    bots: AdapterRegistry
    outbox: Outbox
    lanes: Lanes
    profiles: ProfileRegistry
    live: Live
    boot: int
    clock: Clock
    log: Log
    #: re-read the configuration; the report as plain data
    reload: Callable[[], Awaitable[Mapping[str, Any]]]
    #: the last reload's report, None before the first
    last_reload: Callable[[], Mapping[str, Any] | None]
    #: write a route into hermesd.yaml (address, profile) and say what was written; raises UserError
    bind: Callable[[Address, str], Awaitable[str]]

    def open(self, profile: str) -> ProfileContext | ProfileUnavailable:
        """The one by-name lookup."""
        try:
            return self.profiles[profile]
        except ProfileUnavailable as error:
            return error

    def held(self, turn: Turn) -> Hold | None:
        """Why a waiting turn may not run now."""
        if self.live.safe_mode:
            return hold.safe_mode()
        if self.live.pauses and (pause := self._stopped_by(turn)) is not None:
            return hold.paused(pause)
        if turn.address.adapter not in self.live.snapshot.access:
            return hold.no_bot()
        found = self.open(turn.profile)
        if isinstance(found, ProfileUnavailable):
            return hold.unavailable(turn.profile, found)
        return None

    def still_admitted(self, turn: Turn, ctx: ProfileContext) -> bool:
        """Whether whoever asked may still talk: lists and profiles may have changed while the turn waited."""
        if turn.origin is not Origin.PERSON:
            return True
        bot = self.live.snapshot.access.get(turn.address.adapter)
        if bot is None:
            return True  # it left in this moment: what has begun ends, its answer is kept for the bot's return
        permitted = (turn.address.adapter, turn.user_id) in self.live.permits
        return may_talk(turn.user_id, bot, ctx.settings.access, permitted=permitted)

    def _stopped_by(self, turn: Turn) -> Pause | None:
        # a chat that got a new id stays paused under the old one
        chats = (turn.address.chat_id, *self.live.formerly(turn.address.adapter, turn.address.chat_id))
        scopes = (s for chat in chats for s in pauses.scopes_of(turn.address.in_chat(chat), turn.profile))
        return next((self.live.pauses[scope] for scope in scopes if scope in self.live.pauses), None)

    async def tell_held(self, turn: Turn, reason: Hold) -> None:
        """Say once per place why messages wait."""
        key, at = f"{reason.key}{turn.address}", self.clock.now()
        if not reason.text:
            return
        if await self.ledger.write(lambda tx: pauses.say_once(tx, key, at=at)):
            await self.outbox.post(turn.address, reason.text, reply_to=turn.message_key)

    async def pause(self, pause: Pause) -> bool:
        """Stop a scope, durably."""
        new = await self.ledger.write(lambda tx: pauses.put(tx, pause))
        self.live.pauses.setdefault(pause.scope, pause)
        return new

    async def resume(self, scope: str) -> bool:
        """Let a scope go on."""

        def lift(tx: Tx) -> bool:
            if scope == "all":
                pauses.forget_notices(tx, hold.SAFE_MODE)
            return pauses.lift(tx, scope)

        lifted = await self.ledger.write(lift)
        self.live.pauses.pop(scope, None)
        if scope == "all":
            lifted = lifted or bool(self.live.safe_mode)
            self.live.safe_mode = ""
        self.lanes.refresh()
        return lifted

    async def stop(self, key: ConversationKey) -> Turn | None:
        """End the running turn of a conversation; None when there is none, or it had just ended by itself."""
        running = self.lanes.running(key.encode())
        if running is None:
            return None
        at, turn_id = self.clock.now(), running.turn.id

        def cancel(tx: Tx) -> bool:
            found = turns.by_id(tx, turn_id)
            if not turns.end(tx, turn_id, Outcome(TurnState.CANCELLED, "stopped by the person"), at=at):
                return False
            if found is not None and found.state is TurnState.RUNNING:
                limits.settle(tx, found, turns.used(tx, turn_id), {}, day=limits.day_of(at))
            turn = running.turn
            audit.append(
                tx, at=at, kind="turn.cancelled", actor=turn.lineage.human or turn.origin.value,
                subject=str(turn.address), target=turn.profile, rule="stopped by the person", turn_id=turn_id,
            )  # fmt: skip
            return True

        if not await self.ledger.write(cancel):
            return None
        running.scope.cancel()
        return running.turn

    async def submit(self, request: Request) -> Turn:
        """Queue a turn that does not come from a message: a schedule, a retry."""
        at = self.clock.now()
        turn = await self.ledger.write(lambda tx: turns.insert(tx, request, at=at))
        self.lanes.offer(turn)
        return turn
