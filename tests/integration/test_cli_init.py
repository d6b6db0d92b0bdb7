"""`init`, `check` and `doctor`: from nothing to a configuration that works, and to what is wrong with a later one."""

import asyncio
import contextlib
import io
import json
import os
import shutil
import stat
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest

from hermesd.cli import examine
from hermesd.cli.app import main
from hermesd.cli.seed import seed
from hermesd.errors import OperatorError
from hermesd.testing.telegram import FakeTelegram

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def command(words: tuple[str, ...], cwd: Path, stdin: str, variables: dict[str, str]) -> Ended:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HERMESD_")} | variables
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch("sys.stdin", io.StringIO(stdin)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main(words)
    return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())


async def hermesd(*words: str, cwd: Path, stdin: str = "", **variables: str) -> Ended:
    """Run one command as if in a directory of its own, in a thread of this process."""
    return await asyncio.to_thread(command, words, cwd, stdin, variables)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A working directory with one good profile in its state."""
    profile = tmp_path / ".hermesd" / "profiles" / "default"
    profile.mkdir(parents=True)
    for folder in (tmp_path / ".hermesd", profile.parent, profile):
        folder.chmod(0o700)
    (profile / "SOUL.md").write_text("You are helpful.\n")
    return tmp_path


async def test_init_tries_the_token_and_writes_what_check_accepts(home: Path) -> None:
    """A good token ends in a private secret file and a configuration by reference that `check` calls good."""
    async with FakeTelegram() as server:
        server.bot(TOKEN, "career_bot")
        ended = await hermesd(
            "init", "--token-env", "MY_TOKEN", "--user", "111", "--base-url", server.url, cwd=home, MY_TOKEN=TOKEN
        )
    assert ended.code == 0, ended.err
    assert "career_bot" in ended.out
    config, secret = home / ".hermesd/hermesd.yaml", home / ".hermesd/secrets/telegram-main"
    assert secret.read_text().strip() == TOKEN
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert stat.S_IMODE(secret.parent.stat().st_mode) == 0o700
    assert TOKEN not in config.read_text() + ended.out + ended.err
    assert '"111"' in config.read_text()
    checked = await hermesd("check", cwd=home)
    assert checked.code == 0, checked.out + checked.err


async def test_init_takes_the_token_from_a_file_or_from_the_keyboard(home: Path) -> None:
    """A token in a file, and one typed at the prompt, work as well; what is typed is not shown."""
    (home / "token").write_text(TOKEN + "\n")
    async with FakeTelegram() as server:
        server.bot(TOKEN, "career_bot")
        base = ("--base-url", server.url)
        ended = await hermesd("init", "--token-file", "token", *base, "--config", "a.yaml", cwd=home)
        assert ended.code == 0, ended.err
        assert "/whoami" in ended.out
        typed = await hermesd("init", *base, "--config", "b/b.yaml", cwd=home, stdin=TOKEN + "\n")
    assert typed.code == 0, typed.err
    assert TOKEN not in typed.out + typed.err
    assert (home / "b/secrets/telegram-main").read_text().strip() == TOKEN


async def test_a_bad_token_writes_nothing(home: Path) -> None:
    """What Telegram does not accept leaves no file behind and says where a good one comes from."""
    async with FakeTelegram() as server:
        ended = await hermesd("init", "--token-env", "T", "--base-url", server.url, cwd=home, T=TOKEN)
        unreachable = await hermesd("init", "--token-env", "T", "--base-url", "http://127.0.0.1:1", cwd=home, T=TOKEN)
    assert (ended.code, unreachable.code) == (1, 1)
    assert "@BotFather" in ended.out
    assert "cannot be reached" in unreachable.out
    assert "@BotFather" not in unreachable.out + unreachable.err
    assert "nothing was written" in ended.err
    assert not (home / ".hermesd/hermesd.yaml").exists()
    assert not (home / ".hermesd/secrets").exists()
    assert TOKEN not in ended.out + ended.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bot", "x y"), "cannot name a bot"),
        (("--base-url", "nonsense"), "is not an address"),
        ((), "no token was given"),
    ],
    ids=("name", "address", "token"),
)
async def test_init_refuses_in_one_sentence(home: Path, words: tuple[str, ...], said: str) -> None:
    """A name, an address or a token that cannot be one is said in a line with the way out, and nothing is written."""
    ended = await hermesd("init", *words, cwd=home)
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err
    assert len(ended.err.splitlines()) == 2
    assert not (home / ".hermesd/hermesd.yaml").exists()
    assert not (home / ".hermesd/secrets").exists()


async def test_init_leaves_an_installation_that_can_start(tmp_path: Path) -> None:
    """In an empty directory it makes the first profile as well, private, so that `check` is content."""
    async with FakeTelegram() as server:
        server.bot(TOKEN, "career_bot")
        ended = await hermesd("init", "--token-env", "T", "--base-url", server.url, cwd=tmp_path, T=TOKEN)
    assert ended.code == 0, ended.err
    soul = tmp_path / ".hermesd/profiles/default/SOUL.md"
    assert stat.S_IMODE(soul.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in list(soul.parents)[:3]} == {0o700}
    checked = await hermesd("check", cwd=tmp_path)
    assert (checked.code, checked.out) == (0, "✓ .hermesd/hermesd.yaml is good\n")


async def test_the_configuration_that_was_written_is_the_one_that_is_read(home: Path) -> None:
    """Said, then HERMESD_CONFIG, then what `init` left in the state directory, then the sample in the checkout."""
    for place in ("config", "other", ".hermesd"):
        (home / place).mkdir(exist_ok=True)
        (home / place / "hermesd.yaml").write_text(GOOD)

    async def used(*words: str, **variables: str) -> str:
        return json.loads((await hermesd("check", "--json", *words, cwd=home, **variables)).out)["config"]

    assert await used() == ".hermesd/hermesd.yaml"
    assert await used(HERMESD_CONFIG="other/hermesd.yaml") == "other/hermesd.yaml"
    assert await used("--config", "config/hermesd.yaml", HERMESD_CONFIG="other/hermesd.yaml") == "config/hermesd.yaml"
    (home / ".hermesd/hermesd.yaml").unlink()
    assert await used() == "config/hermesd.yaml"


def test_samples_are_copied_once_and_privately(tmp_path: Path) -> None:
    """What a person changed or deleted is never brought back; an interrupted copy is no profile."""
    samples, state = tmp_path / "samples", tmp_path / "state"
    for name in ("career", "qa"):
        (samples / name / "skills").mkdir(parents=True)
        (samples / name / "SOUL.md").write_text(name)
        (samples / name / "SOUL.md").chmod(0o644)
    (state / "profiles/.qa.new").mkdir(parents=True)
    assert seed(samples, state) == ["career", "qa"]
    homes = state / "profiles"
    assert {path.name for path in homes.iterdir()} == {"career", "qa"}
    assert {stat.S_IMODE((homes / "qa" / name).stat().st_mode) for name in ("SOUL.md", ".env")} == {0o600}
    assert stat.S_IMODE((homes / "qa/skills").stat().st_mode) == 0o700
    (homes / "career/SOUL.md").write_text("mine")
    shutil.rmtree(homes / "qa")
    (samples / "new").mkdir()
    assert seed(samples, state) == ["new"]
    assert not (homes / "qa").exists()
    assert (homes / "career/SOUL.md").read_text() == "mine"
    with pytest.raises(OperatorError, match="no sample profiles"):
        seed(tmp_path / "nowhere", state)


async def test_init_never_overwrites_unasked(home: Path) -> None:
    """An existing configuration stays as it is, unless --force is said."""
    config = home / ".hermesd/hermesd.yaml"
    config.write_text("mine")
    ended = await hermesd("init", "--token-env", "T", cwd=home, T=TOKEN)
    assert (ended.code, config.read_text()) == (1, "mine")
    assert "--force" in ended.err
    async with FakeTelegram() as server:
        server.bot(TOKEN, "career_bot")
        forced = await hermesd("init", "--force", "--token-env", "T", "--base-url", server.url, cwd=home, T=TOKEN)
    assert forced.code == 0, forced.err
    assert "bots:" in config.read_text()


async def test_a_name_is_no_user_id(home: Path) -> None:
    """@names change hands, so only numbers become admins."""
    async with FakeTelegram() as server:
        server.bot(TOKEN, "career_bot")
        base = ("--base-url", server.url)
        ended = await hermesd("init", "--token-env", "T", "--user", "@ann", *base, cwd=home, T=TOKEN)
    assert ended.code == 1
    assert "not a user id" in ended.err
    assert not (home / ".hermesd/hermesd.yaml").exists()
    assert not (home / ".hermesd/secrets").exists()


GOOD = "bots:\n  - {platform: web, bot_id: local}\n"


def configure(home: Path, text: str) -> Path:
    config = home / "config/hermesd.yaml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(text)
    return config


async def test_check_is_quiet_about_a_good_file(home: Path) -> None:
    """A good file and good profiles are exit code 0 and one line."""
    configure(home, GOOD)
    ended = await hermesd("check", cwd=home)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("✓ ")


async def test_check_lists_every_problem_at_once_with_its_place(home: Path) -> None:
    """Three mistakes are three findings with line and column, the near key is suggested, and the code is 78."""
    configure(home, GOOD + "defalt_profile: x\nlimits: {turns: many}\nroutes: {telegram: {'-1': {'6': nobody}}}\n")
    ended = await hermesd("check", cwd=home)
    assert ended.code == 78
    assert "default_profile" in ended.out
    assert "3:1" in ended.out
    assert "4:" in ended.out
    assert "5:" in ended.out
    data = json.loads((await hermesd("check", "--json", cwd=home)).out)
    assert data["exit"] == 78
    assert {problem["line"] for problem in data["problems"]} >= {3, 4, 5}


async def test_a_broken_profile_is_code_1(home: Path) -> None:
    """The daemon starts without it, so it is a warning for the whole and an error for the profile, in its own file."""
    configure(home, GOOD)
    profile = home / ".hermesd/profiles/qa"
    profile.mkdir(mode=0o700)
    (profile / "config.yaml").write_text("model: {provider: openia, default: x}\n")
    ended = await hermesd("check", cwd=home)
    assert ended.code == 1
    assert "qa/config.yaml" in ended.out
    assert "openai" in ended.out


async def test_a_model_without_its_key_is_named(home: Path) -> None:
    """A profile whose key is missing is found before its first message, by check and by doctor."""
    configure(home, GOOD)
    profile = home / ".hermesd/profiles/qa"
    profile.mkdir(mode=0o700)
    (profile / "config.yaml").write_text('model: {provider: openai, default: x, api_key: "${env:MISSING_KEY}"}\n')
    ended = await hermesd("check", cwd=home)
    assert ended.code == 1
    assert "MISSING_KEY" in ended.out
    assert "1:8" in ended.out
    assert "MISSING_KEY" in (await hermesd("doctor", cwd=home)).out


async def test_a_token_that_is_not_there_is_code_1(home: Path) -> None:
    """The daemon starts without that bot, so it is a warning, at the reference, for each way to write one."""
    references = ["'${env:NOT_SET}'", "{file: nowhere}", "{credential: none}"]
    bots = [f"  - {{platform: telegram, bot_id: b{n}, token: {ref}}}\n" for n, ref in enumerate(references)]
    configure(home, GOOD + "".join(bots))
    ended = await hermesd("check", "--json", cwd=home)
    assert ended.code == 1
    found = json.loads(ended.out)["problems"]
    assert [(problem["line"], problem["key"]) for problem in found] == [
        (3, "bots[1].token"),
        (4, "bots[2].token"),
        (5, "bots[3].token"),
    ]
    assert {problem["level"] for problem in found} == {"warning"}
    assert all(problem["hint"] for problem in found)


async def test_a_missing_file_is_refused_with_the_way_out(home: Path) -> None:
    """No configuration at all is exit code 78 and names the file that was looked for."""
    ended = await hermesd("check", cwd=home)
    assert ended.code == 78
    assert "config/hermesd.yaml" in ended.out + ended.err


async def test_routes_can_be_explained_without_a_daemon(home: Path) -> None:
    """The file alone says which profile an address goes to, and that an unknown one goes to the default."""
    text = GOOD + "  - {platform: telegram, bot_id: main, token: '${env:T}'}\n"
    configure(home, text + "routes: {telegram: {'-100': {'6': default}}}\ndefault_profile: default\n")
    listed = await hermesd("routes", "list", "--json", cwd=home, T=TOKEN)
    assert listed.code == 0, listed.err
    assert len(json.loads(listed.out)) == 1
    ended = await hermesd("routes", "explain", "telegram:-100:6", cwd=home, T=TOKEN)
    assert ended.code == 0, ended.err
    assert "→ default" in ended.out
    wrong = await hermesd("routes", "explain", "nonsense", cwd=home, T=TOKEN)
    assert wrong.code == 1
    assert "platform[/bot]:chat" in wrong.err


async def test_profiles_can_be_listed_without_a_daemon(home: Path) -> None:
    """Every home with its state; one of them in full, secrets by name only."""
    configure(home, GOOD)
    secrets = home / ".hermesd/profiles/default/.env"
    secrets.write_text("OPENAI_API_KEY=sk-abcdefghijklmnop\n")
    secrets.chmod(0o600)
    listed = await hermesd("profiles", "list", cwd=home)
    assert (listed.code, "default" in listed.out) == (0, True)
    shown = await hermesd("profiles", "show", "default", cwd=home)
    assert "OPENAI_API_KEY" in shown.out
    assert "sk-abc" not in shown.out
    assert (await hermesd("profiles", "show", "nobody", cwd=home)).code == 1


async def test_doctor_asks_each_bot_and_names_the_click(home: Path) -> None:
    """Without a daemon the bots are asked directly; privacy mode is named with the exact steps in @BotFather."""
    async with FakeTelegram() as server:
        server.bot(TOKEN, "career_bot", can_read_all=False)
        text = f"bots:\n  - {{platform: telegram, bot_id: main, token: '${{env:T}}', base_url: '{server.url}'}}\n"
        configure(home, text)
        ended = await hermesd("doctor", cwd=home, T=TOKEN)
        wrong = await hermesd("doctor", cwd=home, T=TOKEN[:-1] + "x")
    assert "telegram/main" in ended.out
    assert "career_bot" in ended.out
    assert "/setprivacy" in ended.out
    assert wrong.code == 1
    assert TOKEN not in ended.out + wrong.out


async def test_doctor_finds_a_readable_secret(home: Path) -> None:
    """A .env that others can read is an error with the command that mends it."""
    configure(home, GOOD)
    secrets = home / ".hermesd/profiles/default/.env"
    secrets.write_text("A=b\n")
    secrets.chmod(0o644)
    ended = await hermesd("doctor", cwd=home)
    assert ended.code == 1
    assert ended.out.count(f"chmod 600 {secrets}") == 1
    data = json.loads((await hermesd("doctor", "--json", cwd=home)).out)
    assert {"machine", "configuration"} <= {group["about"] for group in data}


@pytest.mark.parametrize(("version", "warned"), [((3, 40, 1), True), ((3, 51, 2), True), ((3, 51, 3), False)])
def test_an_sqlite_with_the_reset_race_is_noted(version: tuple[int, ...], warned: bool) -> None:
    """Below 3.51.3 doctor says how to take backups."""
    assert bool(examine.sqlite_finding(version).fix) is warned
