"""Profiles by name: who is found, what a reload changes, how many databases stay open, what an idle one costs."""

import asyncio
import gc
import os
import stat
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hermesd.address import AdapterKey, Address, ConversationKey
from hermesd.clock import SystemClock
from hermesd.errors import ProfileUnavailable, SecretUnavailable
from hermesd.ports import Row
from hermesd.profile import Home, ProfileContext, ProfileRegistry


class Silent:
    def bind(self, **values: Any) -> Any:
        return self

    def debug(self, event: str, **values: Any) -> None: ...

    info = warning = error = debug


class FakeEngine:
    def __init__(self, profile: str, model: Any, secrets: Mapping[str, str]) -> None:
        if model == "keyless":
            raise SecretUnavailable("no key", hint="set KEY")
        self.label = f"{profile}:{model}:{secrets.get('KEY')}"


def make(folder: Path, name: str, config: str = "", key: str | None = None) -> Home:
    home = Home(name, folder / name)
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    home.config.write_text(config)
    if key is not None:
        home.env.write_text(f"KEY={key}\n")
        home.env.chmod(0o600)
    return home


@asynccontextmanager
async def registry(folder: Path, **options: Any) -> AsyncIterator[ProfileRegistry]:
    made = ProfileRegistry(
        folder, engines=FakeEngine, read_model=lambda block: block, log=Silent(), clock=SystemClock(), **options
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
        return [row.text for row in (await store.history(key(context.name), 10_000))[1]]


async def test_each_profile_has_its_own_everything(tmp_path: Path) -> None:
    """Engine, secrets, conversations and workspace of one profile are not those of another."""
    for name in ("a", "b"):
        make(tmp_path, name, f"model: {name}-model\n", key=f"canary-{name}")
    async with registry(tmp_path) as profiles:
        a, b = profiles["a"], profiles["b"]
        await say(a, "t", "canary of a")
        assert (a.agent.label, b.agent.label) == ("a:a-model:canary-a", "b:b-model:canary-b")
        assert await said(a) == ["canary of a"]
        assert await said(b) == []
        assert a.workspace == tmp_path / "a" / "workspace"
        assert a.workspace.is_dir()
        assert "canary-a" not in repr(a)


async def test_a_missing_or_broken_profile_is_refused_and_nobody_stands_in(tmp_path: Path) -> None:
    """No name ever leads to another profile; the chat hears that it is unavailable, the operator why (RT-02)."""
    make(tmp_path, "good")
    make(tmp_path, "bad", "toolsets: 3\n")
    async with registry(tmp_path) as profiles:
        for name in ("bad", "absent", "default", "../good", ""):
            with pytest.raises(ProfileUnavailable) as refusal:
                profiles[name]
            assert str(tmp_path) not in str(refusal.value)
        assert list(profiles) == ["good"]
        assert "toolsets" in profiles.unavailable()["bad"]
        make(tmp_path, "bad", "toolsets: [memory]\n")
        diff = await profiles.reload()
        assert diff.added == ("bad",)
        assert profiles["bad"].settings.toolsets == ("memory",)


async def test_a_reload_replaces_only_what_changed(tmp_path: Path) -> None:
    """Unchanged profiles keep their very context; changed ones get a new generation, engine and secrets (ISO-08)."""
    for name in ("same", "edited", "gone"):
        make(tmp_path, name, "model: m\n", key="old")
    async with registry(tmp_path) as profiles:
        same, edited = profiles["same"], profiles["edited"]
        before = (same.agent, edited.agent)
        make(tmp_path, "edited", "model: m\n", key="new")
        (tmp_path / "gone").rename(tmp_path / ".gone")
        make(tmp_path, "fresh")
        diff = await profiles.reload()
        assert (diff.added, diff.removed, diff.changed) == (("fresh",), ("gone",), ("edited",))
        assert profiles["same"] is same
        assert same.agent is before[0]
        assert profiles["edited"].generation > edited.generation
        assert profiles["edited"].agent.label == "edited:m:new"
        assert edited.agent is before[1]
        assert edited.agent.label == "edited:m:old"
        with pytest.raises(ProfileUnavailable):
            profiles["gone"]


async def test_a_profile_broken_by_an_edit_goes_on_with_what_it_had(tmp_path: Path) -> None:
    """A bad edit is reported and changes nothing for the running profile."""
    make(tmp_path, "a", "model: m\n")
    async with registry(tmp_path) as profiles:
        before = profiles["a"]
        make(tmp_path, "a", "model: [unclosed\n")
        diff = await profiles.reload()
        assert diff.kept == ("a",)
        assert diff.problems[0].line == 2
        assert profiles["a"] is before
        make(tmp_path, "a", "model: other\n")
        assert (await profiles.reload()).changed == ("a",)


async def test_a_survey_alone_changes_nothing(tmp_path: Path) -> None:
    """Looking is not adopting: until adopt() every name means what it meant."""
    make(tmp_path, "a", "model: m\n")
    async with registry(tmp_path) as profiles:
        before = profiles["a"]
        make(tmp_path, "a", "model: other\n")
        found = await profiles.survey()
        assert profiles["a"] is before
        profiles.adopt(found)
        assert profiles["a"].settings.model == "other"


async def test_an_engine_without_its_key_makes_the_profile_unavailable(tmp_path: Path) -> None:
    """A missing key is told to the chat as unavailability, without the reference."""
    make(tmp_path, "a", "model: keyless\n")
    async with registry(tmp_path) as profiles:
        with pytest.raises(ProfileUnavailable, match="model is not set up"):
            _ = profiles["a"].agent


async def test_at_most_so_many_databases_stay_open_and_none_closes_in_use(tmp_path: Path) -> None:
    """The least recently used idle database is closed for the next one; leased ones are never closed."""
    names = [f"p{n}" for n in range(6)]
    for name in names:
        make(tmp_path, name)
    async with registry(tmp_path, open_databases=2) as profiles:
        async with profiles["p0"].sessions() as held:
            for name in names[1:]:
                await say(profiles[name], name, name)
            assert (await held.active(key("p0"))).exchanges == 0
        for name in names[1:]:
            assert await said(profiles[name]) == [name]
        await asyncio.gather(*(say(profiles[name], f"{name}.{n}", "x") for name in names for n in range(10)))
        assert [len(await said(profiles[name])) for name in names] == [10, 11, 11, 11, 11, 11]
        closing = [volume for volume in profiles._shelf._volumes.values() if volume.leave.is_set()]
        await asyncio.gather(*(volume.gone.wait() for volume in closing))
        assert profiles.open_databases <= 2
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*/hermesd.db*")} == {0o600}
    assert not list(tmp_path.glob("*/hermesd.db-wal"))


async def test_closing_waits_for_work_in_progress(tmp_path: Path) -> None:
    """When the daemon ends, a running lease finishes its work; later ones are refused."""
    make(tmp_path, "a")
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(context: ProfileContext) -> None:
        async with context.sessions() as store:
            inside.set()
            await go_on.wait()
            session = await store.active(key("a"))
            await store.file("t", session.id, Row("user", "kept"), (), 1.0)

    async with registry(tmp_path) as profiles:
        context = profiles["a"]
        task = asyncio.ensure_future(slow(context))
        await inside.wait()
        asyncio.get_running_loop().call_soon(go_on.set)
    await task
    with pytest.raises(ProfileUnavailable, match="is closed"):
        await said(context)
    async with registry(tmp_path) as profiles:
        assert await said(profiles["a"]) == ["kept"]


async def test_a_lease_within_a_lease_never_waits_for_itself(tmp_path: Path) -> None:
    """A turn that uses its conversations twice at once goes on while its profile is taken away or the daemon ends."""
    make(tmp_path, "a")
    make(tmp_path, "b")
    async with registry(tmp_path, open_databases=1) as profiles:
        context = profiles["a"]
        async with context.sessions() as store:
            (tmp_path / "a" / "config.yaml").unlink()
            (tmp_path / "a").rename(tmp_path / ".a")
            assert (await profiles.reload()).removed == ("a",)
            await said(profiles["b"])
            async with context.sessions() as again:
                assert again is store
        b = profiles["b"]
        holder = b.sessions()
        await holder.__aenter__()
        last = asyncio.ensure_future(late(b, holder))
    await last


async def late(context: ProfileContext, holder: Any) -> None:
    assert await said(context) == []
    await holder.__aexit__(None, None, None)


async def test_an_exception_inside_arrives_as_itself(tmp_path: Path) -> None:
    """Running a registry does not wrap what is raised inside it."""
    with pytest.raises(ZeroDivisionError):
        async with registry(tmp_path):
            raise ZeroDivisionError


async def test_the_profile_log_is_made_on_first_use(tmp_path: Path) -> None:
    """A profile's own log is asked for by name and file, once, when it is first needed."""
    make(tmp_path, "a")
    made = []

    def log_for(name: str, file: Path) -> Silent:
        made.append((name, file))
        return Silent()

    async with registry(tmp_path, log_for=log_for) as profiles:
        assert made == []
        assert profiles["a"].log is profiles["a"].log
        assert made == [("a", tmp_path / "a" / "logs" / "hermesd.log")]


@pytest.mark.slow
async def test_an_idle_profile_costs_little(tmp_path: Path) -> None:
    """1,000 idle profiles take at most 40 KB each, and no descriptor."""
    for n in range(1000):
        make(
            tmp_path, f"p{n:04}", "model: {provider: custom, base_url: http://x}\ntoolsets: [memory, files]\n", "k" * 40
        )
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only
    gc.collect()
    tracemalloc.start()
    async with registry(tmp_path) as profiles:
        assert len(profiles) == 1000
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(os.listdir("/proc/self/fd")) <= descriptors  # noqa: PTH208 - names only
    assert size / 1000 <= 40_000
