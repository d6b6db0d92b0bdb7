"""Telegram, played by the fake Bot API server."""

from collections.abc import Mapping, Sequence
from typing import Any

from hermesd.address import AdapterKey, Address
from hermesd.message import RawEvent
from hermesd.ports import BotSettings, SecretRef
from hermesd.testing.conformance import Person, ReceiveFault, SendFault, Shown
from hermesd.testing.telegram import FakeTelegram
from hermesd.testing.telegram import Person as Somebody
from hermesd_telegram import TelegramPlugin, TelegramSettings

TOKEN = "7000001:AAfake-token-for-tests"
GROUP, FORUM, ALICE = -1001, -1002, 111

#: how Telegram words each refusal of a send
WORDS: Mapping[SendFault, Mapping[str, Any]] = {
    "unauthorized": {"status": 401, "description": "Unauthorized"},
    "rate_limited": {"status": 429, "description": "Too Many Requests: retry after 3", "retry_after": 3},
    "migrated": {
        "status": 400,
        "description": "Bad Request: group chat was upgraded to a supergroup chat",
        "migrate_to_chat_id": -1009,
    },
    "blocked": {"status": 403, "description": "Forbidden: bot was blocked by the user"},
    "forbidden": {"status": 400, "description": "Bad Request: not enough rights to send text messages to the chat"},
    "chat_gone": {"status": 403, "description": "Forbidden: bot was kicked from the supergroup chat"},
    "thread_gone": {"status": 400, "description": "Bad Request: message thread not found"},
    "thread_closed": {"status": 400, "description": "Bad Request: TOPIC_CLOSED"},
    "too_long": {"status": 400, "description": "Bad Request: message is too long"},
    "bad_request": {"status": 400, "description": "Bad Request: something new"},
}


class Told:
    """One message a person wrote to the fake."""

    def __init__(self, rig: "TelegramRig", message: Mapping[str, Any], update_id: int | None) -> None:
        self._rig, self._update_id = rig, update_id
        self.message_key = f"{message['chat']['id']}:{message['message_id']}"

    def acknowledged(self) -> bool:
        return all(update["update_id"] != self._update_id for update in self._rig.bot.queue)

    async def wait_acknowledged(self) -> None:
        await self._rig.server.until(self.acknowledged)


class TelegramRig:
    """`conformance.Rig`."""

    key = AdapterKey("telegram", "main")
    send_faults = frozenset((*WORDS, "unreachable", "ambiguous"))
    receive_faults: frozenset[ReceiveFault] = frozenset(("unauthorized", "conflict", "rate_limited", "unreachable"))
    has_bots = True
    can_repeat = True

    def __init__(self) -> None:
        self.plugin = TelegramPlugin()
        self.server = FakeTelegram()
        self.places = {
            "dm": Address(self.key, str(ALICE)),
            "group": Address(self.key, str(GROUP)),
            "thread": Address(self.key, str(FORUM), "6"),
            "other_thread": Address(self.key, str(FORUM), "7"),
        }
        self._down = False

    async def start(self) -> None:
        await self.server.start()
        self.bot = self.server.bot(TOKEN, "career_bot")
        self.server.group(GROUP)
        self.server.forum(FORUM, "House", {6: "career", 7: "finance"})
        self.server.world.private(self.bot, ALICE, "Alice")

    async def stop(self) -> None:
        await self.server.stop()

    def settings(self) -> BotSettings:
        return TelegramSettings(
            platform="telegram", bot_id="main", token="${env:TOKEN}", base_url=self.server.url, poll_timeout=20
        )

    def secrets(self) -> Mapping[SecretRef, str]:
        return {SecretRef("env", "TOKEN"): TOKEN}

    async def says(self, place: Address, text: str, *, person: Person = "alice", to_bot: bool = False) -> Told:
        if to_bot and int(place.chat_id) < 0:
            text = f"@{self.bot.username} {text}"
        chat = self.server.world.find(self.bot, int(place.chat_id))
        thread = int(place.thread_id) if place.thread_id else None
        if person in ("alice", "bob"):
            number = ALICE if person == "alice" else 222
            who = Somebody(self.server.world, number, person.title())
            message = who.says(self.bot if chat.type == "private" else chat, text, thread)
        else:
            # Telegram itself never shows a bot to a bot; a proxy or a future might
            sender = (
                self.bot.user() if person == "the_bot_itself" else {**self.bot.user(), "id": 9, "username": "x_bot"}
            )
            posted = self.server.world.post(chat, sender, {"text": text}, thread=thread)
            message = dict(posted.message)
            self.server.world.tell(self.bot, "message", message)
        return Told(self, message, self.bot.queue[-1]["update_id"] if self.bot.queue else None)

    async def repeat(self) -> None:
        last = self.server.world.posted[-1].message
        update = {"update_id": self.bot.next_update_id - 1, "message": dict(last)}
        self.server.world.push(self.bot, update)

    async def shown(self, place: Address) -> Sequence[Shown]:
        thread = int(place.thread_id) if place.thread_id else None
        posted = self.server.history(int(place.chat_id), thread, bot=self.bot)
        return [
            Shown(f"{item.message['chat']['id']}:{item.message['message_id']}", item.text)
            for item in posted
            if item.bot_id == self.bot.id and item.thread == thread
        ]

    async def menu(self) -> Sequence[tuple[str, str]]:
        return [(command["command"], command["description"]) for command in self.bot.commands]

    async def break_send(self, fault: SendFault, place: Address) -> None:
        if fault == "unreachable":
            await self.server.stop()
            self._down = True
        elif fault == "ambiguous":
            self.server.fault("sendMessage", "drop_after")
        else:
            self.server.fault("sendMessage", **WORDS[fault])

    async def break_receive(self, fault: ReceiveFault) -> None:
        if fault == "unreachable":
            await self.server.stop()
            self._down = True
        elif fault == "unauthorized":
            self.bot.refused = 401
            self.server.world.changed.notify()
        else:
            status = {"conflict": 409, "rate_limited": 429}[fault]
            words = {
                "conflict": "Conflict: terminated by other getUpdates request",
                "rate_limited": "Too Many Requests",
            }
            self.server.fault(
                "getUpdates",
                times=-1,
                status=status,
                description=words[fault],
                retry_after=2 if fault == "rate_limited" else None,
            )
            # whatever polls now meets the fault on its next poll
            self.server.user(ALICE, "Alice").says(self.bot, "wake up")

    async def heal(self) -> None:
        self.server.faults.clear()
        self.bot.refused = None
        if self._down:
            self._down = False
            await self.server.start()

    def samples(self) -> Sequence[RawEvent]:
        return SAMPLES


