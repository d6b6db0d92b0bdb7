"""`hermesd pairing`: let people in who asked for it."""

from typing import Annotated

import typer

from hermesd.cli import show
from hermesd.cli.place import ConfigOption, JsonOption, StateOption, find

CodeArgument = Annotated[str, typer.Argument(metavar="CODE", help="The code the person was shown.")]


def list_(config: ConfigOption = None, state: StateOption = None, json: JsonOption = False) -> None:
    """List who waits to be let in."""
    answer = find(config, state).ask("pairing_list")
    if json:
        show.data(answer)
        return
    show.table(
        ("code", "bot", "user id", "name", "asked", "expires"),
        (
            (
                row.get("code"),
                row.get("key"),
                row.get("user_id"),
                row.get("user_name"),
                show.short_moment(row.get("created_at")),
                show.short_moment(row.get("expires_at")),
            )
            for row in answer
        ),
        fold=("name",),
        empty="nobody waits",
    )


def approve(
    code: CodeArgument, config: ConfigOption = None, state: StateOption = None, json: JsonOption = False
) -> None:
    """Let the person with this code talk to the bot."""
    answer = find(config, state).ask("pairing_approve", code=code)
    if json:
        show.data(answer)
    else:
        show.done(f"{_who(answer)} may talk to {answer.get('key', 'the bot')} now")


def deny(code: CodeArgument, config: ConfigOption = None, state: StateOption = None, json: JsonOption = False) -> None:
    """Refuse the person with this code."""
    answer = find(config, state).ask("pairing_deny", code=code)
    if json:
        show.data(answer)
    else:
        show.done(f"{_who(answer)} is refused")


def revoke(
    bot: Annotated[str, typer.Argument(metavar="BOT", help="The bot, as `hermesd bots` names it: telegram/main.")],
    user: Annotated[str, typer.Argument(metavar="USER", help="The person's user id.")],
    config: ConfigOption = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> None:
    """Take back what an approval gave; whom the configuration allows stays allowed."""
    answer = find(config, state).ask("pairing_revoke", bot=bot, user=user)
    if json:
        show.data(answer)
    else:
        show.done(f"user {answer.get('user_id', user)} may no longer talk to {answer.get('key', bot)}")


def _who(answer: dict[str, str]) -> str:
    """The id first: a name is decoration that anybody can choose."""
    name = f" ({answer['user_name']})" if answer.get("user_name") else ""
    return f"user {answer.get('user_id', '?')}{name}"
