"""The command line against a real daemon: its own process, real bots of a fake Telegram, a real web chat."""

import asyncio
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest

from hermesd.cli.app import main
from hermesd.testing.daemon import Installation, Process
from hermesd.testing.telegram import FakeTelegram, Posted

FORUM = -1003961179976
MAIN, OPS, DEAD = (f"{number}23456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw{number}" for number in (1, 2, 3))


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class House:
    """One installation of three bots, two of them well, and everything around it."""

    def __init__(self, root: Path, telegram: FakeTelegram) -> None:
        self.telegram, self.home = telegram, Installation(root)
        self.bot = telegram.bot(MAIN, "career_bot")
        telegram.bot(OPS, "ops_bot", can_read_all=False)
        self.forum = telegram.forum(FORUM, "House", {6: "backend", 7: "qa"})
        self.alice, self.bob = telegram.user(111, "Alice"), telegram.user(999, "Bob [red]")
        for bot_id, token in (("main", MAIN), ("ops", OPS), ("dead", DEAD)):
            self.home.telegram(
                bot_id, token, telegram.url, allow=["111"], admins=["111"], require_mention=bot_id != "main"
            )
        self.home.web()
        for name in ("default", "backend"):
            self.home.profile(name)
        self.home.route("telegram", str(FORUM), "6", "backend")
        self.daemon: Process

    async def __call__(self, *words: str) -> Ended:
        """Run one command, in a thread of this process: its exit code and what it printed."""
        place = ("--config", str(self.home.config), "--state", str(self.home.state))
        return await asyncio.to_thread(command, *words, *place)

    async def asks(self, text: str, thread: int = 6) -> str:
        """Alice writes into the forum; what the bot answers there."""
        before = self.telegram.world.posted[-1].serial if self.telegram.world.posted else 0
        self.alice.says(self.forum, text, thread=thread)
        return (await self.heard(lambda post: post.thread == thread, after=before)).text

    async def heard(self, wanted: Callable[[Posted], bool], after: int = 0) -> Posted:
        """The first message of a bot that is wanted."""
        with anyio.fail_after(30):
            return await self.telegram.wait_for_message(wanted, after=after)


def command(*words: str) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(words)
    return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())


@asynccontextmanager
async def living(root: Path) -> AsyncIterator[House]:
    """A house whose daemon runs."""
    async with FakeTelegram() as telegram:
        house = House(root, telegram)
        async with house.home.process() as house.daemon:
            yield house


SCREENS = {
    ("status",): ("hermesd 0.1.0: running", "telegram/main", "@career_bot", "unauthorized", "@BotFather", "#token="),
    ("bots",): ("telegram/dead", "unauthorized", "→ telegram/dead: @BotFather → /token", "web/local"),
    ("sessions", "backend"): ("hello there", "open"),
    ("sessions", "default"): ("no sessions of default yet",),
    ("routes", "list"): (f"chat {FORUM}, thread 6", "backend", "hermesd.yaml:"),
    ("routes", "explain", f"telegram/main:{FORUM}:6"): ("→ backend", "because route"),
    ("routes", "explain", f"telegram/main:{FORUM}:9"): ("→ default", "no route matches"),
    ("profiles", "list"): ("backend", "rehearsal:v1", "ok"),
    ("profiles", "show", "backend"): ("rehearsal:v1", "workspace", "toolsets", "all"),
    ("audit", "tail"): ("daemon.start", "turn.done", f"telegram/main:{FORUM}:6 → backend"),
    ("audit", "tail", "--kind", "nothing"): ("no decisions of the kind nothing yet",),
    ("audit", "verify"): ("✓ the audit log is whole",),
    ("pairing", "list"): ("nobody waits",),
    ("doctor",): ("@ops_bot sees only commands", "/setprivacy", "unauthorized", "/token", "3 profiles are good"),
    ("check",): ("is good",),
}  # fmt: skip


async def test_every_screen_of_a_running_daemon(tmp_path: Path) -> None:
    """Each command says what a person looks for, and the same as JSON; no line ends in blanks, none holds a code."""
    async with living(tmp_path) as house:
        house.home.profile("qa")
        assert "hello there" in await house.asks("hello there")
        with anyio.fail_after(30):
            while (await house("sessions", "backend", "--json")).out == "[]\n":
                pass  # a finished exchange is filed right after its answer went out; each look is a call
        await house("reload")
        for words, wanted in SCREENS.items():
            ended = await house(*words)
            assert (ended.code, ended.err) == (1 if words == ("doctor",) else 0, ""), words
            assert not [text for text in wanted if text not in ended.out], (words, ended.out)
            assert "\x1b" not in ended.out
            assert not [line for line in ended.out.splitlines() if line != line.rstrip()]
            data = await house(*words, "--json")
            assert data.code == ended.code
            assert data.json is not None
        token = (await house("status", "--json")).json["links"][0].partition("=")[2]
        assert token in (await house("status")).out
        assert not [secret for secret in (token, MAIN, OPS, DEAD) if secret in house.daemon.log]


