"""The command line as a person and a script meet it, against a real control socket."""

import asyncio
import io
import json
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hermesd import audit
from hermesd.cli.app import main
from hermesd.control import ControlServer
from hermesd.errors import UserError
from hermesd.ledger import boot
from hermesd.ledger.schema import MIGRATIONS
from hermesd.testing.host import MemoryLog

STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "pid": 4242,
    "uptime": 11_523.4,
    "epoch": 7,
    "config": {"path": "/etc/hermesd/hermesd.yaml", "digest": "abc", "loaded_at": 1_700_000_000.0},
    "state": "/var/lib/hermesd",
    "safe_mode": "",
    "bots": [
        {"key": "telegram/main", "state": "up", "detail": "", "fix": "", "since": 1_700_000_000.0, "restarts": 0},
        {
            "key": "telegram/ops",
            "state": "unauthorized",
            "detail": "the token is not accepted",
            "fix": "@BotFather → /token",
            "since": 1_700_000_100.0,
            "restarts": 3,
        },
    ],
    "profiles": {"total": 3, "broken": [{"name": "qa", "reason": "config.yaml:3:1: no such provider"}]},
    "turns": {"running": 2, "queued": 1, "done_today": 40, "failed_today": 0},
    "deliveries": {"pending": 0, "parked": 1, "ambiguous": 0},
    "database": {"state": "ok", "detail": ""},
    "paused": [{"scope": "profile:finance", "by": "operator", "at": 1_700_000_000.0, "note": "audit week"}],
    "last_reload": {"at": 1_700_000_050.0, "result": "rejected", "applied": [], "needs_restart": [],
                    "rejected": ["hermesd.yaml:4:3: error: routes: no such profile"]},
    "links": ["http://127.0.0.1:8600/?token=abc"],
}  # fmt: skip


class Ended(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def command(*words: str) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(words)
    return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())


async def hermesd(*words: str) -> Ended:
    """Run one command, in a thread of this process, so that the daemon in its loop can answer."""
    return await asyncio.to_thread(command, *words)


@asynccontextmanager
async def daemon(state: Path, **answers: Any) -> AsyncIterator[list[tuple[str, dict[str, Any]]]]:
    """A control socket that gives canned answers, and the list of the calls it heard."""
    heard: list[tuple[str, dict[str, Any]]] = []

    def handler(name: str, answer: Any) -> Any:
        async def handle(args: Mapping[str, Any]) -> Any:
            heard.append((name, dict(args)))
            if isinstance(answer, Exception):
                raise answer
            return answer

        return handle

    state.mkdir(exist_ok=True, mode=0o700)
    handlers = {name: handler(name, answer) for name, answer in answers.items()}
    async with ControlServer(state / "control.sock", handlers, MemoryLog()).running():
        yield heard


NEED_A_DAEMON = [
    ("status",),
    ("bots",),
    ("sessions", "career"),
    ("reload",),
    ("pause",),
    ("resume", "all"),
    ("pairing", "list"),
    ("pairing", "approve", "ABC"),
    ("pairing", "deny", "ABC"),
    ("pairing", "revoke", "telegram/main", "111"),
]


