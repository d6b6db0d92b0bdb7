"""A room, or a thread in a room, as the page names it."""

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from hermesd.address import AdapterKey, Address

#: printable, not starting or ending with a blank
_NAME = re.compile(r"[^\s\x00-\x1f\x7f-\x9f](?:[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,62}[^\s\x00-\x1f\x7f-\x9f])?")


@dataclass(frozen=True, slots=True)
class Place:
    """One conversation of the page. The names are the ids."""

    #: 1 to 64 printable characters
    room: str
    thread: str | None = None

    def __post_init__(self) -> None:
        for name in (self.room, self.thread):
            if name is not None and not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a name: expected 1 to 64 printable characters on one line")
            if name is not None and any("\ud800" <= character <= "\udfff" for character in name):
                raise ValueError("a name holds half a character")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `room` or `room:thread`, parts percent-encoded as in addresses. Raises ValueError."""
        room, colon, thread = text.partition(":")
        return cls(unquote(room), unquote(thread) if colon else None)

    @classmethod
    def of(cls, address: Address) -> Self:
        return cls(address.chat_id, address.thread_id)

    def address(self, key: AdapterKey) -> Address:
        return Address(key, self.room, self.thread)
