"""Memory files in the Hermes format."""

import asyncio
import os
import random
import stat
import threading
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.errors import UserError
from hermesd.memory import MemoryStore, entries_in
from hermesd.memory import file as memory_file
from hermesd.memory.entries import SEPARATOR, checked, join, parse, round_trips
from hermesd.memory.place import folder


async def test_entries_are_joined_by_a_section_sign(tmp_path: Path):
    """Two notes are one file in the Hermes format, with private modes."""
    view = MemoryStore(tmp_path).view(None)
    await view.add("memory", "  the build runs on Mondays ")
    await view.add("memory", "the cat is Tom")
    await view.add("memory", "the cat is Tom")
    path = tmp_path / "memories" / "MEMORY.md"
    assert path.read_text() == f"the build runs on Mondays{SEPARATOR}the cat is Tom"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not list(path.parent.glob("*.tmp"))


async def test_contexts_see_the_global_entries_and_their_own(tmp_path: Path):
    """What one context writes, another never sees; what is global, all see."""
    store = MemoryStore(tmp_path)
    await store.view(None).add("memory", "everybody knows")
    await store.view("a").add("memory", "only a")
    await store.view("b").add("user", "only b")
    a, b, everyone = [await store.view(context).read() for context in ("a", "b", None)]
    assert entries_in(a) == ("everybody knows", "only a")
    assert entries_in(b) == ("everybody knows", "only b")
    assert entries_in(everyone) == ("everybody knows",)


async def test_replace_and_remove_find_one_entry(tmp_path: Path):
    """old_text must mean exactly one entry of this context; everything else is refused with a way out."""
    view = MemoryStore(tmp_path).view(None)
    await view.add("user", "likes tea")
    await view.add("user", "likes trains")
    with pytest.raises(UserError, match="2 entries"):
        await view.remove("user", "likes")
    with pytest.raises(UserError, match="no entry"):
        await view.replace("user", "coffee", "x")
    await view.replace("user", "tea", "likes coffee")
    await view.remove("user", "trains")
    assert entries_in(await view.read()) == ("likes coffee",)


async def test_a_global_entry_is_not_changed_from_a_context(tmp_path: Path):
    """A context cannot remove what belongs to all of the profile."""
    store = MemoryStore(tmp_path)
    await store.view(None).add("memory", "global fact")
    with pytest.raises(UserError):
        await store.view("c").remove("memory", "global fact")


@pytest.mark.parametrize(("target", "limit"), [("memory", 2200), ("user", 1375)])
async def test_limits_are_kept(tmp_path: Path, target: str, limit: int):
    """A note over the limit of its file is refused and leaves the file as it was."""
    view = MemoryStore(tmp_path).view(None)
    await view.add(target, "x" * (limit - 5))
    with pytest.raises(UserError, match="would hold"):
        await view.add(target, "yyy")
    await view.remove(target, "xxx")
    assert await view.read() == ""


async def test_a_hand_edit_that_does_not_round_trip_is_kept(tmp_path: Path):
    """replace and remove refuse such a file and keep a copy; add leaves every byte of the human's text."""
    path = tmp_path / "memories" / "MEMORY.md"
    path.parent.mkdir()
    by_hand = "# My notes\n\n§\n\nsecond\n§\nsecond\n"
    path.write_text(by_hand)
    view = MemoryStore(tmp_path).view(None)
    with pytest.raises(UserError, match="edited by hand"):
        await view.remove("memory", "second")
    [backup] = path.parent.glob("MEMORY.md.bak.*")
    assert backup.read_text() == path.read_text() == by_hand
    await view.add("memory", "third")
    assert path.read_text() == f"{by_hand.strip()}{SEPARATOR}third"


async def test_user_file_beside_the_soul_is_read_and_then_carried_over(tmp_path: Path):
    """USER.md beside SOUL.md counts while memories/ has none; the first write takes its entries along."""
    (tmp_path / "USER.md").write_text("is called Ada")
    store = MemoryStore(tmp_path)
    assert entries_in(await store.view("c").read()) == ("is called Ada",)
    await store.view(None).add("user", "likes maths")
    assert (tmp_path / "memories" / "USER.md").read_text() == f"is called Ada{SEPARATOR}likes maths"
    (tmp_path / "memories" / "USER.md").write_text("wins")
    assert entries_in(await store.view(None).read()) == ("wins",)


async def test_no_write_is_lost_among_many(tmp_path: Path):
    """Writers of one profile at once, in two stores as of two processes, keep every note."""
    stores = [MemoryStore(tmp_path), MemoryStore(tmp_path)]
    async with asyncio.TaskGroup() as group:
        for number in range(40):
            group.create_task(stores[number % 2].view("c").add("memory", f"note {number:02}"), name=f"n{number}")
    assert sorted(entries_in(await stores[0].view("c").read())) == [f"note {number:02}" for number in range(40)]


async def test_an_edit_that_lands_during_a_write_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A human saving between our read and our rename is seen: both texts survive."""
    path = tmp_path / "memories" / "MEMORY.md"
    view = MemoryStore(tmp_path).view(None)
    await view.add("memory", "first")
    genuine = memory_file._write_beside
    edits = iter(["first\n§\nby hand"])

    def write_while_somebody_saves(target: Path, text: str) -> Path:
        for edit in edits:
            path.write_text(edit)
        return genuine(target, text)

    monkeypatch.setattr(memory_file, "_write_beside", write_while_somebody_saves)
    await view.add("memory", "second")
    assert parse(path.read_text()) == ("first", "by hand", "second")


async def test_memory_is_read_off_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk that takes its time holds a thread, never the loop."""
    threads: list[int] = []
    genuine = memory_file.read

    def noted(path: Path) -> str:
        threads.append(threading.get_ident())
        return genuine(path)

    monkeypatch.setattr(memory_file, "read", noted)
    await MemoryStore(tmp_path).view("x").read()
    assert threads
    assert threading.get_ident() not in threads


@given(st.lists(st.text()))
def test_what_is_stored_reads_back(texts: list[str]):
    """Any accepted entries survive a round through the file format."""
    accepted = []
    for text in texts:
        try:
            accepted.append(checked(text))
        except UserError:
            continue
    unique = tuple(dict.fromkeys(accepted))
    assert parse(join(unique)) == unique
    assert round_trips(join(unique))


def test_context_folders_never_collide():
    """100,000 pairs of hostile ids get different folders, each a plain name that fits the file system."""
    pick = random.Random(7)
    alphabet = [
        "a",
        "A",
        "b",
        "/",
        ".",
        "..",
        "\0",
        ":",
        "%",
        "%2f",
        "é",
        "e\u0301",
        "\ud800",
        "p1-",
        "h",
        "-",
        "ß",
        "\n",
    ]
    hostile = ["", ".", "..", "../x", "a:b", "a", "A", "\0", "x" * 10_000, "x" * 9_999, "CON", "é", "e\u0301"]
    hostile += ["".join(pick.choices(alphabet, k=pick.randrange(1, 60))) for _ in range(3000)]
    hostile += [text + "~" for text in hostile[:500]]
    folders = {text: folder(text) for text in hostile}
    for _ in range(100_000):
        one, other = pick.choice(hostile), pick.choice(hostile)
        assert (one == other) == (folders[one] == folders[other])
        assert (one == other) == (folders[one].casefold() == folders[other].casefold())
    for name in folders.values():
        assert "/" not in name
        assert "\0" not in name
        assert name not in (".", "..")
        assert len(os.fsencode(name)) < 200
        assert unicodedata.is_normalized("NFD", name)
