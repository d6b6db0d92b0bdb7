"""The process environment and secrets by reference."""

import os
from pathlib import Path

import pytest

from hermesd.errors import ConfigError, SecretUnavailable
from hermesd.ports import SecretRef
from hermesd.settings import Environment, Secret, SecretSource

OURS = (
    "HERMESD_CONFIG", "HERMESD_STATE", "CONFIGURATION_DIRECTORY", "STATE_DIRECTORY", "CREDENTIALS_DIRECTORY",
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OURS:
        monkeypatch.delenv(name, raising=False)


def test_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag beats HERMESD_*, that beats systemd, that beats the defaults of a checkout."""
    bare = Environment.read()
    assert bare.config == Path("config/hermesd.yaml")
    assert bare.state == Path.cwd() / ".hermesd"
    monkeypatch.setenv("CONFIGURATION_DIRECTORY", "/etc/hermesd:/etc/other")
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/hermesd:/var/lib/other")
    unit = Environment.read()
    assert (unit.config, unit.state) == (Path("/etc/hermesd/hermesd.yaml"), Path("/var/lib/hermesd"))
    monkeypatch.setenv("HERMESD_CONFIG", "/a.yaml")
    monkeypatch.setenv("HERMESD_STATE", "/s")
    own = Environment.read()
    assert (own.config, own.state) == (Path("/a.yaml"), Path("/s"))
    flagged = Environment.read(config=Path("/b.yaml"), state=Path("/t"))
    assert (flagged.config, flagged.state) == (Path("/b.yaml"), Path("/t"))


def test_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog's numbers are numbers, an empty variable is none, and nonsense is named without its value."""
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.setenv("NOTIFY_SOCKET", "")
    found = Environment.read()
    assert (found.watchdog_usec, found.watchdog_pid, found.notify_socket) == (30_000_000, None, None)
    monkeypatch.setenv("WATCHDOG_USEC", "canary")
    with pytest.raises(ConfigError) as error:
        Environment.read()
    assert "WATCHDOG_USEC" in str(error.value)
    assert "canary" not in str(error.value)


def test_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is a snapshot: later changes of the process do not reach it, and its repr holds no values."""
    monkeypatch.setenv("SOME_KEY", "canary")
    found = Environment.read()
    monkeypatch.setenv("SOME_KEY", "other")
    assert found.variables["SOME_KEY"] == "canary"
    assert "canary" not in repr(found)
    with pytest.raises(TypeError):
        found.variables["SOME_KEY"] = "x"  # type: ignore[index]  # that is what must fail
    assert os.environ["SOME_KEY"] == "other"


@pytest.fixture
def source(tmp_path: Path) -> SecretSource:
    (tmp_path / "credentials").mkdir()
    return SecretSource({"KEY": "value", "EMPTY": "", "BLANK": " \n"}, tmp_path / "credentials", tmp_path)


def written(path: Path, text: str | bytes, mode: int = 0o600) -> None:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)


def test_secrets_are_found(source: SecretSource, tmp_path: Path) -> None:
    """Each kind of reference leads to its value, without the line break at its end."""
    written(tmp_path / "plain", "from-file\n")
    written(tmp_path / "credentials" / "name", "from-systemd", 0o440)
    assert source.read(SecretRef("env", "KEY")) == "value"
    assert source.read(SecretRef("file", "plain")) == "from-file"
    assert source.read(SecretRef("file", str(tmp_path / "plain"))) == "from-file"
    assert source.read(SecretRef("credential", "name")) == "from-systemd"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o644])
def test_a_readable_secret_is_refused(source: SecretSource, tmp_path: Path, mode: int) -> None:
    """ISO-06: a file others may read is refused with the command that closes it."""
    written(tmp_path / "open", "canary", mode)
    with pytest.raises(SecretUnavailable) as error:
        source.read(SecretRef("file", "open"))
    assert f"chmod 600 {tmp_path}/open" in str(error.value)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    "ref",
    [
        SecretRef("env", "NONE"), SecretRef("env", "EMPTY"), SecretRef("env", "BLANK"), SecretRef("file", "none"),
        SecretRef("file", "."), SecretRef("file", "empty"), SecretRef("file", "binary"), SecretRef("file", "pipe"),
        SecretRef("file", "a\0b"), SecretRef("credential", "none"), SecretRef("credential", "../plain"),
        SecretRef("credential", ".."),
    ],
    ids=str,
)  # fmt: skip
def test_a_missing_secret_is_named_by_its_reference(source: SecretSource, tmp_path: Path, ref: SecretRef) -> None:
    """Whatever is wrong with a reference, the error names it, and reading never hangs."""
    written(tmp_path / "plain", "x")
    written(tmp_path / "empty", "\n")
    written(tmp_path / "binary", b"\xff\xfe")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SecretUnavailable) as error:
        source.read(ref)
    assert str(ref) in str(error.value)


def test_without_systemd_a_credential_says_what_to_do(tmp_path: Path) -> None:
    """The way out is named."""
    with pytest.raises(SecretUnavailable, match="LoadCredential=x"):
        SecretSource({}, None, tmp_path).read(SecretRef("credential", "x"))


def test_a_secret_shows_nothing() -> None:
    """Neither the repr of a secret nor of its source holds a value."""
    secret = Secret("canary")
    assert secret == "canary"
    assert "canary" not in repr(secret) + repr([secret]) + repr(SecretSource({"A": "canary"}, None, Path()))
