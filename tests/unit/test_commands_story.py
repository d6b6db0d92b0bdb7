"""Commands: answered at once, once, and only to whom they belong."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.gateway.access import NO_RIGHTS
from hermesd.gateway.commands.table import COMMANDS, find, menu, parse
from hermesd.session import SessionStore


@pytest.mark.parametrize(
    ("text", "name", "args"),
    [
        ("/help", "help", ""), ("/HELP", "help", ""), ("/help@my_bot", "help", ""), ("!stop", "stop", ""),
        ("/title  two words ", "title", "two words"), ("/title\nnext line", "title", "next line"),
        ("/unknown x", "unknown", "x"),
    ],
)  # fmt: skip
def test_what_is_a_command(text: str, name: str, args: str) -> None:
    """Slash and exclamation forms, any case, with the bot's name: one name, the rest is its argument."""
    found = parse(text)
    assert found is not None
    assert (found.name, found.args) == (name, args)


@pytest.mark.parametrize(
    "text", ["", "/", "!", "hello", "/etc/passwd", "/3", "!important", "// comment", "/ help", " /help", "/héllo", "!!"]
)
def test_what_is_no_command(text: str) -> None:
    """Paths, numbers, exclamations and lone slashes are messages."""
    assert parse(text) is None


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """Reading never fails, and what it finds has a plain name."""
    found = parse(text)
    assert found is None or found.name.replace("_", "").isascii()


def test_the_table_is_sound() -> None:
    """Names and aliases are unique, each is found, admin commands are in no public menu, each has a line of help."""
    names = [name for command in COMMANDS for name in (command.name, *command.aliases)]
    assert len(names) == len(set(names))
    assert all(find(name) is not None for name in names)
    assert all(command.help for command in COMMANDS)
    assert {name for name, _ in menu()} == {command.name for command in COMMANDS if command.needs == NO_RIGHTS}


async def test_commands_do_not_wait_for_the_running_turn(home: Any) -> None:
    """While a turn runs in the same conversation every question is answered at once."""
    began, go = asyncio.Event(), asyncio.Event()

    async def answers(profile: str, request: Any, gate: Any) -> str:
        began.set()
        await go.wait()
        return "late"

    home.models.answers = answers
    async with home.running() as daemon:
        await daemon.says("long")
        await began.wait()
        assert "Profile: **default**" in await daemon.asks("/profile")
        assert "working on an answer, 0 waiting" in await daemon.asks("/status")
        assert "still working" in await daemon.asks("/retry")
        assert "you: 0 turns" in await daemon.asks("/usage")
        go.set()
        assert "late" in await home.platform.arrived(5)


@pytest.mark.parametrize("command", ["/pause all", "/bind default", "/reload"])
async def test_admin_commands_are_for_admins(home: Any, command: str) -> None:
    """Anybody else is told whom to ask, and nothing happens (ISO-09)."""
    async with home.running() as daemon:
        before = home.config.read_text()
        text = await daemon.asks(command, user="eve")
        assert "for this bot's" in text
        assert "admins" in text
        assert daemon.ground.live.pauses == {}
        assert daemon.reloader.last is None
        assert home.config.read_text() == before


async def test_an_unknown_command_suggests_the_near_one(home: Any) -> None:
    """A typo is answered, not given to the model."""
    async with home.running() as daemon:
        assert "Did you mean /status?" in await daemon.asks("/sttus")
        assert home.models.asked == []


