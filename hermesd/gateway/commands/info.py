"""Commands that show how things are."""

from hermesd import __version__
from hermesd.address import Address
from hermesd.errors import ProfileUnavailable
from hermesd.gateway.commands.call import Answer, Call
from hermesd.ledger import usage
from hermesd.ledger.pause import scopes_of
from hermesd.ledger.usage import Spent, Window
from hermesd.route import route_lines
from hermesd.turn.limits import day_of
from hermesd.turn.spend import allowances


async def profile(call: Call) -> Answer:
    """The routed profile, the route that led here, and the config epoch."""
    epoch = call.desk.live.snapshot.epoch
    name = call.resolution.profile
    if name is None:
        hint = "/whereami shows the line that routes this place."
        return Answer(f"No profile: {call.resolution.why}. Config epoch {epoch}.\n{hint}")
    lines = [f"Profile: **{name}**", f"- why: {_why(call)}", f"- config epoch: {epoch}"]
    if isinstance(call.profile, ProfileUnavailable):
        lines.append(f"- unavailable: {call.profile.message}")
    else:
        lines.append(f"- model: {call.profile.agent.label}")
    return Answer("\n".join(lines))


def _why(call: Call) -> str:
    # where the configuration lies is nobody's business but the operator's
    route = call.resolution.route
    return call.resolution.why if call.rights.bot or route is None else f"route {route.label}"


async def whoami(call: Call) -> Answer:
    sender, key = call.message.sender, call.message.address.adapter
    return Answer(f"You are `{sender.id}` on {key.platform}: {_role(call)} bot `{key.bot_id}`.")


def _role(call: Call) -> str:
    if call.rights.bot:
        return "an admin of"
    return "an admin of this profile, talking to" if call.rights.profile else "somebody who may talk to"


async def whereami(call: Call) -> Answer:
    """Nobody knows topic ids by heart."""
    address = call.message.address
    bots = [key.bot_id for key in call.desk.bots.of_platform(address.adapter.platform)]
    lines = route_lines(address, call.resolution.profile or "PROFILE", bots)
    hint = "\nAdmins: /bind PROFILE writes it for you." if call.rights.bot else ""
    return Answer(f"This place is `{address}`.\n```yaml\n{lines}\n```{hint}")


async def status(call: Call) -> Answer:
    """This place first; the whole daemon for admins."""
    desk, address = call.desk, call.message.address
    bot = desk.bots[address.adapter]
    lines = [f"hermesd {__version__}, config epoch {desk.live.snapshot.epoch}", f"- bot {bot.key}: {bot.state}"]
    if call.key is not None:
        name = call.key.encode()
        busy = "working on an answer" if desk.lanes.running(name) else "idle"
        lines.append(f"- here: {busy}, {desk.lanes.waiting(name)} waiting")
    lines += [f"- paused: {s}" for s in scopes_of(address, call.resolution.profile) if s in desk.live.pauses]
    if call.rights.bot:
        lines += _whole_daemon(call)
    return Answer("\n".join(lines))


def _whole_daemon(call: Call) -> list[str]:
    desk = call.desk
    lines = [f"- turns running: {desk.lanes.total}", f"- database: {desk.ledger.health.state}"]
    lines += [f"- bot {bot.key}: {bot.state} {bot.detail}".rstrip() for bot in desk.bots.values()]
    report = desk.last_reload()
    if report is not None:
        lines.append(f"- last reload: {report['result']}")
        lines += [f"  - rejected: {item}" for item in report["rejected"]]
    return lines


async def usage_(call: Call) -> Answer:
    desk, address = call.desk, call.message.address
    day = day_of(desk.clock.now())
    windows = {
        "you": Window(day, "user", f"{address.adapter}:{call.message.sender.id}"),
        "this chat": Window(day, "chat", str(Address(address.adapter, address.chat_id))),
    }
    if call.resolution.profile is not None:
        windows["this profile"] = Window(day, "profile", call.resolution.profile)
    counted = await desk.ledger.read(lambda tx: {name: usage.counted(tx, w)[0] for name, w in windows.items()})
    allowed = allowances(desk.live.snapshot.settings.limits)
    lines = []
    for name, spent in counted.items():
        limit = allowed.get(windows[name].scope)
        lines.append(f"- {name}: {_amount(spent)}" + (f" ({limit.share(spent):.0%} of the limit)" if limit else ""))
    return Answer(f"Today ({day}, UTC):\n" + "\n".join(lines))


def _amount(spent: Spent) -> str:
    money = f", ${spent.money:.2f}" if spent.money else ""
    return f"{spent.turns} turns, {spent.tokens:,} tokens{money}"