def _update(number: int, kind: str = "message", **fields: Any) -> RawEvent:
    message = {
        "message_id": number,
        "date": 1_760_000_000,
        "chat": {"id": FORUM, "type": "supergroup", "title": "House", "is_forum": True},
        "from": {"id": ALICE, "is_bot": False, "first_name": "Alice", "last_name": "A"},
        **fields,
    }
    me = {"id": 7_000_001, "username": "career_bot"}
    return RawEvent(str(number), {"update_id": number, kind: message, "hermesd_me": me})


SAMPLES = (
    _update(1, text="hello 👋 @career_bot", entities=[{"type": "mention", "offset": 9, "length": 11}]),
    _update(2, text="in a topic", message_thread_id=6, is_topic_message=True),
    _update(3, text="/profile@career_bot now", entities=[{"type": "bot_command", "offset": 0, "length": 19}]),
    _update(4, "edited_message", text="changed", edit_date=1_760_000_001),
    _update(5, caption="look", photo=[{"file_id": "a", "width": 1, "height": 1}, {"file_id": "b", "file_size": 9}]),
    _update(6, document={"file_id": "d", "file_name": "../../x", "mime_type": "text/plain", "file_size": 3}),
    _update(7, forum_topic_created={"name": "career", "icon_color": 1}, message_thread_id=6, is_topic_message=True),
    _update(8, new_chat_members=[{"id": 5, "is_bot": True, "first_name": "B"}]),
    _update(9, migrate_to_chat_id=-1009),
    _update(10, text="x", reply_to_message={"message_id": 4, "from": {"id": 7_000_001, "is_bot": True}, "text": "y"}),
    _update(11, text="anonymous", sender_chat={"id": FORUM, "type": "supergroup", "title": "House"}),
    _update(12, text="hi", chat={"id": ALICE, "type": "private", "first_name": "Alice"}),
    _update(
        13,
        text="Bob?",
        entities=[{"type": "text_mention", "offset": 0, "length": 3, "user": {"id": 7_000_001, "is_bot": True}}],
    ),
    RawEvent("14", {"update_id": 14, "callback_query": {"id": "1", "from": {"id": ALICE}, "data": "x"}}),
    RawEvent("15", {"update_id": 15, "my_chat_member": {"chat": {"id": FORUM}, "from": {"id": ALICE}}}),
)


def rig() -> TelegramRig:
    """A fresh Telegram."""
    return TelegramRig()
