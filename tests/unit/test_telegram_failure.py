"""Telegram's errors are told apart by what they mean."""

import pytest
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, NetworkError, TelegramError, TimedOut
from telegram.error import Conflict as SdkConflict

from hermesd import errors
from hermesd_telegram.failure import cannot_parse, while_polling, while_sending
from hermesd_telegram.wire import InvalidAnswer, NotSent, ServerTrouble, TooMany


@pytest.mark.parametrize(
    ("error", "sending", "polling"),
    [
        (NotSent("x"), errors.Unreachable, errors.Unreachable),
        (TimedOut(), errors.Ambiguous, errors.Unreachable),
        (NetworkError("reset"), errors.Ambiguous, errors.Unreachable),
        (ServerTrouble("HTTP 502"), errors.Ambiguous, errors.Unreachable),
        (InvalidAnswer("x"), errors.Ambiguous, errors.Unreachable),
        (TooMany(3), errors.RateLimited, errors.RateLimited),
        (InvalidToken(), errors.Unauthorized, errors.Unauthorized),
        (SdkConflict("x"), errors.Conflict, errors.Conflict),
        (ChatMigrated(-9), errors.Migrated, errors.Migrated),
        (BadRequest("new"), errors.Rejected, errors.Rejected),
    ],
)
def test_each_error_has_its_meaning(error: TelegramError, sending: type, polling: type) -> None:
    """A send that may have arrived is ambiguous; a poll that failed is just tried again."""
    assert type(while_sending(error)) is sending
    assert type(while_polling(error)) is polling


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("Bad Request: message thread not found", "thread_gone"),
        ("Bad Request: TOPIC_CLOSED", "thread_closed"),
        ("Bad Request: chat not found", "chat_gone"),
        ("Bad Request: not enough rights to send text messages to the chat", "forbidden"),
        ("Bad Request: message is too long", "too_long"),
        ("Bad Request: no idea", "bad_request"),
    ],
)
def test_each_refusal_has_its_reason(words: str, reason: str) -> None:
    """The words of a 400 say why."""
    refused = while_sending(BadRequest(words))
    assert isinstance(refused, errors.Rejected)
    assert refused.reason == reason


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("Forbidden: bot was blocked by the user", "blocked"),
        ("Forbidden: user is deactivated", "blocked"),
        ("Forbidden: bot was kicked from the supergroup chat", "chat_gone"),
        ("Forbidden: bot is not a member of the channel chat", "chat_gone"),
        ("Forbidden: something", "forbidden"),
    ],
)
def test_each_ban_has_its_reason(words: str, reason: str) -> None:
    """The words of a 403 say why."""
    refused = while_sending(Forbidden(words))
    assert isinstance(refused, errors.Rejected)
    assert refused.reason == reason


def test_markup_errors_are_known_not_to_have_sent() -> None:
    """Only a 400 about entities is worth the plain text."""
    assert cannot_parse(BadRequest("Can't parse entities: unsupported start tag"))
    assert not cannot_parse(BadRequest("Chat not found"))
    assert not cannot_parse(NetworkError("can't parse entities"))
