"""The pure parts of the model side: settings, rows, failures, breaker."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart

from hermesd.agent.blueprint import Blueprint
from hermesd.agent.breaker import COOLDOWN, LONGEST, THRESHOLD, Breaker
from hermesd.agent.conversation import LOST, read_response, to_messages
from hermesd.agent.provider import CHOICES, PROVIDERS, provider
from hermesd.agent.settings import ModelSettings
from hermesd.agent.text import cap, clean
from hermesd.errors import SecretUnavailable
from hermesd.ports import Row, SecretRef, ToolCall


def test_hermes_keys_are_read():
    """The `model:` block of a Hermes profile is understood, fallback as a block or a list."""
    one = ModelSettings.model_validate(
        {
            "provider": "openrouter",
            "default": "openai/gpt-5",
            "api_key": "${env:KEY}",
            "fallback": {"provider": "ollama", "default": "llama3"},
        }
    )
    assert one.api_key == SecretRef("env", "KEY")
    assert [fallback.label for fallback in one.fallback] == ["ollama:llama3"]
    assert one.key({"KEY": " k "}) == "k"
    assert one.address({}) == "https://openrouter.ai/api/v1"
    two = ModelSettings.model_validate(
        {"provider": "custom", "default": "m", "base_url": "${HOST}/v1", "fallback": [one.model_dump(mode="json")] * 2}
    )
    assert two.address({"HOST": "http://h:1"}) == "http://h:1/v1"
    assert len(two.fallback) == 2


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ({"provider": "opnai", "default": "m"}, "did you mean 'openai'"),
        ({"provider": "openai"}, "needs `default`"),
        ({"provider": "custom", "default": "m"}, "needs a base_url"),
        ({"provider": "openai", "default": "m", "base_ulr": "x"}, "did you mean 'base_url'"),
        ({"provider": "custom", "default": "m", "base_url": "ftp://x"}, "expected an http"),
        ({"provider": "openai", "default": "m", "api_key": "sk-canary"}, "not the secret itself"),
    ],
)
def test_wrong_blocks_say_what_was_expected(block: dict[str, str], says: str):
    """An unknown provider or key is an error that names the near one; a literal key is refused and not repeated."""
    with pytest.raises(ValidationError) as caught:
        ModelSettings.model_validate(block)
    assert says in str(caught.value)
    assert "canary" not in str(caught.value)


def test_missing_references_are_named():
    """A key or address that the profile does not hold is an error naming the variable."""
    settings = ModelSettings.model_validate({"provider": "custom", "default": "m", "base_url": "${HOST}/v1"})
    with pytest.raises(SecretUnavailable, match="HOST"):
        settings.address({})
    assert settings.key({}) is None
    with pytest.raises(SecretUnavailable, match="ANTHROPIC_API_KEY"):
        ModelSettings(provider="anthropic", default="c").key({"ANTHROPIC_API_KEY": " "})


def test_the_provider_table_is_consistent():
    """Every choice is a row with a connector; only rows with a key variable need a key."""
    assert all(provider(name).connector.startswith("hermesd.agent.") for name in CHOICES)
    assert all(row.key_variable for row in PROVIDERS if row.needs_key)


def test_a_blueprint_hides_its_key():
    """The text form of a resolved model shows no key."""
    assert "canary" not in repr(Blueprint(provider("openai"), "m", "https://x", "sk-canary"))


CALLS = st.builds(
    ToolCall, st.sampled_from("abc"), st.sampled_from(["x", "y"]), st.sampled_from(["{}", "[]", "{", "1"])
)
ROWS = st.builds(
    Row,
    st.sampled_from(["user", "assistant", "tool"]),
    st.sampled_from(["", "text", "\ud800"]),
    st.lists(CALLS, max_size=3).map(tuple),
    st.sampled_from([None, "a", "b", "c"]),
    st.sampled_from([None, "x"]),
)


@given(st.lists(ROWS, max_size=20))
def test_any_history_becomes_one_a_provider_accepts(rows: list[Row]):
    """Whatever rows a database holds, each call has exactly one result right after it and all text is valid."""
    messages = to_messages(rows)
    expected: set[str] = set()
    for message in messages:
        if isinstance(message, ModelResponse):
            assert not expected
            assert message.parts
            for part in message.parts:
                if isinstance(part, ToolCallPart):
                    assert part.tool_call_id not in expected
                    expected.add(part.tool_call_id)
                    assert isinstance(json.loads(part.args), dict)
                elif isinstance(part, TextPart):
                    part.content.encode()
        else:
            assert isinstance(message, ModelRequest)
            for part in message.parts:
                if isinstance(part, ToolReturnPart):
                    expected.remove(part.tool_call_id)
                else:
                    assert not expected
                    part.content.encode()
    assert not expected


def test_a_lost_result_is_said():
    """A call whose turn was interrupted gets a result that says so; an orphan result is left out."""
    rows = [Row("user", "go"), Row("assistant", "", (ToolCall("a", "x", "{}"),)), Row("user", "hello?")]
    messages = to_messages([Row("tool", "orphan", call_id="z", tool="x"), *rows])
    assert len(messages) == 3
    assert [part.content for part in messages[-1].parts] == [LOST, "hello?"]


def test_call_ids_are_unique_within_an_answer():
    """Two calls under one id are told apart; a missing id is made up."""
    response = ModelResponse(parts=[ToolCallPart("x", "{}", "a"), ToolCallPart("x", {"k": 1}, "a")])
    _, calls = read_response(response)
    assert len({call.call_id for call in calls}) == 2
    assert json.loads(calls[1].arguments) == {"k": 1}


@given(st.text(st.characters(), max_size=50))
def test_cleaned_text_is_valid_and_otherwise_unchanged(text: str):
    """Cleaning gives encodable text without NUL and keeps text that already was."""
    cleaned = clean(text)
    cleaned.encode()
    assert "\x00" not in cleaned
    if "\x00" not in text:
        try:
            text.encode()
        except UnicodeEncodeError:
            return
        assert cleaned == text


def test_capped_text_says_so():
    """What is over the cap is cut with a notice; what fits is untouched."""
    assert cap("x" * 10, 10) == "x" * 10
    assert cap("x" * 11, 10).startswith("x" * 10 + "\n\n[cut here")


def test_the_breaker_opens_closes_and_opens_longer():
    """It opens after a row of failures, lets one through afterwards, and opens for twice as long when that fails
    (TRN-05).
    """
    breaker = Breaker()
    for _ in range(THRESHOLD):
        assert breaker.wait(0) == 0
        breaker.failed(0)
    assert breaker.wait(0) == COOLDOWN
    assert breaker.wait(COOLDOWN) == 0
    breaker.failed(COOLDOWN)
    assert breaker.wait(COOLDOWN) == 2 * COOLDOWN
    for _ in range(20):
        breaker.failed(0)
    assert breaker.cooldown == LONGEST
    breaker.worked()
    assert breaker == Breaker(closed_from=breaker.closed_from)
    fresh = Breaker()
    fresh.failed(10, retry_after=5)
    assert fresh.wait(11) == 4
