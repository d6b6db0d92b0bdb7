"""The one command table: menus, help and dispatch are made from it."""

from dataclasses import dataclass
from difflib import get_close_matches

from hermesd.errors import UserError
from hermesd.gateway.access import BOT_ADMIN, NO_RIGHTS, PROFILE_ADMIN
from hermesd.gateway.commands import admin, conversation, info
from hermesd.gateway.commands.call import Answer, Call, Command


async def help_(call: Call) -> Answer:
    """Made from the table itself."""
    shown = [command for command in COMMANDS if call.rights.cover(command.needs)]
    lines = [f"/{c.name}{f' {c.usage}' if c.usage else ''}: {c.help}{_for_whom(c)}" for c in shown]
    name = call.resolution.profile
    who = f"Profile `{name}` answers here." if name else "No profile is routed here."
    return Answer(f"Write to me as you would to a person. {who}\n\n" + "\n".join(f"- {line}" for line in lines))


def _for_whom(command: Command) -> str:
    return " (admin)" if command.needs.profile else ""


COMMANDS: tuple[Command, ...] = (
    Command("help", "what I understand", help_, aliases=("start", "commands")),
    Command("profile", "which profile answers here, and why", info.profile),
    Command("whoami", "your id on this platform, and what you may do", info.whoami),
    Command("whereami", "the address of this place and the line that routes it", info.whereami),
    Command("status", "what is running and waiting", info.status),
    Command("new", "start a new conversation", conversation.new, aliases=("reset",), once=True, usage="[title]"),
    Command("stop", "stop the answer that is being worked on", conversation.stop),
    Command("retry", "ask the last message again", conversation.retry, once=True),
    Command("undo", "forget the last exchange", conversation.undo, once=True),
    Command("usage", "turns, tokens and money of today, and the limits", info.usage_),
    Command("sessions", "your conversations here", conversation.sessions),
    Command("resume", "go back to an earlier conversation", conversation.resume, usage="<id>"),
    Command("title", "name this conversation", conversation.title, usage="<text>"),
    Command(
        "pause",
        "stop answering; /resume goes on",
        admin.pause,
        needs=PROFILE_ADMIN,
        usage="[all|bot|profile|chat] [note]",
    ),
    Command("bind", "let a profile answer here", admin.bind, needs=BOT_ADMIN, usage="<profile>"),
    Command("reload", "read the configuration again", admin.reload, needs=BOT_ADMIN),
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A text that is a command."""

    name: str
    args: str


def parse(text: str) -> Parsed | None:
    """`/name args`, `/name@bot args` and `!name args`; None for anything else, paths and lone slashes included."""
    if text[:1] not in ("/", "!") or len(text) < 2:
        return None
    head, _, args = text[1:].partition(" ") if "\n" not in text.split(" ", 1)[0] else text[1:].partition("\n")
    name = head.partition("@")[0].lower()
    if not name.isascii() or not name.replace("_", "").isalpha() or (text[0] == "!" and find(name) is None):
        return None
    return Parsed(name, args.strip())


def find(name: str) -> Command | None:
    """The command of that name or alias."""
    return next((command for command in COMMANDS if name == command.name or name in command.aliases), None)


def menu() -> tuple[tuple[str, str], ...]:
    """What a platform's own command menu shows: everything everybody may use."""
    return tuple((command.name, command.help) for command in COMMANDS if command.needs == NO_RIGHTS)


async def answer(parsed: Parsed, call: Call) -> Answer:
    """Run a command; everything it has to say against it comes back as text."""
    command = find(parsed.name)
    if command is None:
        near = get_close_matches(parsed.name, [known.name for known in COMMANDS], 1)
        hint = f" Did you mean /{near[0]}?" if near else ""
        return Answer(f"I do not know /{parsed.name}.{hint} /help lists what I understand.")
    if not call.rights.cover(command.needs):
        whose = "this bot's" if command.needs.bot else "this bot's or this profile's"
        return Answer(
            f"/{command.name} is for {whose} admins. Your id is `{call.message.sender.id}`; "
            "whoever runs me can add it to `access.admins`."
        )
    try:
        return await command.handler(call)
    except UserError as error:
        return Answer(error.told)
