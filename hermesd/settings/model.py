"""The configuration file as values, but for bots and routes, which have forms of their own."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator

from hermesd.ports import BotSettings, Listen
from hermesd.route import RouteTable
from hermesd.settings.name import PROFILE_NAME, ROLE_NAME

#: keys that may be written without a value, because all their lines are comments
SECTIONS = ("roles", "session_triggers", "limits", "api", "log")

Count = Annotated[int, Field(ge=1)]
ProfileName = Annotated[str, Field(pattern=PROFILE_NAME)]
RoleName = Annotated[str, Field(pattern=ROLE_NAME)]


class Section(BaseModel):
    """A mapping of the configuration file: closed, frozen, and silent about values it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class SpendLimit(Section):
    """A day's allowance; null is unlimited."""

    turns: Annotated[int | None, Field(ge=0, description="turns a day")] = None
    tokens: Annotated[int | None, Field(ge=0, description="tokens a day, read and written")] = None
    money: Annotated[float | None, Field(ge=0, description="US dollars a day")] = None


class SpendSettings(Section):
    """What may be spent in one UTC day; a warning at 80 %, a refusal at 100 %."""

    user: Annotated[SpendLimit | None, Field(description="each person")] = None
    chat: Annotated[SpendLimit | None, Field(description="each chat")] = None
    profile: Annotated[SpendLimit | None, Field(description="each profile")] = None
    day: Annotated[SpendLimit | None, Field(description="everything together")] = None


class LimitSettings(Section):
    """How much may happen at once, and how much may be spent."""

    turns: Annotated[Count, Field(description="turns running at once")] = 64
    turns_per_profile: Annotated[Count, Field(description="turns of one profile running at once")] = 8
    lane_queue: Annotated[Count, Field(description="messages that may wait in one conversation")] = 32
    spend: SpendSettings = SpendSettings()


class ApiSettings(Section):
    """The HTTP interface."""

    listen: Annotated[str, Field(description="IP:PORT")] = "127.0.0.1:8642"

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(Listen.parse(value))


class LogSettings(Section):
    """What the daemon writes to its standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Field(description="least severe line written")] = (
        "info"
    )
    format: Annotated[Literal["auto", "console", "json"], Field(description="auto: console on a terminal")] = "auto"


class RoleSettings(Section):
    """One role of the registry."""

    aliases: Annotated[tuple[str, ...], Field(description="other names people use")] = ()
    profile: Annotated[ProfileName | None, Field(description="the profile that plays it")] = None
    address: Annotated[str | None, Field(description="where it works: platform[/bot]:chat[:thread]")] = None
    limits: dict[str, Any] = Field(default_factory=dict, description="limits of this role")
    accepts_from: Annotated[tuple[RoleName, ...], Field(description="roles that may hand work to it")] = ()
    skills: Annotated[tuple[str, ...], Field(description="skills it must have")] = ()


class TriggerSource(Section):
    """What one role may hand to others."""

    allowed_targets: Annotated[tuple[RoleName, ...], Field(description="roles it may hand work to")] = ()
    max_depth: Annotated[int, Field(ge=0, le=8, description="handoffs of handoffs")] = 1
    max_concurrent_targets: Annotated[Count, Field(description="handoffs running at once")] = 4
    default_risk: Annotated[
        Literal["low", "medium", "high", "critical"], Field(description="the risk where none is declared")
    ] = "low"
    require_human_confirmation_for: Annotated[
        tuple[str, ...], Field(description="risk labels a person must confirm")
    ] = ()


class TriggerSettings(Section):
    """Trusted handoffs between roles; read and kept, not acted on yet."""

    enabled: Annotated[bool, Field(description="handoffs on or off")] = False
    sources: dict[RoleName, TriggerSource] = Field(
        default_factory=dict, description="by role: what it may hand to whom"
    )
    risks: dict[str, Any] = Field(default_factory=dict, description="risk levels and labels")
    rate: dict[str, Any] = Field(default_factory=dict, description="handoffs in a time")
    budgets: dict[str, Any] = Field(default_factory=dict, description="what handoffs may spend")
    approvers: dict[str, Any] | tuple[str, ...] = Field(
        default_factory=dict, description="who may confirm; unset: admins"
    )
    actions: dict[str, Any] = Field(default_factory=dict, description="names of actions: tools and effects")


class FileSettings(Section):
    """Every key of the file but `bots` and the forms of routes."""

    default_profile: Annotated[
        ProfileName | None, Field(description="answers where no route matches; null: nobody, visibly")
    ] = "default"
    profiles_dir: Annotated[Path, Field(description="below the state directory unless absolute")] = Path("profiles")
    roles: dict[RoleName, RoleSettings] = Field(default_factory=dict, description="roles by name")
    session_triggers: TriggerSettings = TriggerSettings()
    limits: LimitSettings = LimitSettings()
    api: ApiSettings = ApiSettings()
    drain_seconds: Annotated[
        float, Field(ge=0, le=3600, description="how long running turns may go on after SIGTERM")
    ] = 25.0
    crash_limit: Annotated[
        int, Field(ge=0, description="crashes in five minutes after which nothing is answered until resumed; 0: never")
    ] = 10
    log: LogSettings = LogSettings()
    retention_days: Annotated[
        int, Field(ge=30, le=36500, description="how long decided messages and delivered replies are kept")
    ] = 90


class Settings(FileSettings):
    """One valid configuration, as it was read."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    #: each an instance of its platform's own model; disabled ones are among them
    bots: tuple[SerializeAsAny[BotSettings], ...]
    routes: RouteTable
    #: SHA-256 of the file
    digest: str
