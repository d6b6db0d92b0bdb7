"""A profile's files: which names, which folders, which modes and which texts are taken, and which are refused."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.errors import ConfigError, SecretUnavailable, UserError
from hermesd.profile import Home, allowed, load
from hermesd.profile.home import survey
from hermesd.profile.secrets import Secrets, read, resolve


def make(folder: Path, name: str = "career", config: str = "", env: str | None = None, soul: str = "") -> Home:
    home = Home(name, folder / name)
    home.path.mkdir(mode=0o700, parents=True)
    home.config.write_text(config)
    if env is not None:
        home.env.write_text(env)
        home.env.chmod(0o600)
    (home.path / "SOUL.md").write_text(soul)
    return home


def model(block: Any) -> Any:
    if not isinstance(block, dict) or "provider" not in block:
        raise ValueError("`model` needs a provider")
    return block


BAD_NAMES = [
    "",
    ".",
    "..",
    "a/b",
    "../x",
    "A",
    "CON",
    "ä",
    "a b",
    "-a",
    "_a",
    "a\n",
    "a\x00",
    "ca\u0440eer",
    "x" * 65,
    "a.b",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_has_one_spelling(name: str) -> None:
    """Nothing that a path, a terminal or a person could misread is a profile's name (ISO-03)."""
    assert not allowed(name)


@given(st.text(max_size=70))
def test_an_allowed_name_is_one_plain_path_segment(name: str) -> None:
    """Every allowed name stays below the folder it is joined to, and survives case folding."""
    if allowed(name):
        assert (Path("/p") / name).resolve().parent == Path("/p")
        assert name == name.casefold()
        assert name.isascii()


