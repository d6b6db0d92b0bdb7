"""The engine of benches and of tests that are about something else: no model at all."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from hermesd.ports import EngineReply, EngineRequest, Row, ToolGate, Usage


@dataclass(frozen=True, slots=True)
class NullEngine:
    """Answers `ok: <prompt>` at once."""

    label: str = "null:echo"

    async def run(
        self, request: EngineRequest, gate: ToolGate, *, spent: Callable[[Usage], Awaitable[None]] | None = None
    ) -> EngineReply:
        usage = Usage(requests=1)
        if spent is not None:
            await spent(usage)
        text = f"ok: {request.prompt}"
        return EngineReply(text, (Row("assistant", text),), usage, self.label)

    async def summarise(self, rows: Sequence[Row], *, seconds: float) -> str:
        return f"{len(rows)} messages"
