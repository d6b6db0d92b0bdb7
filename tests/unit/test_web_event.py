"""What the page says, as an event and as a message."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.address import AdapterKey
from hermesd.message import RawEvent
from hermesd.testing.host import MemoryHost
from hermesd_web import plugin
from hermesd_web.event import Said

KEY = AdapterKey("web", "local")
GOOD = {"id": "0123456789abcdef", "room": "home", "thread": None, "text": "hello", "at": 1.0}


def parse(raw: object, event_id: str = "0123456789abcdef"):
    adapter = plugin.build(plugin.settings_model(platform="web", bot_id="local"), MemoryHost(KEY))
    return adapter.parse(RawEvent(event_id, raw))


def test_a_room_is_a_group_and_a_thread_a_thread() -> None:
    """The one person is always addressed to the bot, under the id `local`."""
    (message,) = parse(GOOD)
    assert (message.address.chat_id, message.address.thread_id, message.chat_kind) == ("home", None, "group")
    assert (message.sender.id, message.addressed, message.text) == ("local", True, "hello")
    (threaded,) = parse({**GOOD, "thread": "plans"})
    assert (threaded.address.thread_id, threaded.chat_kind) == ("plans", "thread")


def test_what_is_stored_reads_back_as_it_was_said() -> None:
    """Storing and parsing lose nothing, and the event knows its place before it is parsed."""
    said = Said.read({**GOOD, "text": " two\nlines 🙂 "}, at=5.0)
    event = said.raw(KEY)
    assert event.place == said.place.address(KEY)
    assert Said.read(json.loads(json.dumps(event.raw))) == said


@pytest.mark.parametrize(
    "change",
    [
        {"id": "short"}, {"id": 12345678}, {"id": "../../../etc"}, {"room": ""}, {"room": None}, {"room": " x"},
        {"room": "x" * 65}, {"thread": 3}, {"thread": ""}, {"text": ""}, {"text": " \n"}, {"text": None},
        {"text": "x" * 32_001}, {"room": "a\x00b"}, {"text": "\ud800"}, {"room": "\udc00"}, {"at": "now"},
        {"at": float("nan")}, {"at": 10**400}, {"at": None},
    ],
)  # fmt: skip
def test_malformed_events_are_value_errors(change: dict[str, object]) -> None:
    """ING-02: each broken field is a ValueError, nothing else."""
    with pytest.raises(ValueError):
        parse({**GOOD, **change})


def test_an_event_under_a_foreign_id_is_malformed() -> None:
    """An event whose id is not its message's own cannot slip past the repeat check."""
    with pytest.raises(ValueError, match="id"):
        parse(GOOD, "another-id-0000")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(list(GOOD)), json_values))
def test_arbitrary_json_never_breaks_the_parser(change: dict[str, object]) -> None:
    """Whatever stands in the fields, parsing gives one message or a ValueError."""
    with contextlib.suppress(ValueError):
        assert len(parse({**GOOD, **change}, str(change.get("id", GOOD["id"])))) == 1
