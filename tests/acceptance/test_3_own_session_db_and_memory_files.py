"""Criterion 3: Each profile writes to its own session DB and memory files."""

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from hermesd.testing.openai import Reply


def rows(home: Path) -> list[tuple[str, str]]:
    """(role, text) of every message a profile's database holds."""
    with closing(sqlite3.connect(f"file:{home / 'hermesd.db'}?mode=ro", uri=True)) as file:
        return file.execute("SELECT role, text FROM message ORDER BY id").fetchall()


def written(home: Path) -> str:
    """Everything that stands in a profile's memory files."""
    files = sorted((home / "memories").rglob("*.md"))
    return "\n".join(file.read_text() for file in files)


def remember(what: str) -> Reply:
    arguments = {"action": "add", "target": "memory", "content": what}
    return Reply(calls=(("memory", json.dumps(arguments)),))


async def test_each_profile_writes_to_its_own_session_db(two_topics: Any) -> None:
    """The exchange of topic A stands in career's hermesd.db and nowhere else; likewise topic B and systems."""
    async with two_topics.home.running() as daemon:
        two_topics.alice.says(two_topics.forum, "a word for career", 6)
        two_topics.alice.says(two_topics.forum, "a word for systems", 13)
        await two_topics.settled(daemon)
    profiles = two_topics.home.profiles
    assert rows(profiles / "career") == [("user", "a word for career"), ("assistant", "echo: a word for career")]
    assert rows(profiles / "systems") == [("user", "a word for systems"), ("assistant", "echo: a word for systems")]
    assert not (profiles / "default" / "hermesd.db").exists()


async def test_each_profile_writes_to_its_own_memory_files(two_topics: Any) -> None:
    """What a turn remembers is written below its own profile's `memories/` and comes back in its own prompts only."""
    models = two_topics.models
    models.on(remember("career likes tea"), Reply(text="noted"), key="key-of-career")
    models.on(remember("systems likes rain"), Reply(text="noted"), key="key-of-systems")
    async with two_topics.home.running() as daemon:
        assert await two_topics.asks("remember this", thread=6) == "noted"
        assert await two_topics.asks("remember this", thread=13) == "noted"
        await two_topics.settled(daemon)
        career, systems = (two_topics.home.profiles / name for name in ("career", "systems"))
        assert "career likes tea" in await asyncio.to_thread(written, career)
        assert "rain" not in await asyncio.to_thread(written, career)
        assert "systems likes rain" in await asyncio.to_thread(written, systems)
        assert "tea" not in await asyncio.to_thread(written, systems)
        assert await asyncio.to_thread(written, two_topics.home.profiles / "default") == "\n"
        await two_topics.asks("what do you know?", thread=6)
    prompt = str(models.requests[-1].messages[0]["content"])
    assert "career likes tea" in prompt
    assert "rain" not in prompt


async def test_a_session_goes_on_after_a_restart(two_topics: Any) -> None:
    """A profile's conversation is read back from its own database: the second life's prompt holds the first one's."""
    async with two_topics.home.running():
        await two_topics.asks("my number is 41", thread=6)
    async with two_topics.home.running():
        await two_topics.asks("and now?", thread=6)
        await two_topics.asks("and here?", thread=13)
    in_a, in_b = list(two_topics.models.requests)[-2:]
    assert [message["content"] for message in in_a.messages[1:]] == [
        "my number is 41", "echo: my number is 41", "and now?",
    ]  # fmt: skip
    assert [message["content"] for message in in_b.messages[1:]] == ["and here?"]


async def test_what_a_profile_writes_is_private(two_topics: Any) -> None:
    """Databases, their -wal and -shm, memory files and logs are 0600, their folders 0700, whatever the umask."""
    two_topics.models.on(remember("tea"), Reply(text="noted"), key="key-of-career")
    async with two_topics.home.running() as daemon:
        await two_topics.asks("remember this", thread=6)
        await two_topics.settled(daemon)
        found = sorted(two_topics.home.state.rglob("*"))
        loose = [str(p) for p in found if not p.is_socket() and p.lstat().st_mode & 0o077]
        names = {path.name for path in found}
    assert loose == []
    assert {"hermesd.db", "hermesd.db-wal", "ledger.db", "MEMORY.md", "lock"} <= names