async def test_a_command_that_breaks_is_answered_and_not_tried_again(
    home: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error inside a command: one run, a visible answer, the messages beside it unharmed (promise 1)."""
    runs = []

    async def broken(self: SessionStore, *args: Any) -> None:
        runs.append(1)
        raise KeyError("inside")

    monkeypatch.setattr(SessionStore, "new", broken)
    async with home.running() as daemon:
        await daemon.bot().receive(*(home.platform.event(text) for text in ("a", "/new", "b")))
        await daemon.settled()
        assert await daemon.rows("SELECT state, reason FROM inbound WHERE seq = 2") == [("answered", "/new")]
    assert runs == [1]
    assert any("Something went wrong inside me over /new" in text for text in home.platform.texts())
    assert len(home.platform.sent) == 3


async def test_undo_is_not_repeated_after_a_crash(home: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the effect of /undo and its answer: the next start asks, forgets no more (promise 3)."""
    undo, done = SessionStore.undo, asyncio.Event()

    async def and_die(self: SessionStore, session_id: str) -> Any:
        found = await undo(self, session_id)
        done.set()
        await asyncio.Event().wait()
        return found

    async with home.crashing() as daemon:
        for text in ("one", "two", "three"):
            await daemon.asks(text)
        await daemon.settled()
        monkeypatch.setattr(SessionStore, "undo", and_die)
        await daemon.says("/undo")
        await done.wait()
    monkeypatch.setattr(SessionStore, "undo", undo)
    async with home.running() as daemon:
        assert "interrupted in the middle of /undo" in (await home.platform.arrived(4))[3]
        await daemon.asks("four")
        history = [row.text for row in home.models.asked[-1][1].history if row.role == "user"]
    assert history == ["one", "two"]


async def test_status_is_simply_answered_after_a_crash(home: Any) -> None:
    """A command that changes nothing runs again at the next start: its person gets the answer (promise 1)."""
    async with home.crashing() as daemon:
        daemon.house.intake._pumps.clear()
        daemon.house.intake._tasks = None
        await daemon.says("/whoami")
    async with home.running():
        assert "You are `u1`" in (await home.platform.arrived(1))[0]


async def test_retry_takes_back_its_own_exchange_only(home: Any) -> None:
    """/retry replaces the last answer; behind /undo it repeats the message without forgetting another one."""
    async with home.running() as daemon:
        for text in ("one", "two"):
            await daemon.asks(text)
        await daemon.settled()
        await daemon.says("/retry")
        assert (await home.platform.arrived(4))[2:] == ["Once more:", "default: two"]
        await daemon.settled()
        assert [row.text for row in home.models.asked[-1][1].history if row.role == "user"] == ["one"]
        await daemon.asks("/undo")
        await daemon.says("/retry")
        await home.platform.arrived(7)
        await daemon.settled()
        assert [row.text for row in home.models.asked[-1][1].history if row.role == "user"] == ["one"]
        await daemon.asks("three")
        assert [row.text for row in home.models.asked[-1][1].history if row.role == "user"] == ["one", "two"]


async def test_a_pause_holds_keeps_and_lets_go(home: Any) -> None:
    """/pause all: messages wait with one word to each place, also over a restart; /resume all answers them in order."""
    async with home.running() as daemon:
        assert "Paused: everything" in await daemon.asks("/pause all lunch", user="boss")
        for n in range(3):
            await daemon.says(f"n{n}")
        await daemon.decided()
        await home.platform.arrived(2)
    async with home.running() as daemon:
        await daemon.says("n3")
        await daemon.decided()
        assert [text for text in home.platform.texts() if "paused here (lunch)" in text] == [home.platform.texts()[1]]
        assert len(await daemon.queued()) == 4
        assert "Going on: everything" in await daemon.asks("/resume all", user="boss")
        await daemon.settled()
    assert home.platform.texts("c1")[-4:] == [f"default: n{n}" for n in range(4)]


async def test_a_paused_chat_stays_paused_when_it_moves(home: Any) -> None:
    """The emergency stop of a chat holds under the chat's new id (ING-12)."""
    async with home.running() as daemon:
        await daemon.asks("/pause chat", user="boss", chat="old", kind="group")
        await daemon.says("moved", chat="old", kind="group", what="migration", moved_to="new")
        assert "paused here" in await daemon.asks("hello", chat="new", kind="group")
        assert home.models.asked == []


async def test_sessions_are_each_conversations_own(home: Any) -> None:
    """/sessions and /resume see their own conversation; another one's id is as good as made up (ISO-07)."""
    async with home.running() as daemon:
        await daemon.asks("mine", chat="c1")
        await daemon.settled()
        ((theirs,),) = await daemon.rows("SELECT session_id FROM turn")
        refused = await daemon.asks(f"/resume {theirs}", chat="c2")
        made_up = await daemon.asks(f"/resume {theirs[::-1]}", chat="c2")
        assert refused.replace(theirs, "X") == made_up.replace(theirs[::-1], "X")
        assert theirs[:8] not in await daemon.asks("/sessions", chat="c2")
        assert theirs[:8] in await daemon.asks("/sessions", chat="c1")
