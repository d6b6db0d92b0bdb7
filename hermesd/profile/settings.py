"""What a profile's `config.yaml` says, in the keys Hermes uses."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hermesd.ports import AccessSettings

#: top-level keys of a Hermes config.yaml that mean nothing here and are no mistake
_HERMES_ONLY = frozenset(
    {
        "_config_version",
        "agent",
        "approvals",
        "auxiliary",
        "bedrock",
        "browser",
        "checkpoints",
        "code_execution",
        "command_allowlist",
        "compression",
        "credential_pool_strategies",
        "cron",
        "curator",
        "custom_providers",
        "dashboard",
        "delegation",
        "discord",
        "display",
        "fallback_model",
        "fallback_providers",
        "file_read_max_chars",
        "gateway",
        "honcho",
        "hooks",
        "human_delay",
        "image_gen",
        "kanban",
        "logging",
        "mattermost",
        "mcp_servers",
        "network",
        "onboarding",
        "openrouter",
        "personalities",
        "platform_toolsets",
        "platforms",
        "plugins",
        "prefill_messages_file",
        "privacy",
        "prompt_caching",
        "providers",
        "quick_commands",
        "security",
        "session_reset",
        "sessions",
        "signal",
        "skills",
        "skin",
        "slack",
        "smart_model_routing",
        "streaming",
        "stt",
        "telegram",
        "timezone",
        "tirith",
        "tts",
        "updates",
        "voice",
        "web",
        "whatsapp",
    }
)


class _Block(BaseModel):
    # Hermes writes more keys into these blocks than are used here
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class MemorySettings(_Block):
    """What the profile may remember."""

    memory_enabled: bool = True
    user_profile_enabled: bool = True
    memory_char_limit: Annotated[int, Field(ge=0, le=100_000)] = 2200
    user_char_limit: Annotated[int, Field(ge=0, le=100_000)] = 1375

    def limits(self) -> dict[Literal["memory", "user"], int]:
        """Characters each target may hold; 0 where it is switched off."""
        user = self.memory_enabled and self.user_profile_enabled
        return {
            "memory": self.memory_char_limit if self.memory_enabled else 0,
            "user": self.user_char_limit if user else 0,
        }


class TerminalSettings(_Block):
    """Where commands run."""

    cwd: Annotated[str, Field(description="`.` is the profile's workspace; relative paths begin at its home")] = "."
    timeout: Annotated[float, Field(gt=0, le=3600, description="seconds a command may take")] = 180.0


class ContextSettings(_Block):
    """How much of a conversation a model gets to see."""

    window: Annotated[int, Field(ge=500, le=2_000_000, description="tokens of history in a prompt")] = 24_000
    compact: Annotated[bool, Field(description="condense what no longer fits instead of dropping it")] = True


class ProfileSettings(_Block):
    """One profile's config.yaml; every key has a default."""

    #: whatever the daemon's model reader made of the block; None = no model is configured
    model: Any = None
    toolsets: tuple[str, ...] | None = None
    memory: MemorySettings = MemorySettings()
    terminal: TerminalSettings = TerminalSettings()
    context: ContextSettings = ContextSettings()
    #: beside the bot's own rule; None = the bot's rule alone decides
    access: AccessSettings | None = None
    group_sessions_per_user: bool = True
    thread_sessions_per_user: bool = False

    def workdir(self, home: Path, workspace: Path) -> Path:
        """Where tools of this profile work."""
        return workspace if self.terminal.cwd in ("", ".", "workspace") else home / self.terminal.cwd


def stray(keys: Iterable[str]) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Of the top-level keys nobody here reads: (key, the one it was probably meant to be), and the rest."""
    unknown = [key for key in keys if key not in ProfileSettings.model_fields and not key.startswith("x-")]
    typos: list[tuple[str, str]] = []
    rest: list[str] = []
    for key in unknown:
        near = [] if key in _HERMES_ONLY else difflib.get_close_matches(key, ProfileSettings.model_fields, 1, 0.75)
        if near:
            typos.append((key, near[0]))
        else:
            rest.append(key)
    return tuple(typos), tuple(rest)
