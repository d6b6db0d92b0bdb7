"""Telegram updates are read as people meant them."""

from typing import Any

import pytest

from hermesd.address import AdapterKey, Address
from hermesd.markup import utf16_len
from hermesd.message import InboundMessage, MessageKind, RawEvent, Sender
from hermesd_telegram.inbound import ME, parse, place
from hermesd_telegram.speech import Identity

KEY = AdapterKey("telegram", "main")
US = Identity(42, "career_bot")
FORUM = {"id": -1002, "type": "supergroup", "title": "House", "is_forum": True}
GROUP = {"id": -1001, "type": "supergroup", "title": "Group"}
DM = {"id": 111, "type": "private", "first_name": "Alice"}


def update(chat: dict[str, Any] = GROUP, kind: str = "message", **fields: Any) -> RawEvent:
    message = {
        "message_id": 5,
        "date": 1,
        "chat": chat,
        "from": {"id": 111, "is_bot": False, "first_name": "A"},
        **fields,
    }
    return RawEvent("9", {"update_id": 9, kind: message})


def read(event: RawEvent, me: Identity = US) -> InboundMessage:
    (message,) = parse(event, KEY, me)
    return message


def entity(text: str, part: str, kind: str = "mention", **more: Any) -> dict[str, Any]:
    begin = text.index(part)
    return {"type": kind, "offset": utf16_len(text[:begin]), "length": utf16_len(part), **more}


def typed(text: str, *entities: dict[str, Any], **fields: Any) -> InboundMessage:
    return read(update(text=text, entities=list(entities), **fields))


def test_a_topic_is_a_thread() -> None:
    """A message in a forum topic is addressed by that topic."""
    message = read(update(FORUM, text="x", message_thread_id=6, is_topic_message=True))
    assert (message.address, message.chat_kind) == (Address(KEY, "-1002", "6"), "thread")


def test_general_is_thread_one() -> None:
    """In a forum, a message without a topic stands in General, which can be routed as `1`."""
    assert read(update(FORUM, text="x")).address == Address(KEY, "-1002", "1")
    assert read(update(FORUM, text="x", message_thread_id=77)).address == Address(KEY, "-1002", "1")


def test_a_reply_thread_of_a_group_is_no_topic() -> None:
    """Groups without topics number their reply threads too; those are not places."""
    message = read(update(text="x", message_thread_id=77))
    assert (message.address, message.chat_kind) == (Address(KEY, "-1001"), "group")


def test_a_private_chat_is_a_dm_and_always_addressed() -> None:
    """In a private chat everything is for the bot."""
    message = read(update(DM, text="x"))
    assert (message.address, message.chat_kind, message.addressed) == (Address(KEY, "111"), "dm", True)


def test_channels_are_ignored() -> None:
    """Channel posts are nobody's message."""
    assert parse(update({"id": -5, "type": "channel"}, text="x"), KEY, US) == ()
    assert parse(update(GROUP, "channel_post", text="x"), KEY, US) == ()


@pytest.mark.parametrize(
    ("text", "part", "left"),
    [
        ("@career_bot hello", "@career_bot", "hello"),
        ("@Career_Bot, hello", "@Career_Bot", "hello"),
        ("hello @career_bot", "@career_bot", "hello"),
        ("are you there, @career_bot?", "@career_bot", "are you there?"),
        ("👋🏽 ask @career_bot about it", "@career_bot", "👋🏽 ask @career_bot about it"),
        ("👩‍👩‍👧@career_bot", "@career_bot", "👩‍👩‍👧"),
        ("@career_bot", "@career_bot", ""),
    ],
)
def test_a_mention_addresses_the_bot_and_leaves_the_words(text: str, part: str, left: str) -> None:
    """A mention is found by its UTF-16 place and taken off both ends, never out of the middle."""
    message = typed(text, entity(text, part))
    assert (message.addressed, message.text) == (True, left)


def test_a_mention_by_id_addresses_the_bot() -> None:
    """A text_mention carries the user's id instead of the name."""
    text = "Career, help"
    assert typed(text, entity(text, "Career", "text_mention", user={"id": 42})).addressed
    assert not typed(text, entity(text, "Career", "text_mention", user={"id": 43})).addressed


def test_the_word_alone_is_no_mention() -> None:
    """What Telegram did not mark is not a mention, nor is somebody else's or a longer name."""
    assert not typed("@career_bot hello").addressed
    text = "@career_bot2 hello"
    assert not typed(text, entity(text, "@career_bot2")).addressed


def test_a_command_for_us_loses_our_name() -> None:
    """`/profile@career_bot now` is `/profile now`, for us."""
    text = "/profile@Career_Bot now"
    message = typed(text, entity(text, "/profile@Career_Bot", "bot_command"))
    assert (message.addressed, message.text) == (True, "/profile now")


def test_a_command_for_another_bot_is_not_ours() -> None:
    """`/profile@other_bot` is not ours, even as a reply to us or beside a mention of us."""
    text = "/profile@other_bot @career_bot"
    entities = [entity(text, "/profile@other_bot", "bot_command"), entity(text, "@career_bot")]
    ours = {"message_id": 1, "from": {"id": 42, "is_bot": True}}
    assert not typed(text, *entities, reply_to_message=ours).addressed


def test_a_plain_command_in_a_group_is_for_us() -> None:
    """`/status` without a name addresses every bot that reads it; one in the middle of a sentence none."""
    assert typed("/status", entity("/status", "/status", "bot_command")).addressed
    assert not typed("say /status", entity("say /status", "/status", "bot_command")).addressed


