"""Criterion 5: Concurrent turns in different topics do not leak HERMES_HOME, HOME, env vars, cwd, memory, or model
settings."""

import asyncio
import json
import os
import random
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from hermesd.testing.daemon import LookoutTool
from hermesd.testing.openai import Reply, Seen
from hermesd.testing.openai.script import text_of

PROFILES = tuple(f"p{n}" for n in range(8))
ROUNDS = 13
GUARD = 60.0
_CANARY = re.compile(rb"CANARY_(p\d)_([a-z]+)_[0-9a-f]{8}")


def canary(profile: str, kind: str) -> str:
    """A secret of one profile that names its owner and occurs once in the world."""
    return f"CANARY_{profile}_{kind}_{uuid4().hex[:8]}"


def owners(text: str | bytes) -> Counter[tuple[str, str]]:
    """(profile, kind) of every canary in a text."""
    data = text if isinstance(text, bytes) else text.encode()
    return Counter((owner.decode(), kind.decode()) for owner, kind in _CANARY.findall(data))


def strangers(text: str | bytes, owner: str | None) -> list[tuple[str, str]]:
    """Canaries that are not this profile's."""
    return [found for found in owners(text) if found[0] != owner]


def furnish(world: Any, name: str) -> None:
    """A home with a canary in each place a profile keeps things."""
    world.home.profile(
        name,
        soul=f"You are {name}. {canary(name, 'soul')}",
        model=world.home.model(world.models.base_url, f"model-{name}"),
        env={"MODEL_KEY": f"key-of-{name}-{canary(name, 'key')}", "SHARED_NAME_TOKEN": canary(name, "env")},
        memory=[canary(name, "memory")],
        user=[canary(name, "user")],
        files={f"workspace/{canary(name, 'file')}.txt": canary(name, "workspace")},
        **{"x-note": canary(name, "config")},
    )


def script(seen: Seen) -> Reply:
    """A model that looks everywhere it can, tries to look next door, and repeats all it was given."""
    delay = random.uniform(0, 0.01)
    done = [call["function"]["name"] for m in _this_turn(seen) for call in m.get("tool_calls") or ()]
    me = int(seen.model[-1])
    neighbour = f"../../p{(me + 1) % 8}"
    if not done:
        return Reply(delay=delay, calls=(
            ("lookout", "{}"),
            ("memory", json.dumps({"action": "add", "target": "memory", "content": f"note {uuid4().hex[:6]}"})),
            ("search_files", json.dumps({"text": "CANARY"})),
            ("read_file", json.dumps({"path": f"{neighbour}/SOUL.md"})),
            ("read_file", json.dumps({"path": str(Path(seen.last_user.split()[-1]) / neighbour[6:] / ".env")})),
            ("write_file", json.dumps({"path": "all.txt", "content": "\n".join(map(text_of, seen.messages))[-8000:]})),
        ))  # fmt: skip
    return Reply(delay=delay, text="REVEAL " + "\n".join(map(text_of, seen.messages))[-3000:])


def _this_turn(seen: Seen) -> list[dict[str, Any]]:
    last = max(n for n, message in enumerate(seen.messages) if message.get("role") == "user")
    return seen.messages[last:]


@pytest.fixture
def eight(world: Any) -> Any:
    """Eight profiles full of canaries, each with a topic of its own and a room of its own."""
    world.bot("main")
    world.home.web("local")
    world.telegram.forum(world.forum.id, topics={100 + n: name for n, name in enumerate(PROFILES)})
    for n, name in enumerate(PROFILES):
        furnish(world, name)
        world.home.route("telegram", str(world.forum.id), str(100 + n), name)
        world.home.route("web", f"room-{name}", None, name)
    world.models.on(script)
    return world


