"""Commands for admins: the emergency stop and the routes."""

from collections.abc import Mapping
from typing import Any

from hermesd import audit
from hermesd.errors import UserError
from hermesd.gateway.commands import scope
from hermesd.gateway.commands.call import Answer, Call
from hermesd.ledger.pause import Pause, scopes_of


async def pause(call: Call) -> Answer:
    """Durable; messages are kept."""
    what, note = scope.read(call.args, call.message.address, call.resolution.profile)
    _check(call, what)
    new = await call.desk.pause(Pause(what, call.actor, note, call.desk.clock.now()))
    await _record(call, "pause.set", what)
    name = scope.in_words(what)
    if not new:
        return Answer(f"{name.capitalize()} was paused already.")
    return Answer(f"Paused: {name}. Messages are kept. /resume {call.args.split(' ')[0] or 'chat'} goes on.")


def _check(call: Call, what: str) -> None:
    if what.startswith(("all", "bot:")) and not call.rights.bot:
        raise UserError(
            f"stopping {scope.in_words(what)} is for this bot's admins", hint="/pause chat or profile is yours"
        )


def ends_pause(call: Call) -> bool:
    """Whether an admin's /resume means the pause and not a session."""
    if call.args:
        return call.args in scope.WORDS
    return any(s in call.desk.live.pauses for s in scopes_of(call.message.address, call.resolution.profile))


async def unpause(call: Call) -> Answer:
    """Without a word: whatever stops this very place, narrowest first."""
    stopping = scopes_of(call.message.address, call.resolution.profile)
    what, _ = scope.read(call.args, call.message.address, call.resolution.profile)
    if not call.args:
        what = next(s for s in reversed(stopping) if s in call.desk.live.pauses)
    _check(call, what)
    lifted = await call.desk.resume(what)
    await _record(call, "pause.lifted", what)
    still = next((s for s in stopping if s in call.desk.live.pauses), None)
    rest = f" Still paused: {scope.in_words(still)}." if still else ""
    return Answer((f"Going on: {scope.in_words(what)}." if lifted else "That was not paused.") + rest)


async def bind(call: Call) -> Answer:
    """Write the route of this place into hermesd.yaml and reload."""
    if not call.args:
        names = ", ".join(f"`{name}`" for name in call.desk.profiles)
        raise UserError("Which profile?", hint=f"/bind NAME with one of: {names}")
    written = await call.desk.bind(call.message.address, call.args)
    await _record(call, "route.bound", call.args)
    return Answer(f"Done: `{call.args}` answers here from the next message on. In the configuration: `{written}`")


async def reload(call: Call) -> Answer:
    """The same as SIGHUP."""
    return Answer(report_in_words(await call.desk.reload()))


def report_in_words(report: Mapping[str, Any]) -> str:
    """A reload's report for people."""
    lines = [f"Reload: {report['result']} (config epoch {report['epoch']})."]
    for name in ("applied", "needs_restart", "rejected"):
        lines += [f"- {name.replace('_', ' ')}: {item}" for item in report[name]]
    return "\n".join(lines)


async def _record(call: Call, kind: str, target: str) -> None:
    at, actor, where = call.desk.clock.now(), call.actor, str(call.message.address)
    await call.desk.ledger.write(
        lambda tx: audit.append(tx, at=at, kind=kind, actor=actor, subject=where, target=target)
    )
