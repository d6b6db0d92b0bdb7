"""`hermesd run`: the daemon itself, in the foreground."""

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hermesd import __version__
from hermesd.cli import show
from hermesd.cli.place import ConfigOption, SeedOption, StateOption, find
from hermesd.cli.seed import copied
from hermesd.cli.seed import seed as copy_samples

if TYPE_CHECKING:  # only the daemon's own process loads its modules
    from hermesd.notify import Ready


def run(
    config: ConfigOption = None,
    state: StateOption = None,
    seed: SeedOption = None,
    log_format: Annotated[
        Literal["auto", "json", "console"] | None,
        typer.Option(help="auto: text on a terminal, JSON lines elsewhere. Beats the file.", show_default=False),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        typer.Option(help="Least serious lines. Beats the file.", show_default=False),
    ] = None,
) -> None:
    """Run the daemon in the foreground until SIGTERM or Ctrl-C; SIGHUP reloads."""
    place = find(config, state)
    if seed is not None:
        copied(copy_samples(seed, place.state))
    # the whole house, SDKs included: a second of imports that no other command pays for
    import uvloop

    from hermesd import daemon
    from hermesd.clock import SystemClock
    from hermesd.logs import Logging

    clock, environment = SystemClock(), place.environment
    logging = Logging.on(clock, sys.stderr, form=log_format, level=log_level)
    with logging.routed(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        life = daemon.run(
            place.config,
            place.state,
            environment=environment,
            clock=clock,
            logging=logging,
            on_ready=banner if environment.notify_socket is None else lambda ready: None,
        )
        code = runner.run(life)
    raise typer.Exit(code)


def banner(ready: "Ready") -> None:
    """Greet whoever started it, and show the links with their tokens; under systemd they would end in the journal."""
    show.line("")
    show.line(f"hermesd {__version__} is up", lead="● ", lead_style="green", style="bold")
    show.pairs(
        (
            *(("chat here", link) for link in ready.links),
            ("bots", ready.bots or "none yet: `hermesd init` connects one"),
            ("profiles", ready.profiles),
            ("stop", "Ctrl-C; running turns finish or are kept"),
        )
    )
    for trouble in ready.troubles:
        show.line(trouble, lead="! ", lead_style="yellow")
    if not ready.links and not ready.troubles:
        show.line("no chat page is open; `hermesd bots` says how each bot is doing", lead="! ", lead_style="yellow")
    show.line("")