def rows(path: Path) -> Iterator[tuple[str, sqlite3.Row]]:
    """(table, row) of everything in one database, hidden tables of the text index included."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as file:
        file.row_factory = sqlite3.Row
        for (table,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in file.execute(f'SELECT * FROM "{table}"'):
                yield table, row


def flat(row: Iterable[Any]) -> bytes:
    return b"\0".join(value if isinstance(value, bytes) else str(value).encode() for value in row)


async def talk(world: Any, daemon: Any) -> None:
    """Everybody talks at once: `ROUNDS` messages in each topic and room, handed in interleaved."""
    async with daemon.chat() as web:
        for n in range(ROUNDS):
            for number, name in enumerate(PROFILES):
                text = f"round {n} {canary(name, 'said')} {world.home.profiles}"
                world.alice.says(world.forum, text, 100 + number)
                await web.says(f"round {n} {canary(name, 'said')} {world.home.profiles}", room=f"room-{name}")
            if n == ROUNDS // 2:
                furnish(world, "p0")  # in the middle of everything one profile gets new secrets
                await daemon.hangup()
        with anyio.fail_after(GUARD):
            await world.settled(daemon)
        world.web = {name: await web.entries(room=f"room-{name}") for name in PROFILES}


async def test_hundreds_of_interleaved_turns_leak_nothing(eight: Any, tmp_path: Path) -> None:
    """208 turns of eight profiles at once: no prompt, row, file, log line, child or message holds a foreign canary, and
    environment, folder and umask of the process are as before (ISO-02).
    """
    lookout = LookoutTool(tmp_path / "lookout.jsonl")
    eight.home.tools["lookout"] = [lookout]
    mask = os.umask(0o077)
    os.umask(mask)
    before = dict(os.environ), Path.cwd()
    async with eight.home.running() as daemon:
        await talk(eight, daemon)
        told = daemon.log
    assert (dict(os.environ), Path.cwd()) == before
    assert os.umask(mask) == mask
    await asyncio.to_thread(scan, eight, lookout, told)


def scan(world: Any, lookout: LookoutTool, told: list[dict[str, Any]]) -> None:
    """Every place a leak could show."""
    assert ledger(world) == 2 * ROUNDS * len(PROFILES)
    prompts(world)
    children(world, lookout)
    homes(world)
    messages(world)
    assert owners(json.dumps(told)) == Counter()


def prompts(world: Any) -> None:
    """Each request was made with its own profile's key and model, and holds its own profile's canaries only."""
    kinds: dict[str, set[str]] = {name: set() for name in PROFILES}
    for seen in world.models.requests:
        (owner,) = {owner for owner, _ in owners(seen.key)}
        assert seen.model == f"model-{owner}"
        assert strangers(json.dumps(seen.body), owner) == []
        kinds[owner] |= {kind for _, kind in owners(json.dumps(seen.body))}
    # what must be there is there, so that an empty scan cannot pass; secrets of .env never are
    assert all(found == {"soul", "memory", "user", "said", "file", "workspace"} for found in kinds.values()), kinds


def children(world: Any, lookout: LookoutTool) -> None:
    """Each child had its own profile's variables, HOME, cwd and TMPDIR, nothing else, and no descriptor of ours."""
    looks = lookout.seen()
    assert Counter(look["profile"] for look in looks) == dict.fromkeys(PROFILES, 2 * ROUNDS)
    for look in looks:
        owner, home = look["profile"], world.home.profiles / look["profile"]
        assert strangers(json.dumps(look), owner) == []
        assert {kind for _, kind in owners(json.dumps(look["env"]))} == {"key", "env"}
        assert set(look["env"]) == {"MODEL_KEY", "SHARED_NAME_TOKEN", "HOME", "TMPDIR", "PATH", "LANG", "PWD"}
        assert look["env"]["HOME"] == str(home / "home")
        assert look["env"]["TMPDIR"] == str(home / "tmp")
        assert look["cwd"] == str(home / "workspace")
        assert look["umask"] == 0o077
        assert look["files"] == ["0", "1", "2"]


