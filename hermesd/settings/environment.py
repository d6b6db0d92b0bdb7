"""The process environment, read once; nothing else in the house looks at it and nobody writes it."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Self

from pydantic import Field, PrivateAttr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from hermesd.errors import ConfigError, Problem
from hermesd.settings.secret import SecretSource


class Environment(BaseSettings):
    """Variables of hermesd's own and of systemd. A flag beats HERMESD_*, that beats systemd, that the defaults."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True, case_sensitive=False
    )

    hermesd_config: Annotated[Path | None, Field(description="the configuration file")] = None
    hermesd_state: Annotated[Path | None, Field(description="the state directory")] = None
    configuration_directory: Annotated[Path | None, Field(description="systemd ConfigurationDirectory=")] = None
    state_directory: Annotated[Path | None, Field(description="systemd StateDirectory=")] = None
    credentials_directory: Annotated[Path | None, Field(description="systemd LoadCredential=")] = None
    notify_socket: Annotated[str | None, Field(description="systemd Type=notify")] = None
    watchdog_usec: Annotated[int | None, Field(gt=0, description="systemd WatchdogSec=, in microseconds")] = None
    watchdog_pid: Annotated[int | None, Field(gt=0, description="the process systemd's watchdog is about")] = None

    _variables: Mapping[str, str] = PrivateAttr(default_factory=lambda: MappingProxyType(dict(os.environ)))

    @classmethod
    def read(cls, *, config: Path | None = None, state: Path | None = None) -> Self:
        """The environment as it is now, with the command line's flags over it. Raises ConfigError."""
        flags: dict[str, Any] = {"hermesd_config": config, "hermesd_state": state}
        try:
            return cls(**{name: value for name, value in flags.items() if value is not None})
        except ValidationError as error:
            problems = [
                Problem("environment", 0, 0, str(item["loc"][0]).upper(), item["msg"], "correct or unset it")
                for item in error.errors(include_input=False)
            ]
            raise ConfigError(tuple(problems)) from None

    @field_validator("configuration_directory", "state_directory", mode="before")
    @classmethod
    def _first_of_list(cls, value: Any) -> Any:
        # systemd joins several directories with colons; the unit's first one is ours
        return value.split(":")[0] if isinstance(value, str) else value

    @property
    def config(self) -> Path:
        """The configuration file."""
        if self.hermesd_config is not None:
            return self.hermesd_config
        if self.configuration_directory is not None:
            return self.configuration_directory / "hermesd.yaml"
        return Path("config/hermesd.yaml")

    @property
    def state(self) -> Path:
        """The state directory, absolute."""
        return (self.hermesd_state or self.state_directory or Path(".hermesd")).absolute()

    @property
    def variables(self) -> Mapping[str, str]:
        """Every variable as it was at start: `${env:NAME}` of the configuration file looks here."""
        return self._variables

    def secrets(self, config: Path) -> SecretSource:
        """What references in this configuration file lead to."""
        return SecretSource(self._variables, self.credentials_directory, config.absolute().parent)