async def test_a_name_that_is_not_there_is_answered_with_the_near_one(tmp_path: Path) -> None:
    """Unknown profiles, bots, scopes, addresses and codes are refused with exit 1 and the next step, in two lines."""
    cases = {
        ("profiles", "show", "bakend"): "did you mean 'backend'?",
        ("sessions", "nobody-at-all"): "there are: backend, default",
        ("pause", "bot:telegram/nope"): "telegram/main",
        ("pause", "profile:nope"): "profiles list",
        ("pause", "sometimes"): "bot:PLATFORM/BOT",
        ("pause", "chat:zzz"): "platform[/bot]:chat[:thread]",
        ("routes", "explain", "nonsense"): "platform[/bot]:chat[:thread]",
        ("routes", "explain", f"telegram:{FORUM}:6"): "telegram/BOT:",
        ("pairing", "approve", "NOPE"): "pairing list",
    }
    async with living(tmp_path) as house:
        for words, hint in cases.items():
            ended = await house(*words)
            assert (ended.code, ended.out) == (1, ""), words
            assert hint in ended.err, words
            assert ended.err.startswith("✗ ")
            assert len(ended.err.splitlines()) == 2, ended.err


async def test_a_stranger_is_let_in_by_the_code_and_another_is_not(tmp_path: Path) -> None:
    """The code of a direct message is listed, approved in any case of letters, told to the person, and used up."""
    async with living(tmp_path) as house:
        house.bob.says(house.bot, "hello?")
        offer = await house.heard(lambda post: "pairing code" in post.text)
        (asked,) = (await house("pairing", "list", "--json")).json
        assert asked["code"] in offer.text
        listed = await house("pairing", "list")
        assert all(word in listed.out for word in (asked["code"], "999", "Bob [red]", "telegram/main"))
        approved = await house("pairing", "approve", asked["code"].lower())
        assert approved.out == "✓ user 999 (Bob [red]) may talk to telegram/main now\n"
        welcome = await house.heard(lambda post: "You are in" in post.text)
        house.bob.says(house.bot, "and now?")
        await house.heard(lambda post: "and now?" in post.text and post.bot_id is not None, after=welcome.serial)
        assert (await house("pairing", "approve", asked["code"])).code == 1
        revoked = await house("pairing", "revoke", "telegram/main", "999")
        assert revoked.out == "✓ user 999 may no longer talk to telegram/main\n"
        again = await house("pairing", "revoke", "telegram/main", "999")
        assert (again.code, "access.allow" in again.err) == (1, True)
        eve = house.telegram.user(998, "Eve")
        eve.says(house.bot, "me too")
        await house.heard(lambda post: "your id is 998" in post.text.lower())
        (other,) = (await house("pairing", "list", "--json")).json
        assert (await house("pairing", "deny", other["code"])).out == "✓ user 998 (Eve) is refused\n"
        assert (await house("pairing", "list")).out == "nobody waits\n"
        kinds = {row["kind"] for row in (await house("audit", "tail", "--json")).json}
    assert {"pairing.approved", "pairing.denied", "pairing.revoked"} <= kinds


@pytest.mark.parametrize("scope", ["all", "bot:telegram/main", "profile:backend", f"chat:telegram/main:{FORUM}:6"])
async def test_a_pause_keeps_what_is_said_until_it_is_lifted(tmp_path: Path, scope: str) -> None:
    """In every scope the message is kept, told once with the reason, and answered after `resume`."""
    async with living(tmp_path) as house:
        paused = await house("pause", scope, "--note", "audit week")
        assert paused.out == f"✓ paused {scope}; messages are kept until `hermesd resume {scope}`\n"
        assert "it was paused already" in (await house("pause", scope)).out
        assert "audit week" in await house.asks("are you there?")
        assert f"paused: {scope} by operator" in (await house("status")).out
        await house("pause", "bot:web/local")
        resumed = await house("resume", scope)
        assert resumed.out == f"✓ resumed {scope}\n‖ still paused: bot:web/local\n"
        await house.heard(lambda post: post.text.startswith("You said: are you there?"))
        assert "it was not paused" in (await house("resume", scope)).out