def homes(world: Any) -> None:
    """No file of a home, databases, their journals and logs included, holds another home's canary."""
    for name in PROFILES:
        home = world.home.profiles / name
        found = [path for path in home.rglob("*") if path.is_file()]
        assert {"hermesd.db", "hermesd.log", "all.txt"} <= {path.name for path in found}
        for path in found:
            assert strangers(str(path) + "\n", name) == []
            assert strangers(path.read_bytes(), name) == [], path
        assert strangers(b"".join(flat(row) for _, row in rows(home / "hermesd.db")), name) == []
        assert owners((home / "logs" / "hermesd.log").read_bytes()) == Counter()
        assert {kind for _, kind in owners((home / "hermesd.db").read_bytes())} >= {"said", "workspace"}


def messages(world: Any) -> None:
    """Each delivered message stands in its own profile's topic or room."""
    for number, name in enumerate(PROFILES):
        posted = world.telegram.history(world.forum.id, 100 + number)
        assert len([item for item in posted if item.bot_id]) == ROUNDS
        assert strangers("".join(item.text for item in posted), name) == []
        assert strangers(json.dumps(world.web[name]), name) == []
        assert len([entry for entry in world.web[name] if entry["from"] == "out"]) == ROUNDS


def ledger(world: Any) -> int:
    """Each row of the ledger holds canaries of the one profile it belongs to; how many turns were done."""
    turns: dict[str, str] = {}
    found = list(rows(world.home.state / "ledger.db"))
    for table, row in found:
        if table == "turn":
            turns[row["id"]] = row["profile"]
            assert row["state"] == "done", row["reason"]
    for table, row in found:
        here = {owner for owner, _ in owners(flat(row))}
        assert len(here) <= 1, (table, here)
        assert not {kind for _, kind in owners(flat(row))} & {"env", "key", "config"}
        keys = row.keys()
        owner = row["profile"] if "profile" in keys else turns.get(row["turn_id"]) if "turn_id" in keys else None
        assert owner is None or here <= {owner}, (table, here)
    return len(turns)


async def test_no_turn_touches_the_process_s_own_surroundings(eight: Any, tmp_path: Path) -> None:
    """With an audit hook in the daemon's process: turns of eight profiles cause no putenv, unsetenv or chdir
    (ISO-02).
    """
    events, lookout = tmp_path / "events", LookoutTool(tmp_path / "lookout.jsonl")
    command = (sys.executable, str(Path(__file__).with_name("audited.py")), str(events), str(lookout.report))
    async with eight.home.process(*command) as daemon, await daemon.chat() as web:
        at_start = events.read_text()
        for n in range(3):
            for number, name in enumerate(PROFILES):
                eight.alice.says(eight.forum, f"{n} {eight.home.profiles}", 100 + number)
                await web.says(f"{n} {eight.home.profiles}", room=f"room-{name}")
        with anyio.fail_after(GUARD):
            await eight.telegram.wait_sent(3 * len(PROFILES))
            for name in PROFILES:
                await web.answers(3, room=f"room-{name}")
        await daemon.hangup()
        assert events.read_text() == at_start
        assert Path(f"/proc/{daemon.pid}/cwd").readlink() == tmp_path
        assert await daemon.stop() == 0
    assert len(lookout.seen()) == 6 * len(PROFILES)
    assert {look["cwd"] for look in lookout.seen()} == {
        str(eight.home.profiles / name / "workspace") for name in PROFILES
    }


async def test_the_audit_hook_would_have_noticed(world: Any, tmp_path: Path) -> None:
    """The control of the test above: a daemon that changes its folder leaves a line (ISO-02)."""
    events = tmp_path / "events"
    world.bot("main")
    command = (sys.executable, str(Path(__file__).with_name("audited.py")), str(events), "misbehave")
    async with world.home.process(*command):
        assert "os.chdir ('/'," in events.read_text()
