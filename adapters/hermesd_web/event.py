"""What a person said on the page, as it is stored, and its one reading."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hermesd.address import AdapterKey
from hermesd.message import InboundMessage, RawEvent, Sender
from hermesd_web.place import Place
from hermesd_web.settings import PERSON

#: characters of one message a person may write
TEXT_LIMIT = 32_000

#: Unix seconds no clock shows
_FAR = 1e11
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


@dataclass(frozen=True, slots=True)
class Said:
    """One message from the page, checked."""

    #: made by the page; the same on every retry
    id: str
    place: Place
    text: str
    #: Unix seconds, by this machine's clock
    at: float

    @classmethod
    def read(cls, value: Any, *, at: float | None = None) -> "Said":
        """Read JSON, as the page sends it (`at` given) or as it is stored. Raises ValueError naming what is wrong."""
        fields = value if isinstance(value, Mapping) else {}
        event_id, room, thread, text = (fields.get(name) for name in ("id", "room", "thread", "text"))
        moment = fields.get("at") if at is None else at
        if not (isinstance(event_id, str) and _ID.fullmatch(event_id)):
            raise ValueError("id: expected 8 to 64 letters, digits, - or _")
        if not isinstance(room, str) or not (thread is None or isinstance(thread, str)):
            raise ValueError("room, thread: expected text; thread may be null")
        if not isinstance(text, str) or not text.strip():
            raise ValueError("text: expected something to say")
        if len(text) > TEXT_LIMIT:
            raise ValueError(f"text: {len(text)} characters, at most {TEXT_LIMIT} are taken")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise ValueError("text: holds half a character")
        if not (isinstance(moment, int | float) and 0 <= moment < _FAR):
            raise ValueError("at: expected seconds since 1970")
        return cls(event_id, Place(room, thread), text, float(moment))

    def raw(self, key: AdapterKey) -> RawEvent:
        """The event as it is stored."""
        body = {"id": self.id, "room": self.place.room, "thread": self.place.thread, "text": self.text, "at": self.at}
        return RawEvent(self.id, body, self.place.address(key))

    def message(self, key: AdapterKey) -> InboundMessage:
        """What the gateway reads."""
        return InboundMessage(
            event_id=self.id,
            message_key=self.id,
            address=self.place.address(key),
            chat_kind="group" if self.place.thread is None else "thread",
            sender=Sender(PERSON, "you"),
            text=self.text,
            addressed=True,
            sent_at=self.at,
            title=self.place.thread or self.place.room,
        )