async def test_a_bad_file_changes_nothing_and_a_good_one_counts_at_once(tmp_path: Path) -> None:
    """`check` and `reload` name the same places; the old configuration goes on until a good file comes."""
    async with living(tmp_path) as house:
        good = house.home.config.read_text()
        house.home.text(good.replace("backend", "bakend") + "limitz: {}\ndrain_second: 1\n")
        refused = await house("reload")
        checked = await house("check")
        assert (refused.code, checked.code) == (78, 78)
        for wanted in ("did you mean 'backend'?", "did you mean 'limits'?", "did you mean 'drain_seconds'?"):
            assert wanted in refused.out
            assert wanted in checked.out
        assert "the last reload" in (await house("status")).out
        assert "Profile: backend" in await house.asks("/profile@career_bot")
        house.home.route("telegram", str(FORUM), "6", "default")
        applied = await house("reload")
        assert applied.code == 0
        assert "routes changed" in applied.out
        assert "Profile: default" in await house.asks("/profile@career_bot")
        assert "the last reload" not in (await house("status")).out
        (house.home.profiles / "backend/config.yaml").write_text("model: {provider: opnai, default: x}\n")
        partly = await house("reload")
        assert partly.code == 0
        assert "backend/config.yaml:1:19" in partly.out
        assert "backend/config.yaml:1:19" in (await house("status")).out
        assert (await house("check")).code == 1


async def test_doctor_names_the_step_for_a_model_without_its_key(tmp_path: Path) -> None:
    """A profile whose key is missing, and a bot whose token is not accepted, are two errors with two ways out."""
    async with living(tmp_path) as house:
        house.home.profile("qa", model={"provider": "openai", "default": "gpt-x"})
        ended = await house("doctor")
    assert ended.code == 1
    assert "set OPENAI_API_KEY in the profile's .env" in ended.out
    assert "✗ unauthorized: Telegram does not accept the token" in ended.out


async def test_after_kill_9_the_files_still_answer(tmp_path: Path) -> None:
    """A dead daemon's audit log is whole, its routes and profiles can be read; what needs the daemon is exit 69."""
    async with living(tmp_path) as house:
        await house.asks("hello there")
        live = (await house("audit", "tail", "--json")).json
        explained = await house("routes", "explain", f"telegram/main:{FORUM}:6")
        await house.daemon.kill()
        assert (await house("audit", "tail", "--json")).json == live
        assert (await house("audit", "verify")).out.startswith("✓ the audit log is whole")
        assert (await house("routes", "explain", f"telegram/main:{FORUM}:6")).out == explained.out
        assert (await house("profiles", "list", "--json")).code == 0
        examined = await house("doctor")
        assert "hermesd is not running" in examined.out
        assert "✗ Telegram does not accept the token" in examined.out
        for words in (("status",), ("bots",), ("reload",), ("pause",), ("pairing", "list"), ("sessions", "backend")):
            assert (await house(*words)).code == 69, words
        with sqlite3.connect(house.home.state / "ledger.db") as ledger:
            assert ledger.execute("SELECT count(*) FROM turn WHERE state = 'done'").fetchone() == (1,)
        ledger.close()


async def test_a_second_daemon_on_the_same_state_says_so_in_one_sentence(tmp_path: Path) -> None:
    """It ends with 1 and names the first one's process, which goes on."""
    async with living(tmp_path) as house:
        places = ("--config", str(house.home.config), "--state", str(house.home.state))
        second = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hermesd", "run", *places, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        _, err = await second.communicate()
        assert second.returncode == 1
        assert f"already running on {house.home.state} (pid {house.daemon.pid})" in err.decode()
        assert (await house("status", "--healthy")).code == 0


async def test_from_a_token_to_an_answer(tmp_path: Path) -> None:
    """`init` in an empty directory, `run`, a message: the answer comes, and SIGTERM ends it with 0."""
    async with FakeTelegram() as telegram:
        bot, alice = telegram.bot(MAIN, "career_bot"), telegram.user(111, "Alice")
        variables = {name: value for name, value in os.environ.items() if not name.startswith("HERMESD_")}
        (tmp_path / "token").write_text(MAIN)
        begun = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hermesd", "init", "--token-file", "token", "--user", "111",
            "--base-url", telegram.url, cwd=tmp_path, env=variables, stdout=subprocess.PIPE,
        )  # fmt: skip
        out, _ = await begun.communicate()
        assert out.decode().splitlines()[-1] == "→ start it: hermesd run"
        config = tmp_path / ".hermesd/hermesd.yaml"
        config.write_text(config.read_text().replace("127.0.0.1:8600", "127.0.0.1:0"))
        alice.says(bot, "are you there?")
        daemon = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hermesd", "run", cwd=tmp_path, env=variables,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            answer = await telegram.wait_for_message(lambda post: post.bot_id is not None)
            assert answer.text.startswith("You said: are you there?")
        finally:
            daemon.terminate()
            greeting, _ = await daemon.communicate()
        assert daemon.returncode == 0
        assert b"hermesd 0.1.0 is up" in greeting
        assert b"telegram/main" in greeting
