"""The truth behind the fake Bot API: bots, chats, topics, what was said, and what each bot has not confirmed yet.

Nothing here knows HTTP. Updates wait per bot until a higher offset confirms them, however often a client restarts.
"""

import itertools
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hermesd.markup import utf16_len
from hermesd.testing.telegram.entities import typed_entities
from hermesd.testing.telegram.signal import Signal

ChatType = Literal["private", "group", "supergroup", "channel"]


@dataclass(slots=True)
class BotAccount:
    """One bot of the fake, with the updates it has not confirmed."""

    id: int
    token: str
    username: str
    name: str
    #: False: privacy mode is on, group messages that do not concern the bot are not delivered
    can_read_all: bool = True
    #: None: the token is good; else the status getMe and all the rest answer with
    refused: int | None = None
    webhook: str = ""
    commands: list[dict[str, str]] = field(default_factory=list)
    #: unconfirmed updates, oldest first
    queue: deque[dict[str, Any]] = field(default_factory=deque)
    next_update_id: int = 100_000
    #: how many getUpdates calls arrived, and the offsets they carried (the last 1,000)
    polls: int = 0
    offsets: deque[int | None] = field(default_factory=lambda: deque(maxlen=1000))
    #: ids of users who blocked this bot, and of chats that threw it out or took its rights
    blocked_by: set[int] = field(default_factory=set)
    kicked_from: set[int] = field(default_factory=set)
    muted_in: set[int] = field(default_factory=set)

    def user(self) -> dict[str, Any]:
        return {"id": self.id, "is_bot": True, "first_name": self.name, "username": self.username}


@dataclass(slots=True)
class Topic:
    """A forum topic."""

    name: str
    closed: bool = False


@dataclass(slots=True)
class Chat:
    """A chat; a private one belongs to one bot and one user."""

    id: int
    type: ChatType
    title: str
    forum: bool = False
    topics: dict[int, Topic] = field(default_factory=dict)
    #: the bot a private chat belongs to
    bot_id: int | None = None
    migrated_to: int | None = None
    next_message_id: int = 1

    @property
    def key(self) -> tuple[int | None, int]:
        return (self.bot_id, self.id)

    def brief(self) -> dict[str, Any]:
        """The `chat` object of a message."""
        if self.type == "private":
            return {"id": self.id, "type": "private", "first_name": self.title}
        extra = {"is_forum": True} if self.forum else {}
        return {"id": self.id, "type": self.type, "title": self.title, **extra}


@dataclass(frozen=True, slots=True)
class Posted:
    """One message in the history: the ground truth."""

    #: ascending over the whole server, from 1
    serial: int
    #: the Bot API message object
    message: Mapping[str, Any]
    #: set when a bot sent it
    bot_id: int | None
    #: Unix seconds
    at: float

    @property
    def text(self) -> str:
        return str(self.message.get("text", ""))

    @property
    def thread(self) -> int | None:
        return self.message.get("message_thread_id")


