"""The doors through which strangers meet: protocols and the small values they speak; no behaviour.

Adapters import this, `message`, `address`, `markup` and `errors`, and nothing else of the core.
"""

from hermesd.ports.adapter import (
    Adapter,
    AdapterHost,
    AdapterPlugin,
    ASGIApp,
    BotState,
    Capabilities,
    Finding,
    HttpMount,
    OffersLinks,
    TellsPlace,
    TranscriptEntry,
    Whereabouts,
)
from hermesd.ports.bot import AccessSettings, BotSettings, SecretRef
from hermesd.ports.engine import Engine, EngineReply, EngineRequest, Row, Usage
from hermesd.ports.listen import Listen
from hermesd.ports.log import Log
from hermesd.ports.tool import (
    CommandResult,
    Effect,
    MemoryView,
    StepJournal,
    Tool,
    ToolCall,
    ToolGate,
    ToolOutcome,
    ToolSpec,
    TurnContext,
)

__all__ = [
    "ASGIApp",
    "AccessSettings",
    "Adapter",
    "AdapterHost",
    "AdapterPlugin",
    "BotSettings",
    "BotState",
    "Capabilities",
    "CommandResult",
    "Effect",
    "Engine",
    "EngineReply",
    "EngineRequest",
    "Finding",
    "HttpMount",
    "Listen",
    "Log",
    "MemoryView",
    "OffersLinks",
    "Row",
    "SecretRef",
    "StepJournal",
    "TellsPlace",
    "Tool",
    "ToolCall",
    "ToolGate",
    "ToolOutcome",
    "ToolSpec",
    "TranscriptEntry",
    "TurnContext",
    "Usage",
    "Whereabouts",
]
