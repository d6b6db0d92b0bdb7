"""What `doctor` looks at itself: the machine, the state directory, the configuration, and bots nobody runs yet."""

import asyncio
import os
import resource
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hermesd.address import AdapterKey
from hermesd.cli import offline, probe, show
from hermesd.cli.place import Place
from hermesd.errors import HermesdError
from hermesd.ports import Finding

#: below this, several writers on one WAL file can meet a race at its reset
SAFE_SQLITE = (3, 51, 3)
#: a bot, a profile database and a browser tab each cost a few
ENOUGH_FILES = 4096
ENOUGH_SPACE = 512 * 1024 * 1024


def everything(place: Place) -> list[tuple[str, list[Finding]]]:
    """Every finding, by what it is about. Bots are asked through the running daemon, or directly when there is none."""
    alive = place.alive()
    groups = [
        ("machine", list(machine(place.state))),
        ("configuration", list(configuration(place))),
    ]
    if alive:
        return [*groups, *running(place.ask("bots"), place.ask("doctor", timeout=60.0))]
    hint = "start it with `hermesd run`"
    return [*groups, ("daemon", [Finding("warning", "hermesd is not running", hint)]), *bots(place)]


def running(states: list[dict[str, Any]], answers: list[dict[str, Any]]) -> list[tuple[str, list[Finding]]]:
    """What the daemon knows of each bot's connection, before what its platform says. Pure."""
    findings = {answer["bot"]: [Finding(**finding) for finding in answer["findings"]] for answer in answers}
    return [(bot["key"], [*_connection(bot), *findings.get(bot["key"], [])]) for bot in states]


def _connection(bot: Mapping[str, Any]) -> Iterator[Finding]:
    if bot["state"] == "starting":
        yield Finding("warning", "it is still starting", "ask again in a moment")
    elif bot["state"] != "up":
        yield Finding("error", f"{bot['state']}: {bot['detail'] or 'no reason was given'}", bot["fix"])


def bots(place: Place) -> list[tuple[str, list[Finding]]]:
    """Each configured bot asked directly; nothing is received, so a running daemon elsewhere is not disturbed."""
    try:
        settings = offline.settings(place)
    except HermesdError:
        return []  # said under "configuration" already
    read = place.environment.secrets(place.config).read
    found = []
    for bot in settings.bots:
        if bot.enabled:
            key = AdapterKey(bot.platform, bot.bot_id)
            found.append((str(key), list(asyncio.run(probe.look(bot, read, settings.routes.chats(key))))))
    return found


def machine(state: Path) -> Iterator[Finding]:
    """Python, SQLite, limits, space and the privacy of the state directory."""
    yield Finding("ok", f"Python {sys.version.split()[0]}")
    yield sqlite_finding(sqlite3.sqlite_version_info)
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < ENOUGH_FILES:
        yield Finding(
            "warning", f"only {soft} open files are allowed", "ulimit -n 65536, or LimitNOFILE=65536 in the unit"
        )
    else:
        yield Finding("ok", f"{soft} open files are allowed")
    yield from privacy(state)


def sqlite_finding(version: tuple[int, ...]) -> Finding:
    """What this SQLite means for backups."""
    text = ".".join(map(str, version))
    if version < SAFE_SQLITE:
        return Finding(
            "ok",
            f"SQLite {text}: hermesd is safe with it (one writer per file); other programs must not write to its files",
            "take backups with `sqlite3 FILE .backup`, never with cp",
        )
    return Finding("ok", f"SQLite {text}")


def privacy(state: Path) -> Iterator[Finding]:
    """Whether the state directory is there, private, ours and has room."""
    if not state.exists():
        yield Finding("warning", f"there is no state directory {state} yet", "`hermesd run` makes it")
        return
    free = shutil.disk_usage(state).free
    level, fix = ("ok", "") if free > ENOUGH_SPACE else ("error", "free some: a full disk pauses the intake")
    yield Finding("ok" if level == "ok" else "error", f"{free // (1024 * 1024)} MB free for {state}", fix)
    for path in (state, *sorted(state.glob("*.db*")), state / "control.sock"):
        if not path.exists():
            continue
        found = path.stat()
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            mode = "700" if path.is_dir() else "600"
            yield Finding("error", f"others may read {path} ({stat.filemode(found.st_mode)})", f"chmod {mode} {path}")
        if found.st_uid != os.geteuid():
            yield Finding("error", f"{path} belongs to another user", "run this as the user that runs hermesd")


def configuration(place: Place) -> Iterator[Finding]:
    """Everything `hermesd check` finds, keys of models included; the tokens of bots are looked at with the bots."""
    try:
        reading = offline.read(place)
    except HermesdError as error:
        yield Finding("error", error.message, error.hint)
        return
    problems = (*reading.problems, *reading.profile_problems)
    for problem in problems:
        yield Finding(problem.level, show.trouble(problem), problem.hint)
    if not problems:
        count = len(reading.profiles)
        yield Finding("ok", f"{place.config} and {count} profile{'' if count == 1 else 's'} are good")