class World:
    """Everything that exists on the fake platform."""

    def __init__(self) -> None:
        self.bots: dict[str, BotAccount] = {}
        #: private chats are keyed (bot id, user id), all others (None, chat id)
        self.chats: dict[tuple[int | None, int], Chat] = {}
        #: everything ever said, oldest first
        self.posted: list[Posted] = []
        #: what bots have sent, oldest first
        self.sent: list[Posted] = []
        self._here: dict[tuple[int | None, int], list[Posted]] = {}
        self.changed = Signal()
        self.serials = itertools.count(1)

    # --- making it -------------------------------------------------------------------------------------------

    def bot(
        self, token: str, username: str | None = None, name: str | None = None, *, can_read_all: bool = True
    ) -> BotAccount:
        """Make, or get, the bot with this token; its id is the number before the colon."""
        if token not in self.bots:
            number = int(token.partition(":")[0])
            self.bots[token] = BotAccount(
                number, token, username or f"bot{number}_bot", name or f"Bot {number}", can_read_all
            )
        return self.bots[token]

    def group(self, chat_id: int, title: str = "Group", *, type: ChatType = "supergroup") -> Chat:  # noqa: A002 - Telegram's word
        """Make, or get, a group that every bot is in."""
        return self.chats.setdefault((None, chat_id), Chat(chat_id, type, title))

    def forum(self, chat_id: int, title: str = "Forum", topics: Mapping[int, str] | None = None) -> Chat:
        """Make, or get, a forum supergroup; topics are added to what it has. General needs no entry."""
        chat = self.chats.setdefault((None, chat_id), Chat(chat_id, "supergroup", title, forum=True))
        chat.topics.update({number: Topic(topic) for number, topic in (topics or {}).items()})
        chat.next_message_id = max([chat.next_message_id, *(number + 1 for number in chat.topics)])
        return chat

    def private(self, bot: BotAccount, user_id: int, name: str) -> Chat:
        """Make, or get, one person's chat with one bot."""
        return self.chats.setdefault((bot.id, user_id), Chat(user_id, "private", name, bot_id=bot.id))

    def find(self, bot: BotAccount, chat_id: int) -> Chat | None:
        """The chat a bot means by this id."""
        return self.chats.get((bot.id, chat_id)) if chat_id > 0 else self.chats.get((None, chat_id))

    # --- what happens ----------------------------------------------------------------------------------------

    def post(
        self,
        chat: Chat,
        sender: Mapping[str, Any],
        content: Mapping[str, Any],
        *,
        thread: int | None = None,
        reply_to: Mapping[str, Any] | None = None,
        bot: BotAccount | None = None,
    ) -> Posted:
        """Put a message into a chat's history; nobody is told yet. `bot` is set when a bot sends it."""
        message: dict[str, Any] = {
            "message_id": chat.next_message_id,
            "from": dict(sender),
            "chat": chat.brief(),
            "date": int(time.time()),
        }
        chat.next_message_id += 1
        if thread is not None:
            message["message_thread_id"] = thread
            if chat.forum:
                message["is_topic_message"] = True
        if reply_to is not None:
            message["reply_to_message"] = {key: value for key, value in reply_to.items() if key != "reply_to_message"}
        message.update(content)
        posted = Posted(next(self.serials), message, bot.id if bot else None, time.time())
        self.record(chat.key, posted)
        self.changed.notify()
        return posted

    def record(self, key: tuple[int | None, int], posted: Posted) -> None:
        """Keep one message of the chat with this key."""
        self.posted.append(posted)
        self._here.setdefault(key, []).append(posted)
        if posted.bot_id is not None:
            self.sent.append(posted)

    def entries(self) -> list[tuple[tuple[int | None, int], Posted]]:
        """Every message with its chat's key, oldest first."""
        pairs = [(key, item) for key, items in self._here.items() for item in items]
        return sorted(pairs, key=lambda pair: pair[1].serial)

    def tell(self, bot: BotAccount, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Queue one update for one bot."""
        return self.push(bot, {"update_id": bot.next_update_id, kind: dict(content)})

    def push(self, bot: BotAccount, update: dict[str, Any]) -> dict[str, Any]:
        """Queue an update exactly as given, malformed ones too."""
        bot.queue.append(update)
        number = update.get("update_id")
        if isinstance(number, int):
            bot.next_update_id = number + 1
        self.changed.notify()
        return update

    def announce(self, chat: Chat, message: Mapping[str, Any], kind: str = "message") -> None:
        """Tell every bot that may read it, as Telegram does: never a bot's own or another bot's message."""
        if message["from"].get("is_bot"):
            return
        for bot in self.bots.values():
            if chat.type == "private":
                if self.chats.get((bot.id, chat.id)) is chat:
                    self.tell(bot, kind, message)
            elif chat.id not in bot.kicked_from and (bot.can_read_all or _concerns(bot, message)):
                self.tell(bot, kind, message)

    def confirm(self, bot: BotAccount, offset: int) -> None:
        """Forget every update below `offset`; a negative one keeps that many of the newest.

        Numbers may jump back after a quiet week; the queue is then confirmed by its order, up to `offset - 1`.
        """
        numbers = [update.get("update_id", 0) for update in bot.queue]
        if offset < 0:
            gone = max(0, len(numbers) + offset)
        elif offset - 1 in numbers:
            gone = len(numbers) - numbers[::-1].index(offset - 1)
        else:
            gone = sum(1 for number in numbers if isinstance(number, int) and number < offset)
        for _ in range(gone):
            bot.queue.popleft()
        self.changed.notify()

    def history(self, chat_id: int, thread: int | None = None, *, bot: BotAccount | None = None) -> list[Posted]:
        """What was said in one place, oldest first. Private chats need the `bot`; `thread` None means all threads."""
        key = (bot.id if bot and chat_id > 0 else None, chat_id)
        posted = self._here.get(key, [])
        return [item for item in posted if thread is None or item.thread == thread]

    def sent_after(self, serial: int) -> list[Posted]:
        """What bots have sent behind a serial, oldest first."""
        return self.sent[bisect_right(self.sent, serial, key=lambda item: item.serial) :]


def _concerns(bot: BotAccount, message: Mapping[str, Any]) -> bool:
    """Whether privacy mode lets this message through."""
    text = str(message.get("text") or message.get("caption") or "").casefold()
    if text.startswith("/") or f"@{bot.username.casefold()}" in text:
        return True
    return bool(message.get("reply_to_message", {}).get("from", {}).get("id") == bot.id)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who writes."""

    world: World
    id: int
    name: str

    def user(self) -> dict[str, Any]:
        return {"id": self.id, "is_bot": False, "first_name": self.name}

    def says(
        self,
        chat: Chat | BotAccount,
        text: str,
        thread: int | None = None,
        *,
        reply_to: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write in a group, a topic, or to a bot privately; returns the message. `extra` adds or replaces fields.

        In a forum without `thread` the message stands in General, which has no thread id on the wire.
        """
        if isinstance(chat, BotAccount):
            chat = self.world.private(chat, self.id, self.name)
        content: dict[str, Any] = {"text": text} if text else {}
        if entities := typed_entities(text):
            content["entities"] = entities
        posted = self.world.post(chat, self.user(), {**content, **(extra or {})}, thread=thread, reply_to=reply_to)
        self.world.announce(chat, posted.message)
        return dict(posted.message)

    def edits(self, chat: Chat | BotAccount, message: Mapping[str, Any], text: str) -> dict[str, Any]:
        """Change an earlier message; bots get an edited_message under a fresh update id."""
        if isinstance(chat, BotAccount):
            chat = self.world.private(chat, self.id, self.name)
        edited = {**message, "text": text, "edit_date": int(time.time())}
        edited.pop("entities", None)
        if entities := typed_entities(text):
            edited["entities"] = entities
        self.world.announce(chat, edited, "edited_message")
        return edited


def too_long(text: str) -> bool:
    """Whether Telegram refuses the visible text."""
    return utf16_len(text) > 4096
