"""`hermesd init`: from a bot's token to a first configuration, checked live before anything is written."""

import asyncio
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hermesd.cli import show
from hermesd.cli.place import ConfigOption, SeedOption, StateOption, find
from hermesd.cli.seed import copied, first_profile, private
from hermesd.cli.seed import seed as copy_samples
from hermesd.errors import OperatorError

if TYPE_CHECKING:  # the ports bring pydantic with them
    from hermesd.ports import BotSettings, Finding

TEMPLATE = """\
# Written by `hermesd init`. Every key is explained in docs/configuration.md; `hermesd check` reads it before you do.
default_profile: default

bots:
  - platform: telegram
    bot_id: {bot_id}
    token: {{file: {secret}}}
{base_url}    access:
      allow: [{people}]      # user ids; nobody else is answered
      admins: [{people}]     # may use /bind, /pause and the like
      require_mention: false # true: in groups, answer only when addressed

  - {{platform: web, bot_id: local, listen: "127.0.0.1:8600"}}   # a chat page on this machine

# /whereami in a topic prints its line, admin /bind PROFILE writes it here:
# routes:
#   telegram:
#     "-1001234567890":
#       "6": backend
#       "9": qa
"""

HOW_TO_FIND_ID = (
    "Your user id is a number that never changes. To learn it, start hermesd and send /whoami to your bot: it answers "
    "with your id and a pairing code. Then write the id under `allow` and `admins` in the configuration, or run "
    "`hermesd pairing approve CODE`."
)


def init(
    bot_id: Annotated[str, typer.Option("--bot", help="Your name for the bot.")] = "main",
    token_env: Annotated[str | None, typer.Option(metavar="NAME", help="Take the token from this variable.")] = None,
    token_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Take the token from this file.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="Your user id on the platform.")] = None,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="A local Bot API server.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing configuration.")] = False,
    seed: SeedOption = None,
    config: ConfigOption = None,
    state: StateOption = None,
) -> None:
    """Ask for a Telegram bot's token, try it, and write a first configuration."""
    place = find(config, state)
    target = place.first_config
    secret = target.parent / "secrets" / f"telegram-{bot_id}"
    bot = bot_of(bot_id, base_url)
    for path in (target, secret):
        if path.exists() and not force:
            raise OperatorError(f"{path} exists already", hint="choose another file with --config, or say --force")
    token = take_token(place.environment.variables, token_env, token_file)
    report(asyncio.run(probe(bot, token)))
    if user is None and sys.stdin.isatty():
        show.line(HOW_TO_FIND_ID, style="dim")
        user = typer.prompt("Your user id (empty: later)", default="", show_default=False).strip()
    if user and not user.isdecimal():
        raise OperatorError(f"{user!r} is not a user id", hint="it is a number, not your @name: names can change hands")
    write_private(secret, token + "\n")
    write_config(target, bot_id=bot_id, secret=f"secrets/{secret.name}", user=user or "", base_url=base_url)
    show.done(f"wrote {target}, and the token to {secret} (only you can read it)")
    if seed is not None:
        copied(copy_samples(seed, place.state))
    if first_profile(place.state):
        show.done(f"made the profile default in {place.state / 'profiles'}")
    if not user:
        show.line(HOW_TO_FIND_ID)
    said = ((" --config ", config), (" --state ", state))
    show.line(
        "start it: hermesd run" + "".join(f"{flag}{shlex.quote(str(value))}" for flag, value in said if value),
        lead="→ ", lead_style="cyan",
    )  # fmt: skip


def bot_of(bot_id: str, base_url: str | None) -> "BotSettings":
    """The settings of the new bot. Raises OperatorError for a name or an address that cannot be one."""
    from pydantic import ValidationError

    from hermesd.adapter import loading

    model = loading.plugins(["telegram"])["telegram"].settings_model
    try:
        return model.model_validate(
            {"platform": "telegram", "bot_id": bot_id, "token": "${env:TOKEN}", "base_url": base_url}
        )
    except ValidationError as error:
        wrong = {str(problem["loc"][0]) for problem in error.errors(include_input=False)}
        if "bot_id" in wrong:
            raise OperatorError(
                f"{bot_id!r} cannot name a bot", hint="--bot takes letters, digits, dots, dashes and underscores"
            ) from None
        raise OperatorError(f"{base_url!r} is not an address", hint="--base-url takes http://HOST:PORT") from None


def take_token(variables: Mapping[str, str], name: str | None, file: Path | None) -> str:
    """The token from where it was said to be, else typed without an echo. Raises OperatorError, never with a value."""
    if name is not None:
        token = variables.get(name, "")
        missing = f"the variable {name} is not set"
    elif file is not None:
        try:
            token = file.read_text()
        except OSError as error:
            raise OperatorError(f"cannot read {file}: {error.strerror}") from error
        missing = f"{file} is empty"
    else:
        missing = "no token was given"
        if sys.stdin.isatty():
            show.line("A token comes from @BotFather: /newbot for a new bot, /token for one you have.", style="dim")
            token = typer.prompt("Token", hide_input=True)
        else:
            token = sys.stdin.readline()
    if not token.strip():
        raise OperatorError(missing, hint="use --token-env NAME, --token-file FILE, or type it")
    return token.strip()


async def probe(bot: "BotSettings", token: str) -> "Sequence[Finding]":
    """What the platform says about the token."""
    from hermesd.cli.probe import look

    return await look(bot, lambda _: token)


def report(findings: "Sequence[Finding]") -> None:
    """Show what the platform said. Raises OperatorError when it would not work."""
    for finding in findings:
        mark, style = {"ok": ("✓ ", "green"), "warning": ("! ", "yellow"), "error": ("✗ ", "red")}[finding.level]
        show.line(finding.what, lead=mark, lead_style=style)
        if finding.fix:
            show.line(finding.fix, lead="  → ", lead_style="cyan")
    if any(finding.level == "error" for finding in findings):
        raise OperatorError("nothing was written", hint="a token that works is needed first")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first moment; a link in its place is not followed."""
    private(path.parent)
    path.unlink(missing_ok=True)
    opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(opened, "w") as file:
        file.write(text)


def write_config(path: Path, *, bot_id: str, secret: str, user: str, base_url: str | None) -> None:
    """Write the first configuration, as a whole or not at all."""
    text = TEMPLATE.format(
        bot_id=bot_id,
        secret=secret,
        people=f'"{user}"' if user else "",
        base_url=f'    base_url: "{base_url}"\n' if base_url else "",
    )
    fresh = path.with_name(f".{path.name}.new")
    write_private(fresh, text)
    fresh.replace(path)
