"""A profile's conversations: what is kept, what a model sees of it, who may resume and find what."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.address import AdapterKey, Address, ConversationKey
from hermesd.clock import SystemClock
from hermesd.database import Database
from hermesd.errors import UserError
from hermesd.ports import Row, ToolCall
from hermesd.session import MIGRATIONS, SessionStore, estimate
from hermesd.session.key import moved, parts
from hermesd.session.search import quoted
from hermesd.session.window import fit, sound

BOT = AdapterKey("telegram", "main")


class Silent:
    def bind(self, **values: Any) -> Any:
        return self

    def debug(self, event: str, **values: Any) -> None: ...

    info = warning = error = debug


def key(chat: str = "-100", thread: str | None = "6", user: str | None = None, profile: str = "career") -> Any:
    return ConversationKey(profile, Address(BOT, chat, thread), "thread", user)


@asynccontextmanager
async def store(path: Path) -> AsyncIterator[SessionStore]:
    async with Database.opened(path / "hermesd.db", MIGRATIONS, log=Silent(), clock=SystemClock()) as db:
        yield SessionStore(db, SystemClock())


async def say(sessions: SessionStore, where: ConversationKey, turn: str, prompt: str, answer: str = "fine") -> str:
    session = await sessions.active(where)
    assert await sessions.file(turn, session.id, Row("user", prompt), (Row("assistant", answer),), 1.0)
    return session.id


async def test_an_exchange_is_filed_once_and_comes_back_as_it_was(tmp_path: Path) -> None:
    """Rows return equal to what went in, tool calls included; filing the same turn again changes nothing."""
    call = ToolCall("c1", "memory", '{"action": "add", "content": "ü"}')
    rows = (Row("assistant", "", (call,)), Row("tool", "done", (), "c1", "memory"), Row("assistant", "Noted. 🦊"))
    async with store(tmp_path) as sessions:
        session = await sessions.active(key())
        assert await sessions.file("t1", session.id, Row("user", "remember ü"), rows, 5.0)
        assert not await sessions.file("t1", session.id, Row("user", "again"), rows, 6.0)
        assert await sessions.history(key(), 1000) == (
            (await sessions.list(key()))[0],
            (Row("user", "remember ü"), *rows),
        )
        (listed,) = await sessions.list(key())
        assert (listed.exchanges, listed.title, listed.updated_at) == (1, "remember ü", 5.0)


async def test_a_lone_surrogate_is_stored_as_its_escape(tmp_path: Path) -> None:
    """Text no UTF-8 file can hold does not fail the turn."""
    async with store(tmp_path) as sessions:
        await say(sessions, key(), "t1", "broken \ud83d emoji")
        assert (await sessions.history(key(), 1000))[1][0].text == "broken \\ud83d emoji"


async def test_new_closes_the_old_session_and_starts_empty(tmp_path: Path) -> None:
    """After /new the model sees nothing of before, and the old session is still listed."""
    async with store(tmp_path) as sessions:
        old = await say(sessions, key(), "t1", "first")
        new = await sessions.new(key(), "second life")
        assert new.id != old
        assert (await sessions.history(key(), 1000)) == (new, ())
        assert [session.id for session in await sessions.list(key())] == [new.id, old]


async def test_resume_reaches_only_sessions_of_the_same_key(tmp_path: Path) -> None:
    """Another chat's, another user's and a missing session give one and the same refusal; wildcards mean nothing."""
    async with store(tmp_path) as sessions:
        mine = await say(sessions, key(), "t1", "my secret plan")
        foreign = [await say(sessions, key(chat="-200"), "t2", "x"), await say(sessions, key(user="7"), "t3", "y")]
        refusals = set()
        for wanted in (*foreign, foreign[0][:8], "feedfacefeedface", "%", "_" * 32, "", "x", "y", "' OR 1=1 --"):
            with pytest.raises(UserError) as refusal:
                await sessions.resume(key(), wanted)
            refusals.add(str(refusal.value).replace(repr(wanted), "X"))
        assert len(refusals) == 1
        await sessions.new(key())
        assert (await sessions.resume(key(), mine[:6])).id == mine
        await sessions.new(key())
        assert (await sessions.resume(key(), "MY SECRET plan")).closed_at is None
        assert (await sessions.active(key())).id == mine


async def test_a_prefix_that_fits_two_sessions_asks_for_more_letters(tmp_path: Path) -> None:
    """Resume never guesses between sessions."""
    async with store(tmp_path) as sessions:
        for turn in range(2):
            await say(sessions, key(), str(turn), "same title")
            await sessions.new(key())
        with pytest.raises(UserError, match="several"):
            await sessions.resume(key(), "same title")


async def test_a_title_is_one_short_line(tmp_path: Path) -> None:
    """A title is cleaned of line breaks and cut; an empty one is refused."""
    async with store(tmp_path) as sessions:
        session = await sessions.active(key())
        assert (await sessions.title(session, " a\n  b " + "c" * 200)).title == ("a b " + "c" * 200)[:80]
        with pytest.raises(UserError):
            await sessions.title(session, " \n")


async def test_undo_takes_back_one_exchange_at_a_time(tmp_path: Path) -> None:
    """Undone exchanges leave window, search and counts, and stay in the file for the record."""
    async with store(tmp_path) as sessions:
        for n in range(3):
            session = await say(sessions, key(), f"t{n}", f"question{n}", f"answer{n}")
        undone = await sessions.undo(session)
        assert undone is not None
        assert (undone.turn_id, undone.prompt, undone.reply) == ("t2", "question2", "answer2")
        last = await sessions.last_exchange(session)
        assert last is not None
        assert last.turn_id == "t1"
        assert [row.text for row in await sessions.window(session, 1000)] == [
            "question0",
            "answer0",
            "question1",
            "answer1",
        ]
        assert await sessions.search(key(), "question2") == ()
        assert (await sessions.list(key()))[0].exchanges == 2
        await sessions.undo(session)
        await sessions.undo(session)
        assert await sessions.undo(session) is None
        await say(sessions, key(), "t9", "later")
        assert [row.text for row in await sessions.window(session, 1000)] == ["later", "fine"]
    with sqlite3.connect(tmp_path / "hermesd.db") as tx:
        assert tx.execute("SELECT count(*) FROM message").fetchone() == (8,)
    tx.close()


async def test_notes_replace_old_rows_in_one_step(tmp_path: Path) -> None:
    """Until notes are committed the whole history stands; after that they come first and the newest rows follow."""
    async with store(tmp_path) as sessions:
        for n in range(10):
            session = await say(sessions, key(), f"t{n}", f"q{n} " + "word " * 40, f"a{n}")
        assert await sessions.compactable(session, over=100_000, keep=200) is None
        before = await sessions.window(session, 100_000)
        part = await sessions.compactable(session, over=300, keep=200)
        assert part is not None
        assert part.rows == before[: len(part.rows)]
        assert await sessions.window(session, 100_000) == before
        await sessions.compact(session, part.upto_seq, "they counted")
        after = await sessions.window(session, 100_000)
        assert "they counted" in after[0].text
        assert after[1:] == before[len(part.rows) :]
        assert after[1].role == "user"
        again = await sessions.compactable(session, over=10, keep=0)
        assert again is not None
        assert "they counted" in again.rows[0].text
        await sessions.compact(session, again.upto_seq, "all of it")
        assert [row.text[:2] for row in await sessions.window(session, 100_000)][1:] == ["q9", "a9"]
        assert await sessions.compactable(session, over=10, keep=0) is None


async def test_search_finds_words_of_this_key_only(tmp_path: Path) -> None:
    """A word said elsewhere, even the only one of its kind, is not found from here (ISO-07)."""
    async with store(tmp_path) as sessions:
        await say(sessions, key(), "t1", "The canary-1 sings in the Küche")
        await say(sessions, key(chat="-200"), "t2", "canary-2")
        await say(sessions, key(user="8"), "t3", "canary-3")
        (found,) = await sessions.search(key(), "canary")
        assert "«canary»-1" in found.excerpt
        assert len(await sessions.search(key(), "kuche SINGS")) == 1
        assert await sessions.search(key(), "canary 2") == ()


NASTY = st.one_of(
    st.text(),
    st.lists(
        st.sampled_from(
            [
                '"',
                "'",
                "a AND",
                "foo*bar(",
                "auth.py",
                "col:x",
                "-x",
                "NEAR(a b)",
                "^",
                "\x00",
                "\ud800",
                "{a b}: c",
                "🦊",
                "*",
            ]
        )
    ).map(" ".join),
)


@settings(max_examples=400, deadline=None)
@given(query=NASTY)
def test_any_text_is_a_query(query: str) -> None:
    """No search text, however it is built, is a syntax error (DLG-03)."""
    with closing(sqlite3.connect(":memory:")) as tx:
        tx.execute("CREATE VIRTUAL TABLE t USING fts5(text)")
        tx.execute("INSERT INTO t VALUES ('some words auth.py x')")
        tx.execute("SELECT count(*) FROM t WHERE t MATCH ?", (quoted(query) or '"x"',)).fetchone()


ROWS = st.lists(
    st.one_of(
        st.text(max_size=40).map(lambda text: Row("user", text)),
        st.text(max_size=40).map(lambda text: Row("assistant", text)),
        st.integers(0, 5).map(lambda n: Row("assistant", "", (ToolCall(str(n), "t", "{}"),))),
        st.integers(0, 5).map(lambda n: Row("tool", "result", (), str(n), "t")),
    ),
    max_size=20,
)


@settings(max_examples=400, deadline=None)
@given(rows=ROWS, budget=st.integers(0, 200))
def test_a_window_fits_and_is_sound(rows: list[Row], budget: int) -> None:
    """Whatever is cut, a window begins with a prompt, holds no call without answer or answer without call, and fits."""
    taken = fit(((estimate(row), row) for row in reversed(rows)), budget)
    if taken:
        assert taken[0].role == "user"
    asked = {call.call_id for row in taken for call in row.calls}
    assert asked == {row.call_id for row in taken if row.role == "tool"}
    if sum(map(estimate, taken)) > budget:
        assert len(taken) <= 2
    assert sound(taken) == taken


def test_an_exchange_longer_than_the_window_is_shortened_not_forgotten() -> None:
    """A huge last exchange still shows the model what it was about."""
    rows = [Row("user", "Q" * 4000), Row("assistant", "A" * 4000)]
    taken = fit(((estimate(row), row) for row in reversed(rows)), 400)
    assert [row.text[:1] for row in taken] == ["Q", "A"]
    assert sum(map(estimate, taken)) <= 400


identifiers = st.text(min_size=1, max_size=8)


@given(chat=identifiers, other=identifiers, thread=st.none() | identifiers, user=st.none() | identifiers)
def test_a_key_moves_with_its_chat_and_no_other(chat: str, other: str, thread: str | None, user: str | None) -> None:
    """The key after a chat's move is the key the new chat id would have encoded to."""
    before, after = key(chat, thread, user), key(other, thread, user)
    assert parts(before.encode())[4] == chat
    assert moved(before.encode(), BOT, chat, other) == after.encode()
    assert moved(before.encode(), AdapterKey("telegram", "second"), chat, other) is None
    assert moved(before.encode(), BOT, chat + "x", other) is None


async def test_sessions_follow_a_chat_to_its_new_id(tmp_path: Path) -> None:
    """After a supergroup migration the conversation goes on under the new id, once, and others stay (ING-12)."""
    async with store(tmp_path) as sessions:
        old = await say(sessions, key(), "t1", "before")
        other = await say(sessions, key(chat="-1000"), "t2", "other chat")
        assert await sessions.move_chat(BOT, "-100", "-555") == 1
        assert await sessions.move_chat(BOT, "-100", "-555") == 0
        assert (await sessions.active(key(chat="-555"))).id == old
        assert (await sessions.active(key(chat="-1000"))).id == other
