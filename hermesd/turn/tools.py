"""What a turn's tools get: this profile's memory, workspace and processes, and the way back to where it came from."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hermesd.address import Address
from hermesd.clock import Clock
from hermesd.database import Database
from hermesd.delivery.outbox import Outbox
from hermesd.errors import UserError
from hermesd.ledger import delivery
from hermesd.ledger.turn import Turn
from hermesd.ports import CommandResult, MemoryView, Tool, TurnContext
from hermesd.process import Launcher, child_env
from hermesd.profile import ProfileContext
from hermesd.tool.gate import Gate
from hermesd.tool.registry import ToolRegistry
from hermesd.turn.journal import TurnJournal


@dataclass(frozen=True, slots=True)
class Toolbox:
    """Builds the gate of one turn."""

    registry: ToolRegistry
    ledger: Database
    outbox: Outbox
    launcher: Launcher
    clock: Clock
    boot: int
    #: whether a profile may write to a place its turn did not come from
    may_write: Callable[[str, Address], bool]
    #: takes known secrets out of what a model sees
    redact: Callable[[str], str]

    def names(self, ctx: ProfileContext) -> tuple[str, ...]:
        """The tools a profile has, for its prompt."""
        return tuple(tool.spec.name for tool in self._tools(ctx))

    def memory(self, turn: Turn, ctx: ProfileContext, formerly: Sequence[str]) -> MemoryView:
        """The profile's memory as this chat may see it; a chat that migrated keeps the scope of its first id."""
        chat = Address(turn.address.adapter, formerly[0] if formerly else turn.address.chat_id)
        return ctx.memory.view(str(chat))

    def gate(self, turn: Turn, ctx: ProfileContext, memory: MemoryView) -> Gate:
        """The only way from this turn's model to a tool."""
        return Gate(
            self._tools(ctx),
            TurnContext(
                profile=ctx.name,
                turn_id=turn.id,
                address=turn.address,
                memory=memory,
                workspace=ctx.workspace,
                send=self._sender(turn),
                launch=self._launch(ctx),
                log=ctx.log.bind(turn=turn.id),
            ),
            TurnJournal(self.ledger, turn.id, self.clock),
            redact=self.redact,
        )

    def _tools(self, ctx: ProfileContext) -> tuple[Tool, ...]:
        chosen = self.registry.select(ctx.settings.toolsets)
        if ctx.settings.memory.memory_enabled:
            return chosen
        return tuple(tool for tool in chosen if tool.spec.name != "memory")

    def _sender(self, turn: Turn) -> Callable[[str, Address | None], Awaitable[str]]:
        async def send(text: str, to: Address | None) -> str:
            address = turn.address if to is None else to
            if address != turn.address and not self.may_write(turn.profile, address):
                raise UserError(
                    f"profile {turn.profile} may not write to {address}",
                    hint="it may write to places that are routed to it, and to where this turn came from",
                )
            drafts, at = self.outbox.drafts(address, text), self.clock.now()
            rows = await self.ledger.write(
                lambda tx: delivery.insert(tx, drafts, turn_id=turn.id, boot=self.boot, at=at)
            )
            self.outbox.add(rows)
            return rows[0].id

        return send

    def _launch(self, ctx: ProfileContext) -> Callable[[Sequence[str], float], Awaitable[CommandResult]]:
        async def launch(argv: Sequence[str], seconds: float) -> CommandResult:
            env: Mapping[str, str] = child_env(ctx.secrets, *_private(ctx))
            allowed = min(seconds, ctx.settings.terminal.timeout)
            return await self.launcher.run(argv, env=env, cwd=ctx.workspace, seconds=allowed)

        return launch


def _private(ctx: ProfileContext) -> tuple[Path, Path]:
    """A profile's own HOME and TMPDIR, made where they are missing."""
    places = ctx.home.path / "home", ctx.home.path / "tmp"
    for place in places:
        place.mkdir(mode=0o700, exist_ok=True)
    return places
