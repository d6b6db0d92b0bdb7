"""One turn, from claim to outcome: reserve, recall, ask the model, and commit the answer with what must be sent."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from secrets import token_hex

import anyio

from hermesd import audit
from hermesd.adapter.registry import AdapterRegistry
from hermesd.address import Address
from hermesd.clock import Clock
from hermesd.database import Database, Tx
from hermesd.delivery.outbox import Outbox
from hermesd.errors import EngineError, LedgerUnavailable, ProfileUnavailable, UserError
from hermesd.ledger import delivery
from hermesd.ledger import turn as turns
from hermesd.ledger import usage as spending
from hermesd.ledger.delivery import Delivery, Draft
from hermesd.ledger.turn import Outcome, Turn, TurnState
from hermesd.ports import Engine, EngineReply, Log, Row, ToolCall, ToolGate, ToolOutcome, ToolSpec, Usage
from hermesd.profile import ProfileContext
from hermesd.session import SessionStore
from hermesd.turn import budget, history, limits, prompt
from hermesd.turn.limits import Allowance
from hermesd.turn.tools import Toolbox

#: seconds a turn may take before the place shows that something is being prepared, and how often that is renewed
TYPING_AFTER, TYPING_EVERY = 0.5, 4.0
#: finished exchanges that are marked as filed with the next claim; until then a start would file them again, harmlessly
_FILED_AT_ONCE = 32


@dataclass(slots=True)
class TurnRunner:
    """Runs turns. Between turns it only remembers which finished exchanges still have to be marked as filed."""

    ledger: Database
    bots: AdapterRegistry
    outbox: Outbox
    tools: Toolbox
    boot: int
    clock: Clock
    log: Log
    #: the spending limits in force
    allowances: Callable[[], Mapping[str, Allowance]]
    #: ids the turn's chat had before it migrated
    formerly: Callable[[Turn], tuple[str, ...]]
    _filed: list[str] = field(default_factory=list)

    async def run(self, turn: Turn, ctx: ProfileContext) -> None:
        """Bring a queued turn to a terminal state and its answer to the outbox.

        Raises ProfileUnavailable, with the turn queued again, when the profile's own store cannot be used.
        """
        try:
            # a profile that cannot be used shows it here, before anything is claimed
            async with ctx.sessions() as store:
                engine, claimed = ctx.agent, await self._claim(turn)
                if claimed is not None:
                    turn = claimed
                    await self._answer(turn, ctx, store, engine)
        except ProfileUnavailable:
            if await self.ledger.write(lambda tx: _give_back(tx, turn.id)):
                raise
        except EngineError as error:
            ctx.log.warning("no answer", action="turn.failed", turn=turn.id, detail=error.message)
            await self._end(turn, Outcome(TurnState.FAILED, error.message), apology(error))
        except UserError as error:
            await self._end(turn, Outcome(TurnState.REFUSED, error.message), error.told)
        except Exception as error:  # a turn always ends visibly, whatever was wrong
            ctx.log.error("turn failed", action="turn.failed", turn=turn.id, exc_info=error)
            text = "Something went wrong inside me; my operator finds it in the log. /retry tries again."
            await self._end(turn, Outcome(TurnState.FAILED, type(error).__name__), text)

    async def refuse(self, turn: Turn, reason: str, text: str) -> None:
        """End a waiting turn that is not to run, visibly."""
        await self._end(turn, Outcome(TurnState.REFUSED, reason), text)

    async def flush(self) -> None:
        """Write what is only remembered; called before the daemon ends, which a full disk must not prevent."""
        filed = self._take_filed()
        if not filed:
            return
        try:
            await self.ledger.write(lambda tx: turns.mark_filed(tx, filed), give_up=1.0)
        except LedgerUnavailable as error:
            # harmless: the next start files them again, which changes nothing
            self.log.warning("exchanges not marked as filed", action="turn.flush", detail=error.message)

    # --- the story -------------------------------------------------------------------------------------------------

    async def _claim(self, turn: Turn) -> Turn | None:
        """Count the attempt and reserve room before anything runs; a used-up limit is told here.

        Returns the turn as the ledger has it now (its text may have been edited while it waited), None when it is not
        to run.
        """
        at, day = self.clock.now(), limits.day_of(self.clock.now())
        allowances = self.allowances()
        filed = self._take_filed() if len(self._filed) >= _FILED_AT_ONCE else ()

        def claim(tx: Tx) -> tuple[Turn | None, tuple[Delivery, ...]]:
            if filed:
                turns.mark_filed(tx, filed)
            begun = turns.start(tx, turn.id, boot=self.boot, at=at)
            if begun is None:
                return None, ()
            refusal = limits.reserve(tx, turn, allowances, day=day)
            if refusal is None:
                return replace(turn, text=begun[0], attempts=begun[1], state=TurnState.RUNNING), ()
            turns.end(tx, turn.id, Outcome(TurnState.REFUSED, "limit"), at=at)
            self._record(tx, turn, "turn.refused", at, rule="limit")
            draft = Draft(token_hex(12), turn.address, 1, 1, refusal, turn.message_key)
            return None, delivery.insert(tx, [draft], turn_id=turn.id, boot=self.boot, at=at)

        claimed, rows = await self.ledger.write(claim)
        self.outbox.add(rows)
        return claimed

    async def _answer(self, turn: Turn, ctx: ProfileContext, store: SessionStore, engine: Engine) -> None:
        formerly = self.formerly(turn)
        session, past = await history.begin(store, turn, formerly, ctx)
        memory = self.tools.memory(turn, ctx, formerly)
        voice = prompt.Voice(
            ctx.name, ctx.soul, await memory.read(), turn.address, turn.user_name, self.tools.names(ctx)
        )
        request = budget.request(ctx.settings.model, prompt.build(voice), past, turn.text)
        gate = _Metered(self.tools.gate(turn, ctx, memory))
        reply = await self._while_typing(turn, partial(engine.run, request, gate, spent=self._meter(turn, gate)))
        outcome = Outcome(
            TurnState.DONE, session_id=session.id, reply=reply.text, rows=reply.rows, usage=reply.usage,
            model=reply.model,
        )  # fmt: skip
        if await self._end(turn, outcome, reply.text):
            await self._file(turn, session.id, reply, store)

    def _meter(self, turn: Turn, gate: "_Metered") -> Callable[[Usage], Awaitable[None]] | None:
        allowances = self.allowances()

        async def spent(so_far: Usage) -> None:
            day = limits.day_of(self.clock.now())

            def record(tx: Tx) -> bool:
                turns.spent(tx, turn.id, so_far)
                return limits.over(tx, turn, so_far, allowances, day=day)

            gate.used_up = await self.ledger.write(record)

        return spent if allowances else None

    async def _end(self, turn: Turn, outcome: Outcome, text: str) -> bool:
        """Outcome, delivery rows, settled usage and audit in one commit; False when the turn had ended already."""
        drafts = self.outbox.drafts(turn.address, text, reply_to=self._reply_to(turn))
        at, allowances = self.clock.now(), self.allowances()

        def finish(tx: Tx, begin: bool) -> tuple[Sequence[Delivery], _Ended] | None:
            if not turns.end(tx, turn.id, outcome, at=at):
                spending.release(tx, turn.id)
                return None
            used = outcome.usage if outcome.state is TurnState.DONE else turns.used(tx, turn.id)
            warning = limits.settle(tx, turn, used, allowances, day=limits.day_of(at))
            self._record(tx, turn, f"turn.{outcome.state}", at, rule=outcome.reason)
            rows = delivery.insert(tx, drafts, turn_id=turn.id, boot=self.boot, at=at, begin_first=begin)
            return rows, _Ended(warning)

        ended = await self.outbox.store(turn.address, finish)
        if ended is not None and ended.warning is not None:
            await self.outbox.post(turn.address, ended.warning)
        return ended is not None

    async def _file(self, turn: Turn, session_id: str, reply: EngineReply, store: SessionStore) -> None:
        user = Row("user", turn.text)
        await store.file(turn.id, session_id, user, reply.rows, at=self.clock.now(), key=turn.key)
        self._filed.append(turn.id)

    # --- small parts -----------------------------------------------------------------------------------------------

    async def _while_typing(self, turn: Turn, work: Callable[[], Awaitable[EngineReply]]) -> EngineReply:
        done: EngineReply | Exception
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._show_typing, turn.address, name=f"typing:{turn.id}")
            try:
                done = await work()
            except Exception as error:  # noqa: BLE001  # raised below as itself, not wrapped in the group's
                done = error
            tasks.cancel_scope.cancel()
        if isinstance(done, Exception):
            raise done
        return done

    async def _show_typing(self, address: Address) -> None:
        await self.clock.sleep(TYPING_AFTER)
        while True:
            bot = self.bots.get(address.adapter)
            if bot is not None and bot.sendable and bot.adapter is not None and bot.adapter.capabilities.typing:
                try:
                    await bot.adapter.typing(address)
                except Exception as error:  # noqa: BLE001  # a sign of life that fails must not cost the answer
                    self.log.debug("typing not shown", action="typing.error", error=type(error).__name__)
                    return
            await self.clock.sleep(TYPING_EVERY)

    def _reply_to(self, turn: Turn) -> str | None:
        return turn.message_key if turn.key.kind == "group" else None

    def _record(self, tx: Tx, turn: Turn, kind: str, at: float, *, rule: str) -> None:
        actor = turn.lineage.human or turn.origin.value
        detail = {"route": turn.why, "epoch": turn.epoch, "origin": turn.origin.value}
        audit.append(
            tx, at=at, kind=kind, actor=actor, subject=str(turn.address), target=turn.profile, rule=rule,
            turn_id=turn.id, detail=detail,
        )  # fmt: skip

    def _take_filed(self) -> tuple[str, ...]:
        filed = tuple(self._filed)
        self._filed.clear()
        return filed


@dataclass(frozen=True, slots=True)
class _Ended:
    #: a spending limit is nearly used up
    warning: str | None


@dataclass(slots=True)
class _Metered:
    """Lets a turn's last answer through when it used up a limit, but no further step."""

    gate: ToolGate
    used_up: bool = False

    @property
    def specs(self) -> Sequence[ToolSpec]:
        return self.gate.specs

    async def call(self, call: ToolCall) -> ToolOutcome:
        if self.used_up:
            raise UserError("that took the rest of a limit for today, so I stopped here", hint="/usage shows it")
        return await self.gate.call(call)


def _give_back(tx: Tx, turn_id: str) -> bool:
    """Queue a turn again that could not run; whether it waits now (it may have ended before)."""
    if turns.requeue(tx, turn_id, forget_attempt=True):
        spending.release(tx, turn_id)
    found = turns.by_id(tx, turn_id)
    return found is not None and found.state is TurnState.QUEUED


def apology(error: EngineError) -> str:
    """What the person reads when the model did not answer."""
    hint = error.hint or ("/retry tries again." if error.retryable else "My operator has to look at it.")
    return f"⚠️ I could not answer: {error.message}. {hint}"
