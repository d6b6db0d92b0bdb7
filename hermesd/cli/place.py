"""Which configuration and which state directory a command is about."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hermesd import control

if TYPE_CHECKING:  # settings bring pydantic with them; a command that only asks the daemon does without
    from hermesd.settings.environment import Environment

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration. Default: $HERMESD_CONFIG, hermesd.yaml in the state directory, config/hermesd.yaml.",
    ),
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state", "-s", metavar="DIR", help="State directory. Default: $HERMESD_STATE, .hermesd."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
SeedOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Copy the sample profiles in here to the state directory, each once."),
]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many at most.")]


@dataclass(frozen=True, slots=True)
class Place:
    """One installation: what was said on the command line, else what the environment says."""

    said_config: Path | None
    said_state: Path | None

    @property
    def environment(self) -> "Environment":
        """The process environment as settings read it; loaded only where it matters."""
        from hermesd.settings.environment import Environment

        return Environment.read(config=self.said_config, state=self.said_state)

    @property
    def config(self) -> Path:
        """The configuration: said, else of the environment or systemd, else what `init` wrote, else the sample."""
        return self._named or (self.own_config if self.own_config.exists() else self.environment.config)

    @property
    def first_config(self) -> Path:
        """Where a first configuration belongs when there is none yet."""
        return self._named or self.own_config

    @property
    def own_config(self) -> Path:
        """In the state directory, where `init` puts it unless another place was said."""
        own = self.state / "hermesd.yaml"
        return own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own

    @property
    def _named(self) -> Path | None:
        environment = self.environment
        named = environment.hermesd_config is not None or environment.configuration_directory is not None
        return environment.config if named else None

    @property
    def state(self) -> Path:
        return self.said_state.absolute() if self.said_state is not None else self.environment.state

    @property
    def socket(self) -> Path:
        return self.state / "control.sock"

    def ask(self, name: str, /, **args: Any) -> Any:
        """Call the running daemon. Raises NotRunning, and the daemon's refusals."""
        return control.call(self.socket, name, **args)

    def alive(self) -> bool:
        """Whether a daemon answers on this state directory."""
        socket = self.socket
        return socket.exists() and control.listens(socket)


def find(config: Path | None, state: Path | None) -> Place:
    """Where this command looks: what was said, else the environment, systemd's directories, the working directory."""
    return Place(config, state)
