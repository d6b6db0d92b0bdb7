"""The log: no secret, no forged line, no flood."""

import io
import json
import logging
import stat
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd import logs as logs_module
from hermesd.logs import HIDDEN, Logging, Redaction
from hermesd.plain import escape

TELEGRAM = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"


class Clock:
    """Time that stands until a test moves it."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds


def make(level: str = "info", form: Any = "json") -> tuple[Logging, io.StringIO, Clock]:
    clock, stream = Clock(), io.StringIO()
    return Logging.on(clock, stream, form=form, level=level), stream, clock


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().split("\n") if line]


def test_a_line_is_one_json_object_with_what_was_bound() -> None:
    """Time, level, event, action and the bound values stand in every line."""
    logs, stream, _ = make()
    logs.logger(bot="telegram/main").bind(profile="career").info("turn done", action="turn.done", ms=12, cut=None)
    assert lines(stream) == [
        {
            "at": "2023-11-14T22:13:20.000+00:00",
            "level": "info",
            "bot": "telegram/main",
            "profile": "career",
            "event": "turn done",
            "action": "turn.done",
            "ms": 12,
            "cut": None,
        }
    ]


def test_lines_below_the_level_are_not_written() -> None:
    """Debug lines, which may hold message text, stay away unless asked for."""
    logs, stream, _ = make()
    logs.logger().debug("what was said", action="x")
    assert stream.getvalue() == ""
    logs, stream, _ = make(level="debug")
    logs.logger().debug("what was said", action="x")
    assert lines(stream)[0]["level"] == "debug"


def test_the_configuration_tunes_what_the_command_line_left_open() -> None:
    """A level from the file counts from the next line on, for loggers made before; a flag beats the file."""
    stream = io.StringIO()
    logs = Logging.on(Clock(), stream)
    log = logs.logger()
    log.debug("x", action="before")
    logs.tune("json", "debug")
    log.debug("x", action="after")
    assert [line["action"] for line in lines(stream)] == ["after"]
    said, stream, _ = make(level="info", form="json")
    said.tune("console", "error")
    said.logger().info("x", action="x")
    assert lines(stream)[0]["action"] == "x"


@pytest.mark.parametrize(
    "secret",
    [
        f"bot{TELEGRAM}",
        "sk-proj-abcdefghijklmnop1234",
        "xoxb-12345-67890-abcdefghij",
        "xapp-1-A123-456-abcdef",
    ],
)
def test_what_looks_like_a_secret_is_hidden_even_when_unknown(secret: str) -> None:
    """Tokens of the known shapes are hidden in addresses, sentences and exceptions."""
    logs, stream, _ = make()
    logs.logger().error(
        f"POST https://host/{secret}/getMe",
        action="a",
        detail={"header": [f"Authorization: Bearer {secret}"]},
        exc_info=ValueError(f"with {secret}"),
    )
    assert secret.removeprefix("bot") not in stream.getvalue()
    assert HIDDEN in stream.getvalue()


@given(st.text(min_size=6, max_size=40))
def test_a_known_secret_never_appears(secret: str) -> None:
    """A registered value appears in no spelling: not plain, not percent-encoded, not inside a structure."""
    redaction = Redaction()
    redaction.add(secret)
    value = redaction.value([f"<{secret}>", (secret,), {"b": Exception(secret), secret: 1}])
    left = [value[0], value[1][0], value[2].pop("b"), *value[2]]
    assert all(secret not in text.replace(HIDDEN, "") for text in left)


def test_a_known_secret_is_hidden_percent_encoded_too() -> None:
    """A secret inside a URL is the same secret."""
    redaction = Redaction()
    redaction.add("pass/word+1")
    assert redaction.text("https://u:pass%2Fword%2B1@host pass/word+1") == f"https://u:{HIDDEN}@host {HIDDEN}"


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    """A secret that begins with another one leaves no tail behind."""
    redaction = Redaction()
    redaction.add("abcdef")
    redaction.add("abcdef-the-tail")
    assert redaction.text("abcdef-the-tail") == HIDDEN


def test_every_one_of_many_secrets_is_hidden() -> None:
    """Keys that begin alike are told apart, and each is hidden wherever it stands."""
    redaction = Redaction()
    keys = [f"sk-proj-{number:04}-{'x' * (number % 5)}" for number in range(1000)]
    for key in keys:
        redaction.add(key)
    assert redaction.text(" ".join(keys)) == " ".join([HIDDEN] * 1000)
    assert redaction.text("sk-proj, sk-proj-100") == "sk-proj, sk-proj-100"


def test_a_key_named_like_a_secret_hides_its_value() -> None:
    """`token=` and its kin are hidden whatever they hold; token counts are not."""
    value = Redaction().value({"token": "short", "api_key": 123456, "input_tokens": 12, "bot_token": None})
    assert value == {"token": HIDDEN, "api_key": HIDDEN, "input_tokens": 12, "bot_token": None}


HOSTILE = "a\nb\r\x1b[31mred\x1b[0m\x9b2J\u2028\u202egpj\x00\ud800"


@pytest.mark.parametrize("form", ["json", "console"])
def test_control_characters_cannot_forge_or_paint_a_line(form: str) -> None:
    """A chat title full of line breaks and terminal codes stays one harmless line."""
    logs, stream, _ = make(form=form)
    logs.logger().warning(HOSTILE, action="x", title=HOSTILE, nested={HOSTILE: [HOSTILE]})
    written = stream.getvalue()
    assert written.count("\n") == 1
    assert not {"\x1b", "\x9b", "\r", "\u2028", "\u202e", "\x00"} & set(written)
    written.encode()


@given(st.text())
def test_json_lines_can_be_read_back(text: str) -> None:
    """Escaping never breaks the JSON: a reader gets the text back."""
    logs, stream, _ = make()
    logs.logger().info("x", action="x", value=text)
    line = lines(stream)[0]
    if HIDDEN not in stream.getvalue():
        assert line["value"] == text
    assert escape(stream.getvalue().rstrip("\n")) == stream.getvalue().rstrip("\n")


def test_an_error_storm_is_one_line_a_second_with_a_count() -> None:
    """Of 1,000 equal failures in a second one is written; the next one says how many were held back."""
    logs, stream, clock = make()
    log = logs.logger()
    for _ in range(1000):
        log.error("send failed", action="delivery.failed", bot="telegram/a")
    clock.time += 1.0
    log.error("send failed", action="delivery.failed", bot="telegram/a")
    assert [line.get("suppressed") for line in lines(stream)] == [None, 999]


def test_one_noisy_bot_hides_no_other_line() -> None:
    """Another action, level, bot or profile is another kind."""
    logs, stream, _ = make()
    log = logs.logger()
    for _ in range(3):
        log.error("x", action="a", bot="one")
        log.error("x", action="a", bot="two")
        log.error("x", action="a", profile="p")
        log.warning("x", action="a", bot="one")
        log.error("x", action="b", bot="one")
    assert len(lines(stream)) == 5


def test_the_second_state_of_a_second_is_shown_too() -> None:
    """A bot that is `starting` and then `unauthorized` within a second leaves both lines."""
    logs, stream, _ = make()
    for state in ("starting", "unauthorized", "unauthorized"):
        logs.logger().info("bot state", action="bot.state", bot="telegram/main", state=state)
    assert [line["state"] for line in lines(stream)] == ["starting", "unauthorized"]


def test_what_was_held_back_is_said_at_the_end() -> None:
    """The count of a storm that just stopped is not lost."""
    logs, stream, _ = make()
    with logs.routed():
        for _ in range(5):
            logs.logger().error("x", action="a")
    assert lines(stream)[-1] | {"at": ""} == {
        "at": "",
        "level": "info",
        "event": "lines held back",
        "action": "log.suppressed",
        "kind": "a",
        "suppressed": 4,
    }


def test_libraries_are_heard_from_warning_up_and_redacted() -> None:
    """httpx prints addresses with tokens at INFO: those lines vanish, and warnings lose the token."""
    logs, stream, _ = make()
    before = logging.getLogger().handlers[:], logging.getLogger("httpx").level
    with logs.routed():
        logging.getLogger("httpx").info("HTTP Request: POST https://api/bot%s/getMe", TELEGRAM)
        logging.getLogger("telegram.ext").warning("bad token %s", TELEGRAM)
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            logging.captureWarnings(False)
            logging.captureWarnings(True)
            warnings.warn("old thing", stacklevel=1)
    assert (logging.getLogger().handlers, logging.getLogger("httpx").level) == (before[0], before[1])
    said = lines(stream)
    assert [line["action"] for line in said] == ["library.telegram.ext", "library.py.warnings"]
    assert TELEGRAM not in stream.getvalue()


def test_a_profile_has_its_own_private_file(tmp_path: Path) -> None:
    """A profile's lines go to the daemon's log and, as JSON, to its own 0600 file."""
    logs, stream, _ = make(form="console")
    own = tmp_path / "career.log"
    logs.logger(file=own, profile="career").info("hello", action="x")
    logs.logger(profile="finance").info("not there", action="y")
    assert stat.S_IMODE(own.stat().st_mode) == 0o600
    assert [json.loads(line)["profile"] for line in own.read_text().splitlines()] == ["career"]
    assert "hello" in stream.getvalue()


def test_a_full_file_gives_way_and_the_oldest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three files at most, each about the limit, all private; the newest lines are in the unnumbered one."""
    monkeypatch.setattr(logs_module, "FULL_FILE", 1000)
    logs, _, clock = make()
    own = tmp_path / "hermesd.log"
    log = logs.logger(file=own, profile="career")
    for number in range(100):
        clock.time += 1
        log.info("line", action="x", number=number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hermesd.log", "hermesd.log.1", "hermesd.log.2"]
    files = [own.with_name("hermesd.log.2"), own.with_name("hermesd.log.1"), own]
    kept = [json.loads(line)["number"] for file in files for line in file.read_text().splitlines()]
    assert kept == list(range(kept[0], 100))
    assert all(1000 <= file.stat().st_size < 1200 for file in files[:2])
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_log_file_is_never_written_through_a_link(tmp_path: Path) -> None:
    """A link that somebody put where the log should be leads nowhere."""
    logs, _, _ = make()
    (tmp_path / "other").write_text("mine")
    (tmp_path / "hermesd.log").symlink_to(tmp_path / "other")
    logs.logger(file=tmp_path / "hermesd.log").info("x", action="x")
    assert (tmp_path / "other").read_text() == "mine"


def test_a_log_that_cannot_be_written_ends_nobodys_turn(tmp_path: Path) -> None:
    """A missing directory and a closed pipe are survived."""

    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    logs = Logging.on(Clock(), Gone(), form="json")
    logs.logger(file=tmp_path / "no" / "such" / "dir.log").info("x", action="x")


def test_the_stack_of_an_error_is_kept_in_both_forms() -> None:
    """`exc_info=error` keeps the traceback: one JSON string, or indented lines on a terminal."""
    for form in ("json", "console"):
        logs, stream, _ = make(form=form)
        try:
            raise ValueError("boom")
        except ValueError as error:
            logs.logger().error("failed", action="x", exc_info=error)
        assert "ValueError: boom" in stream.getvalue()
        assert "test_logs.py" in stream.getvalue()