@pytest.mark.parametrize("words", NEED_A_DAEMON, ids=" ".join)
async def test_without_a_daemon_the_next_step_is_named(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Every command that needs the daemon exits 69 and says how to start it, in a line or two, without a traceback."""
    ended = await hermesd(*words, "--state", str(tmp_path))
    assert ended.code == 69
    assert ended.out == ""
    assert "hermesd is not running" in ended.err
    assert "hermesd run" in ended.err
    assert len(ended.err.splitlines()) == 2


async def test_status_shows_what_matters_and_what_to_do(tmp_path: Path) -> None:
    """Bots with their states and fixes, broken profiles, pauses and a rejected reload are all on one screen."""
    async with daemon(tmp_path, status=STATUS):
        ended = await hermesd("status", "--state", str(tmp_path))
    assert (ended.code, ended.err) == (0, "")
    for wanted in ("telegram/main", "up", "unauthorized", "@BotFather → /token", "epoch 7", "3 h 12 min", "qa",
                   "no such provider", "profile:finance", "audit week", "no such profile", "40 done today",
                   "http://127.0.0.1:8600/?token=abc"):  # fmt: skip
        assert wanted in ended.out


async def test_status_for_programs_is_the_daemons_answer(tmp_path: Path) -> None:
    """--json prints exactly what the daemon said."""
    async with daemon(tmp_path, status=STATUS, bots=STATUS["bots"]):
        assert (await hermesd("status", "--json", "--state", str(tmp_path))).json == STATUS
        assert (await hermesd("bots", "--json", "--state", str(tmp_path))).json == STATUS["bots"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, 0),
        ({"database": {"state": "full", "detail": "disk full"}}, 1),
        ({"safe_mode": "3 crashes in 10 min"}, 1),
    ],
)
async def test_a_health_check_is_silent_and_has_a_code(tmp_path: Path, change: dict[str, Any], code: int) -> None:
    """`status --healthy` prints nothing; a bot that is down does not make the daemon sick, a full disk does."""
    async with daemon(tmp_path, status=STATUS | change):
        assert await hermesd("status", "--healthy", "--state", str(tmp_path)) == (code, "", "")


async def test_a_refusal_of_the_daemon_is_shown_with_its_hint(tmp_path: Path) -> None:
    """What the daemon will not do ends with code 1, the reason and the next step."""
    refusal = UserError("there is no bot 'x'", hint="write one of: telegram/main")
    async with daemon(tmp_path, pause=refusal):
        ended = await hermesd("pause", "bot:telegram/x", "--state", str(tmp_path))
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "✗ there is no bot 'x'\n  → write one of: telegram/main\n"


async def test_pause_and_resume_pass_their_scope_on(tmp_path: Path) -> None:
    """Scope and note reach the daemon as written, and the answer says what stands still."""
    answer = {"scope": "chat:telegram/main:-100:6", "changed": True}
    async with daemon(tmp_path, pause=answer, resume=answer) as heard:
        paused = await hermesd("pause", "chat:telegram:-100:6", "--note", "flood", "--state", str(tmp_path))
        resumed = await hermesd("resume", "chat:telegram:-100:6", "--state", str(tmp_path))
        await hermesd("pause", "--state", str(tmp_path))
    assert heard == [
        ("pause", {"scope": "chat:telegram:-100:6", "note": "flood"}),
        ("resume", {"scope": "chat:telegram:-100:6"}),
        ("pause", {"scope": "all", "note": ""}),
    ]
    assert "paused chat:telegram/main:-100:6" in paused.out
    assert "resumed chat:telegram/main:-100:6" in resumed.out


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        ({"result": "applied", "epoch": 8, "applied": ["routes"], "needs_restart": ["api"]}, 0, "epoch 8"),
        ({"result": "unchanged", "epoch": 7}, 0, "nothing changed"),
        (
            {"result": "rejected", "epoch": 7, "rejected": ["hermesd.yaml:4:3: error: no such profile"]},
            78,
            "no such profile",
        ),
    ],
)
async def test_reload_reports_what_came_of_it(tmp_path: Path, report: dict[str, Any], code: int, said: str) -> None:
    """Applied, deferred and rejected parts are told apart; a rejected file is exit code 78."""
    async with daemon(tmp_path, reload=report):
        ended = await hermesd("reload", "--state", str(tmp_path))
        data = await hermesd("reload", "--json", "--state", str(tmp_path))
    assert ended.code == data.code == code
    assert said in ended.out
    assert data.json == report


async def test_pairing_shows_the_id_before_the_name(tmp_path: Path) -> None:
    """Who asks is known by the immutable id; the name is beside it."""
    row = {"code": "K7Q2", "key": "telegram/main", "user_id": "111", "user_name": "Ann", "chat_id": "111",
           "created_at": 1_700_000_000.0, "expires_at": 1_700_003_600.0, "state": "asked"}  # fmt: skip
    async with daemon(tmp_path, pairing_list=[row], pairing_approve=row, pairing_deny=row) as heard:
        listed = await hermesd("pairing", "list", "--state", str(tmp_path))
        approved = await hermesd("pairing", "approve", "K7Q2", "--state", str(tmp_path))
        denied = await hermesd("pairing", "deny", "K7Q2", "--state", str(tmp_path))
    assert all(word in listed.out for word in ("K7Q2", "telegram/main", "111", "Ann"))
    assert "user 111 (Ann) may talk to telegram/main" in approved.out
    assert "user 111 (Ann) is refused" in denied.out
    assert heard[1:] == [("pairing_approve", {"code": "K7Q2"}), ("pairing_deny", {"code": "K7Q2"})]


HOSTILE = "\x1b]0;owned\x07\x1b[2J[red]x[/red]\n✓ forged\u202egpj"


async def test_foreign_text_cannot_paint_the_terminal(tmp_path: Path) -> None:
    """Titles and names full of terminal codes, markup and line breaks stay one harmless cell, in JSON as well."""
    rows = [{"id": "s1", "title": HOSTILE, "exchanges": 1, "updated_at": 1_700_000_000.0, "closed_at": None}]
    async with daemon(tmp_path, sessions=rows, profiles=[{"name": "career"}]):
        table = await hermesd("sessions", "career", "--state", str(tmp_path))
        data = await hermesd("sessions", "career", "--json", "--state", str(tmp_path))
    for text in (table.out, data.out):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
        assert "[red]x[/red]" in text
    assert not any(line.startswith("✓") for line in table.out.splitlines())
    assert data.json == rows


async def test_routes_and_explain_ask_the_running_daemon(tmp_path: Path) -> None:
    """While it runs, the daemon's own table answers, for this person where one is named."""
    routes = [{"match": "telegram:-100:6", "profile": "career", "role": None, "name": ""}]
    answer = {"profile": "career", "why": "the route telegram:-100:6", "considered": ["telegram:-100"]}
    async with daemon(tmp_path, routes=routes, explain=answer) as heard:
        listed = await hermesd("routes", "list", "--state", str(tmp_path))
        explained = await hermesd("routes", "explain", "telegram:-100:6", "--user", "111", "--state", str(tmp_path))
    assert "telegram:-100:6" in listed.out
    assert "telegram:-100:6 → career" in explained.out
    assert heard[-1] == ("explain", {"address": "telegram:-100:6", "user": "111"})


async def test_profiles_ask_the_running_daemon(tmp_path: Path) -> None:
    """Broken profiles stand beside the good ones with their reason; one profile is shown without a secret's value."""
    rows = [
        {"name": "qa", "state": "broken", "model": "", "reason": "no such provider"},
        {"name": "career", "state": "ok", "model": "openai:gpt-x", "reason": ""},
    ]
    one = {"name": "career", "home": "/h", "model": "openai:gpt-x", "secrets": ["OPENAI_API_KEY"], "toolsets": None}
    async with daemon(tmp_path, profiles=rows, profile=one) as heard:
        listed = await hermesd("profiles", "list", "--state", str(tmp_path))
        shown = await hermesd("profiles", "show", "career", "--state", str(tmp_path))
    assert "no such provider" in listed.out
    assert "OPENAI_API_KEY" in shown.out
    assert heard[-1] == ("profile", {"name": "career"})


def ledger(state: Path, count: int) -> Path:
    """A stopped daemon's ledger with that many decisions in it."""
    file = state / "ledger.db"
    with sqlite3.connect(file) as tx:
        for migration in MIGRATIONS:
            tx.executescript(migration.sql)
        for number in range(count):
            audit.append(tx, at=1_700_000_000.0 + number, kind="turn.done", actor="telegram/main:111", target="career")
        boot.start(tx, at=1_700_000_000.0 + count, pid=1, version="0")
    tx.close()
    return file


async def test_the_audit_log_of_a_stopped_daemon_can_be_read_and_proved(tmp_path: Path) -> None:
    """tail and verify work on the file alone; a changed row is found and named with exit code 1."""
    file = ledger(tmp_path, 5)
    tail = await hermesd("audit", "tail", "-n", "2", "--json", "--state", str(tmp_path))
    assert [row["id"] for row in tail.json] == [4, 5]
    whole = await hermesd("audit", "verify", "--state", str(tmp_path))
    assert (whole.code, whole.out) == (0, "✓ the audit log is whole: 5 rows\n")
    with sqlite3.connect(file) as tx:
        tx.executescript("DROP TRIGGER audit_is_never_changed; UPDATE audit SET actor = 'mallory' WHERE id = 3")
    tx.close()
    broken = await hermesd("audit", "verify", "--state", str(tmp_path))
    assert broken.code == 1
    assert "broken at row 3" in broken.out
    assert (await hermesd("audit", "verify", "--json", "--state", str(tmp_path))).json["first_bad"] == 3


async def test_rows_cut_off_the_audit_log_are_missed(tmp_path: Path) -> None:
    """A stopped daemon's log that ends before its newest start did is told to be cut."""
    file = ledger(tmp_path, 5)
    with sqlite3.connect(file) as tx:
        tx.executescript("DROP TRIGGER audit_is_never_cut; DELETE FROM audit WHERE id > 3")
    tx.close()
    ended = await hermesd("audit", "verify", "--state", str(tmp_path))
    assert ended.code == 1
    assert "cut off" in ended.out


async def test_a_missing_ledger_is_a_sentence(tmp_path: Path) -> None:
    """Pointing at the wrong directory says so instead of making an empty file there."""
    ended = await hermesd("audit", "verify", "--state", str(tmp_path))
    assert ended.code == 1
    assert "there is no ledger at" in ended.err
    assert list(tmp_path.iterdir()) == []


async def test_the_audit_log_of_a_running_daemon_is_asked_for(tmp_path: Path) -> None:
    """While the daemon runs nobody else opens its ledger."""
    async with daemon(
        tmp_path, audit_tail=[], audit_verify={"ok": False, "count": 2, "first_bad": 3, "why": "was changed"}
    ) as heard:
        await hermesd("audit", "tail", "--kind", "turn.done", "--state", str(tmp_path))
        ended = await hermesd("audit", "verify", "--state", str(tmp_path))
    assert heard == [("audit_tail", {"limit": 50, "kind": "turn.done"}), ("audit_verify", {})]
    assert ended.code == 1


async def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    """`hermesd audit tail | head -1` ends quietly."""
    ledger(tmp_path, 50)
    command = shlex.join([sys.executable, "-m", "hermesd", "audit", "tail", "--json", "--state", str(tmp_path)])
    process = await asyncio.create_subprocess_shell(
        f"{command} | head -1",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert (out, err) == (b"[\n", b"")


LIGHT = """
import sys
from hermesd.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
heavy = {"hermesd.ports", "hermesd.settings"}
heavy |= {"structlog", "telegram", "openai", "pydantic_ai", "starlette", "uvicorn", "httpx", "aiosqlite"}
print("LOADED", sorted(heavy & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "words", [("--help",), ("version",), ("status",), ("bots",), ("pairing", "list")], ids=" ".join
)
async def test_a_light_command_loads_nothing_heavy(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Asking the daemon costs no SDK, no web framework and no data models: that is what keeps it instant."""
    place = () if words[0] in ("--help", "version") else ("--state", str(tmp_path))
    command = [sys.executable, "-c", LIGHT, *words, *place]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "LOADED []"


async def test_the_environment_names_the_state_directory(tmp_path: Path) -> None:
    """HERMESD_STATE is where the daemon is looked for when no flag says otherwise, and a flag wins."""
    (tmp_path / "other").mkdir()
    async with daemon(tmp_path / "it", bots=[]):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hermesd", "bots", "--json", env={"HERMESD_STATE": str(tmp_path / "it")},
            stdout=subprocess.PIPE,
        )  # fmt: skip
        out, _ = await process.communicate()
        flag = await hermesd("bots", "--state", str(tmp_path / "other"))
    assert out == b"[]\n"
    assert flag.code == 69


async def test_version_is_one_line_or_data() -> None:
    """`version` names the product; with --json the versions that matter in a report."""
    assert (await hermesd("version")).out.startswith("hermesd ")
    assert set((await hermesd("version", "--json")).json) == {"hermesd", "python", "sqlite"}


async def test_a_typo_is_answered_with_code_2() -> None:
    """An unknown command or option is a usage error, without a traceback."""
    for words in (("stauts",), ("status", "--jsno")):
        ended = await hermesd(*words)
        assert ended.code == 2
        assert "Traceback" not in ended.err