@pytest.mark.parametrize("name", ["hermes", "default", "test", "tmp", "root", "sudo", "Main", "../x"])
def test_reserved_and_bad_names_are_not_created(tmp_path: Path, name: str) -> None:
    """A person cannot create a profile whose name means something else already."""
    with pytest.raises(UserError):
        Home.create(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_a_new_home_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """Every folder of a created home is 0700 under umask 022; the daemon itself may create `default` (ISO-06)."""
    before = os.umask(0o022)
    try:
        home = Home.create(tmp_path / "profiles", "default", reserved=True)
    finally:
        os.umask(before)
    folders = [tmp_path / "profiles", home.path, *home.path.iterdir()]
    assert len(folders) == 6
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    with pytest.raises(UserError, match="already"):
        Home.create(tmp_path / "profiles", "default", reserved=True)


def test_only_real_folders_with_proper_names_are_homes(tmp_path: Path) -> None:
    """Links and odd names are reported and not served; hidden entries and plain files mean nothing (ISO-03)."""
    make(tmp_path / "profiles")
    outside = make(tmp_path / "outside", "victim")
    (tmp_path / "profiles" / "away").symlink_to(outside.path)
    (tmp_path / "profiles" / "twin").symlink_to("career")
    (tmp_path / "profiles" / "Upper").mkdir()
    (tmp_path / "profiles" / ".git").mkdir()
    (tmp_path / "profiles" / "README").write_text("")
    homes, problems = survey(tmp_path / "profiles")
    assert [home.name for home in homes] == ["career"]
    assert sorted(Path(problem.file).name for problem in problems) == ["Upper", "away", "twin"]


@pytest.mark.parametrize("name", [".env", "config.yaml", "SOUL.md"])
def test_a_linked_file_is_refused(tmp_path: Path, name: str) -> None:
    """No file of a home is read through a link, so that nobody's file becomes another's (ISO-03)."""
    home = make(tmp_path, env="A=1\n")
    secret = tmp_path / "other.txt"
    secret.write_text("CANARY=1\n")
    secret.chmod(0o600)
    (home.path / name).unlink()
    (home.path / name).symlink_to(secret)
    found = load(home, model)
    assert found.settings is None
    assert "symbolic link" in found.problems[0].message
    assert "CANARY" not in repr(found)


@pytest.mark.parametrize("name", ["memories", "skills", "logs", "workspace"])
def test_a_linked_folder_is_refused(tmp_path: Path, name: str) -> None:
    """A home whose folders lead elsewhere does not run."""
    home = make(tmp_path)
    (home.path / name).symlink_to(tmp_path)
    assert load(home, model).settings is None


def test_a_fifo_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    """Special files are refused at once."""
    home = make(tmp_path)
    home.config.unlink()
    os.mkfifo(home.config)
    assert load(home, model).settings is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_secrets_others_can_read_are_refused_with_the_command_that_helps(tmp_path: Path, mode: int) -> None:
    """A readable .env keeps the profile from running, and the problem holds the chmod to type (ISO-06)."""
    home = make(tmp_path, env="KEY=secret-value-1\n")
    home.env.chmod(mode)
    found = load(home, model)
    assert found.settings is None
    assert found.problems[0].hint == f"chmod 600 {home.env}"
    assert "secret-value-1" not in repr(found)


def test_a_home_others_may_write_into_is_refused(tmp_path: Path) -> None:
    """A folder in which others could plant files does not run."""
    home = make(tmp_path)
    home.path.chmod(0o777)
    assert load(home, model).errors[0].hint == f"chmod 700 {home.path}"


def test_a_long_soul_keeps_head_and_tail(tmp_path: Path) -> None:
    """Of more than 20,000 characters the first 14,000 and the last 4,000 are read, and the cut is said."""
    soul = make(tmp_path, soul="h" * 14_000 + "m" * 50_000 + "t" * 4_000).soul()
    assert soul.startswith("h" * 14_000 + "\n\n[… 50,000 characters")
    assert soul.endswith("]\n\n" + "t" * 4_000)
    assert make(tmp_path, "short", soul="  be kind \n").soul() == "be kind"


ENV = """
# a comment
export PLAIN=one
QUOTED="two words"
RAW='${PLAIN} $HOME'
OTHER=${PLAIN}-${HOME}
EMPTY=
"""


def test_env_is_read_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are taken literally, nothing of the process environment enters or leaves."""
    before = dict(os.environ)
    values = read(make(tmp_path, env=ENV))
    assert dict(values) == {
        "PLAIN": "one",
        "QUOTED": "two words",
        "RAW": "${PLAIN} $HOME",
        "OTHER": "${PLAIN}-${HOME}",
        "EMPTY": "",
    }
    assert dict(os.environ) == before


def test_references_resolve_from_this_mapping_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """`${NAME}` and `${env:NAME}` never reach the process environment, not even for names it holds."""
    monkeypatch.setenv("FROM_PROCESS", "leak")
    secrets = Secrets({"A": "1"})
    assert resolve("${A}/${env:A} $A", secrets) == "1/1 $A"
    with pytest.raises(SecretUnavailable, match="FROM_PROCESS"):
        resolve("${FROM_PROCESS}", secrets)


def test_printing_secrets_shows_names_only() -> None:
    """Neither repr nor a failed look-up shows a value; what a log must hide is listed by name or by randomness."""
    secrets = Secrets({"API_KEY": "hunter2", "MODE": "fast", "X": "0123456789abcdef0"})
    assert "hunter2" not in f"{secrets!r} {secrets}"
    with pytest.raises(KeyError) as missing:
        secrets["NOPE"]
    assert "hunter2" not in repr(missing.value)
    assert set(secrets.confidential()) == {"hunter2", "0123456789abcdef0"}


def test_settings_keep_the_hermes_keys(tmp_path: Path) -> None:
    """A real Hermes file loads: known keys are read, foreign ones noted, near misses warned about with their line."""
    config = """
model: {provider: custom, api_key: "${env:KEY}"}
toolsets: [memory, "${SET}"]
memory: {memory_char_limit: 100, nudge_interval: 10}
terminal: {backend: local, cwd: "."}
display: {skin: mono}
x-mine: 1
acess: {allow: [1]}
access: {allow: ["010", 22, -5], admins: [7]}
group_sessions_per_user: false
something_new: true
"""
    home = make(tmp_path, config=config, env="SET=files\n")
    found = load(home, model)
    assert found.settings is not None, found.problems
    assert found.settings.model == {"provider": "custom", "api_key": "${env:KEY}"}
    assert found.settings.toolsets == ("memory", "files")
    assert found.settings.memory.memory_char_limit == 100
    assert found.settings.access is not None
    assert found.settings.access.allow == ("010", "22", "-5")
    assert found.settings.group_sessions_per_user is False
    assert found.settings.workdir(home.path, home.workspace) == home.workspace
    (typo,) = found.problems
    assert (typo.level, typo.line, typo.column, typo.hint) == ("warning", 8, 1, "did you mean 'access'?")
    assert found.notes == ("display", "something_new")


@pytest.mark.parametrize(
    ("config", "line", "words"),
    [
        ("toolsets: 3\n", 1, "expected a list"),
        ("a: 1\ncontext:\n  window: -4\n", 3, "500"),
        ("model: nope\n", 1, "provider"),
        ("\naccess: {alow: [1]}\n", 2, "unknown key"),
        ("a: 1\na: 2\n", 2, "already"),
        ("a: [1\n", 2, "YAML"),
        ("a: [1]\nb: *x\n", 2, "alias"),
        ("- 1\n", 1, "mapping"),
        ("b: 1\na: !!python/object:os.system {}\n", 2, "tag"),
        ("\ntoolsets: ['${MISSING}']\n", 2, "MISSING"),
        ("? [a]\n: 1\n", 1, "plain text"),
        ("\nthread_sessions_per_user: maybe\n", 2, "true or false"),
    ],
)
def test_a_broken_config_is_placed_and_explained(tmp_path: Path, config: str, line: int, words: str) -> None:
    """Each mistake names its line and what is wrong, and the profile does not run."""
    found = load(make(tmp_path, config=config), model)
    assert found.settings is None
    (problem,) = found.errors
    assert words in problem.message
    assert problem.line == line


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "config",
    [
        BOMB,
        "[" * 100_000,
        "- " * 100_000,
        "? " * 100_000,
        "a: " + "{b: " * 5000,
        "a" * 300_000,
        "\x00",
        "a: \ud7ff\x07",
    ],
)
def test_hostile_yaml_is_refused(tmp_path: Path, config: str) -> None:
    """Alias bombs, bottomless nesting, giant files and control characters end as a problem, not as a crash (ISO-12)."""
    assert load(make(tmp_path, config=config), model).settings is None


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    """Latin-1 bytes are named as what they are."""
    home = make(tmp_path)
    home.config.write_bytes(b"toolsets: [caf\xe9]\n")
    with pytest.raises(ConfigError, match="UTF-8"):
        home.read("config.yaml")
    assert load(home, model).settings is None
