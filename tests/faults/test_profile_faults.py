"""Damaged, locked and unwritable profile databases: one profile's trouble is nobody else's (OPS-06)."""

import os
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hermesd.address import AdapterKey, Address, ConversationKey
from hermesd.clock import SystemClock
from hermesd.errors import ProfileUnavailable
from hermesd.ports import Row
from hermesd.profile import Home, ProfileContext, ProfileRegistry


class Silent:
    def bind(self, **values: Any) -> Any:
        return self

    def debug(self, event: str, **values: Any) -> None: ...

    info = warning = error = debug


@asynccontextmanager
async def registry(folder: Path) -> AsyncIterator[ProfileRegistry]:
    made = ProfileRegistry(
        folder,
        engines=lambda *_: None,  # type: ignore[arg-type, return-value]  # no turn runs here
        read_model=lambda block: block,
        log=Silent(),
        clock=SystemClock(),
    )
    async with made.running():
        yield made


def key(profile: str) -> ConversationKey:
    return ConversationKey(profile, Address(AdapterKey("web", "local"), "room"), "dm")


async def say(context: ProfileContext, turn: str, text: str) -> None:
    async with context.sessions() as store:
        session = await store.active(key(context.name))
        await store.file(turn, session.id, Row("user", text), (), 1.0)


async def said(context: ProfileContext) -> list[str]:
    async with context.sessions() as store:
        return [row.text for row in (await store.history(key(context.name), 100_000))[1]]


async def look_everywhere(context: ProfileContext) -> None:
    async with context.sessions() as store:
        session = await store.active(key(context.name))
        await store.window(session.id, 10_000_000)
        for n in range(400):
            await store.search(key(context.name), str(n))


def flip(path: Path, first_page: int) -> bytes:
    data = bytearray(path.read_bytes())
    data[4096 * first_page :] = bytes(byte ^ 0xFF for byte in data[4096 * first_page :])
    path.write_bytes(data)
    return bytes(data)


async def test_a_damaged_database_is_quarantined_while_others_go_on(tmp_path: Path) -> None:
    """The file is kept, its profile refuses at once, others answer; after repair and reload it works again."""
    for name in ("bad", "good"):
        Home.create(tmp_path, name)
    async with registry(tmp_path) as profiles:
        for name in ("bad", "good"):
            for n in range(20):
                await say(profiles[name], f"{name}{n}", "x" * 500)
    backup = (tmp_path / "bad" / "hermesd.db").read_bytes()
    damaged = flip(tmp_path / "bad" / "hermesd.db", 2)
    async with registry(tmp_path) as profiles:
        for _ in range(2):
            with pytest.raises(ProfileUnavailable, match="damaged") as refusal:
                await said(profiles["bad"])
            assert str(tmp_path) not in str(refusal.value)
        assert len(await said(profiles["good"])) == 20
        assert "hermesd.db is damaged" in profiles.unavailable()["bad"]
        assert (tmp_path / "bad" / "hermesd.db").read_bytes() == damaged
        (tmp_path / "bad" / "hermesd.db").write_bytes(backup)
        with pytest.raises(ProfileUnavailable):
            await said(profiles["bad"])
        await profiles.reload()
        assert len(await said(profiles["bad"])) == 20
        assert profiles.unavailable() == {}


async def test_damage_met_while_running_quarantines_too(tmp_path: Path) -> None:
    """A page that rots under an open database closes that profile's door and no other."""
    for name in ("bad", "good"):
        Home.create(tmp_path, name)
    async with registry(tmp_path) as profiles:
        for n in range(400):
            await say(profiles["bad"], f"{n}", f"{n} " + "x" * 3000)
        async with profiles["bad"].sessions() as store:
            await store._database._connection.run(lambda tx: tx.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        flip(tmp_path / "bad" / "hermesd.db", 2)
        with pytest.raises(ProfileUnavailable, match="damaged"):
            await look_everywhere(profiles["bad"])
        assert list(profiles.unavailable()) == ["bad"]
        await say(profiles["good"], "t", "fine")
        assert await said(profiles["good"]) == ["fine"]


async def test_a_linked_database_is_refused(tmp_path: Path) -> None:
    """A profile cannot be made to use another's conversations by a link."""
    for name in ("a", "b"):
        Home.create(tmp_path, name)
    async with registry(tmp_path) as profiles:
        await say(profiles["a"], "t", "private")
    (tmp_path / "b" / "hermesd.db").symlink_to(tmp_path / "a" / "hermesd.db")
    async with registry(tmp_path) as profiles:
        with pytest.raises(ProfileUnavailable):
            await said(profiles["b"])
        assert await said(profiles["a"]) == ["private"]


async def test_running_out_of_descriptors_passes(tmp_path: Path) -> None:
    """Without free descriptors a database does not open; it is not quarantined and opens later (OPS-09)."""
    Home.create(tmp_path, "a")
    async with registry(tmp_path) as profiles:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        hoard = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (96, limits[1]))
        try:
            with suppress(OSError):
                while True:
                    hoard.append(os.open("/dev/null", os.O_RDONLY))
            with pytest.raises(ProfileUnavailable, match="now"):
                await said(profiles["a"])
        finally:
            for handle in hoard:
                os.close(handle)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert profiles.unavailable() == {}
        assert await said(profiles["a"]) == []