def test_a_reply_to_us_addresses_us() -> None:
    """Answering the bot's message is speaking to it; answering somebody else's is not."""
    message = read(update(text="x", reply_to_message={"message_id": 4, "from": {"id": 42, "is_bot": True}}))
    assert (message.addressed, message.reply_to) == (True, "-1001:4")
    assert not read(update(text="x", reply_to_message={"message_id": 4, "from": {"id": 7}})).addressed


def test_every_topic_message_formally_answers_its_opening() -> None:
    """The reply that Telegram adds in topics is no reply, but names the topic."""
    opened = {"message_id": 6, "from": {"id": 42, "is_bot": True}, "forum_topic_created": {"name": "career"}}
    message = read(update(FORUM, text="x", message_thread_id=6, is_topic_message=True, reply_to_message=opened))
    assert (message.reply_to, message.addressed, message.title) == (None, False, "House / career")


def test_edits_keep_the_message_key() -> None:
    """An edit is the same message again, and says that it is an edit."""
    first, edit = read(update(text="x")), read(update(GROUP, "edited_message", text="y"))
    assert (edit.kind, edit.message_key) == (MessageKind.EDIT, first.message_key)


def test_captions_are_text_and_media_are_described() -> None:
    """A photo's caption is what was said; the largest size is what is kept."""
    sizes = [{"file_id": "small"}, {"file_id": "large", "file_size": 9}]
    message = read(update(caption="look", photo=sizes))
    assert message.text == "look"
    assert [(item.kind, item.ref, item.size) for item in message.attachments] == [("photo", "large", 9)]


def test_an_animation_is_one_thing() -> None:
    """Telegram sends an animation as a document as well; it is counted once."""
    message = read(update(animation={"file_id": "a"}, document={"file_id": "a"}))
    assert [item.kind for item in message.attachments] == ["video"]


@pytest.mark.parametrize("field", ["new_chat_members", "forum_topic_created", "pinned_message", "something_new"])
def test_service_messages_are_no_turn(field: str) -> None:
    """Joins, pins, new topics, and whatever Telegram invents next, are service."""
    assert read(update(**{field: {}})).kind is MessageKind.SERVICE


def test_migration_names_both_ids_from_either_side() -> None:
    """The old chat says where it went, the new one where it came from: both mean the same."""
    for event in (update({"id": -5, "type": "group"}, migrate_to_chat_id=-1009),
                  update({"id": -1009, "type": "supergroup"}, migrate_from_chat_id=-5)):  # fmt: skip
        message = read(event)
        assert (message.kind, message.address, message.migrated_to) == (
            MessageKind.MIGRATION,
            Address(KEY, "-5"),
            "-1009",
        )


def test_an_anonymous_admin_is_no_user() -> None:
    """Somebody who writes as a chat has an id that no user can have."""
    event = update(
        text="x", sender_chat={"id": -1001, "title": "Group"}, **{"from": {"id": 1087968824, "is_bot": True}}
    )
    assert read(event).sender == Sender("chat:-1001", "Group")


def test_bots_and_we_ourselves_are_flagged() -> None:
    """Our own id counts as a bot whatever the field says."""
    assert read(update(text="x", **{"from": {"id": 42, "is_bot": False, "first_name": "Me"}})).sender.is_bot
    assert read(update(text="x", **{"from": {"id": 7, "is_bot": True, "first_name": "B"}})).sender.is_bot


def test_the_identity_of_the_day_travels_with_the_event() -> None:
    """An event left over from an earlier run is read with the identity it was received under."""
    event = update(text="@old_name hi", entities=[{"type": "mention", "offset": 0, "length": 9}])
    event = RawEvent(event.event_id, {**event.raw, ME: {"id": 42, "username": "old_name"}})
    message = read(event, Identity(0, None))
    assert (message.addressed, message.text) == (True, "hi")


def test_half_surrogates_do_not_reach_the_database() -> None:
    """JSON can carry half a character, which UTF-8 cannot; it becomes the replacement character."""
    assert read(update(text="a\ud800b")).text == "a\ufffdb"


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"update_id": "1"},
        {"update_id": True, "message": {}},
        {"update_id": 1, "message": []},
        {"update_id": 1, "message": {"chat": {"id": 1, "type": "new"}}},
        {"update_id": 10**400},
        {"unreadable": 1},
    ],
)
def test_malformed_updates_are_value_errors(raw: dict[str, Any]) -> None:
    """What is not an update raises ValueError and nothing else."""
    with pytest.raises(ValueError):
        parse(RawEvent("1", raw), KEY, US)


@pytest.mark.parametrize("kind", ["callback_query", "my_chat_member", "poll_answer", "business_message"])
def test_other_updates_are_of_no_interest(kind: str) -> None:
    """Updates that are not messages give none."""
    assert parse(RawEvent("1", {"update_id": 1, kind: {"id": 1}}), KEY, US) == ()


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ({"chat": {"id": 7, "type": "private"}, "message_id": 3, "text": "hi"}, (Address(KEY, "7"), "7:3")),
        (
            {"chat": {"id": -1, "type": "group"}, "message_id": 3, "text": "@our_bot hi"},
            (Address(KEY, "-1"), "-1:3"),
        ),
        ({"chat": {"id": -1, "type": "group"}, "message_id": 3, "text": "@other_bot hi"}, None),
        ({"chat": {"id": "x", "type": "group"}, "message_id": 3}, None),
        ({"chat": None}, None),
        (None, None),
    ],
)
def test_the_place_of_an_unread_update_is_told_or_not(message: object, found: tuple[Address, str] | None) -> None:
    """Whoever wrote what is given up can be answered in its place, and by no bot it was not meant for (ING-06)."""
    raw = {"update_id": 1, "message": message, ME: {"id": 1, "username": "our_bot"}}
    where = place(RawEvent("1", raw), KEY)
    assert found == (None if where is None else (where.address, where.message_key))
