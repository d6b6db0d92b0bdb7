"""The command line put together."""

import sys
from collections.abc import Callable, Mapping, Sequence

import typer

from hermesd import __version__
from hermesd.cli import audit, check, doctor, init, pairing, profiles, routes, run, show, status, steer
from hermesd.cli.place import JsonOption
from hermesd.errors import HermesdError

ABOUT = "One daemon, many chat bots: every conversation reaches its own profile, and nothing is lost."
CODES = "Exit codes: 0 done, 1 failed, 2 wrong usage, 69 not running, 78 file refused."


def version(json: JsonOption = False) -> None:
    """Print the version."""
    if json:
        import platform
        import sqlite3

        python = platform.python_version()
        show.data({"hermesd": __version__, "python": python, "sqlite": sqlite3.sqlite_version})
    else:
        print(f"hermesd {__version__}")


Command = Callable[..., None]

COMMANDS: Mapping[str, Command] = {
    "run": run.run,
    "check": check.check,
    "init": init.init,
    "status": status.status,
    "doctor": doctor.doctor,
    "reload": steer.reload,
    "pause": steer.pause,
    "resume": steer.resume,
    "bots": status.bots,
    "sessions": status.sessions,
    "version": version,
}

GROUPS: Mapping[str, tuple[str, Mapping[str, Command]]] = {
    "routes": (
        "Which conversation goes to which profile, and why.",
        {"list": routes.list_, "explain": routes.explain},
    ),
    "profiles": ("The profiles and whether they can run.", {"list": profiles.list_, "show": profiles.show_}),
    "audit": ("What was decided, and proof that the record is whole.", {"tail": audit.tail, "verify": audit.verify}),
    "pairing": (
        "People who asked to be let in.",
        {"list": pairing.list_, "approve": pairing.approve, "deny": pairing.deny, "revoke": pairing.revoke},
    ),
}


def build() -> typer.Typer:
    """Every command and group, under the names of the documentation."""
    app = typer.Typer(name="hermesd", help=ABOUT, epilog=CODES, no_args_is_help=True, pretty_exceptions_enable=False)
    for name, command in COMMANDS.items():
        app.command(name)(command)
    for name, (about, commands) in GROUPS.items():
        group = typer.Typer(help=about, no_args_is_help=True)
        for verb, command in commands.items():
            group.command(verb)(command)
        app.add_typer(group, name=name)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    try:
        build()(args=list(arguments) if arguments is not None else None)
    except HermesdError as problem:
        show.error(problem)
        sys.exit(show.code_of(problem))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # `hermesd audit tail | head`: the reader has seen enough
        sys.stderr.close()
        sys.exit(0)
