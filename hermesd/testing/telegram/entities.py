"""What Telegram reads out of a text: HTML markup into entities, and commands and mentions people type."""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from hermesd.markup import utf16_len

#: Telegram's tags and the entity each makes
_TAGS = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "code": "code",
    "pre": "pre",
    "a": "text_link",
    "blockquote": "blockquote",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "tg-emoji": "custom_emoji",
}
_TYPED = re.compile(r"(?<![\w/])/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]{3,32}))?|(?<![\w@])@([A-Za-z0-9_]{3,32})")


class CannotParse(ValueError):
    """Telegram's 400 `can't parse entities`; the message is the description it gives."""


@dataclass(slots=True)
class _Open:
    tag: str
    entity: dict[str, Any]


@dataclass(slots=True)
class _Reading:
    text: str = ""
    length: int = 0
    entities: list[dict[str, Any]] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)


class _Reader(HTMLParser):
    """Reads Telegram's HTML as strictly as Telegram does."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.reading = _Reading()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        offset = len(self.reading.text.encode())
        if tag not in _TAGS:
            raise CannotParse(f'Unsupported start tag "{tag}" at byte offset {offset}')
        if tag == "blockquote" and any(item.tag == "blockquote" for item in self.reading.stack):
            raise CannotParse(f"Blockquotes can't be nested at byte offset {offset}")
        entity: dict[str, Any] = {"type": _TAGS[tag], "offset": self.reading.length}
        given = dict(attrs)
        if tag == "a":
            entity["url"] = given.get("href") or ""
        language = given.get("class") or ""
        if tag == "code" and language.startswith("language-") and self.reading.stack:
            self.reading.stack[-1].entity["language"] = language.removeprefix("language-")
        self.reading.stack.append(_Open(tag, entity))

    def handle_endtag(self, tag: str) -> None:
        offset = len(self.reading.text.encode())
        if not self.reading.stack:
            raise CannotParse(f'Unexpected end tag "{tag}" at byte offset {offset}')
        last = self.reading.stack.pop()
        if last.tag != tag:
            raise CannotParse(f'Unmatched end tag at byte offset {offset}, expected "</{last.tag}>", found "</{tag}>"')
        last.entity["length"] = self.reading.length - last.entity["offset"]
        inside_pre = tag == "code" and self.reading.stack and self.reading.stack[-1].tag == "pre"
        if last.entity["length"] and not inside_pre:
            self.reading.entities.append(last.entity)

    def handle_data(self, data: str) -> None:
        self.reading.text += data
        self.reading.length += utf16_len(data)


def read_html(source: str) -> tuple[str, list[dict[str, Any]]]:
    """Split Telegram HTML into visible text and entities. Raises CannotParse."""
    stray = re.search(r"<(?![/a-zA-Z])", source)
    if stray:
        raise CannotParse(f'Unsupported start tag "" at byte offset {len(source[: stray.start()].encode())}')
    reader = _Reader()
    reader.feed(source)
    reader.close()
    if reader.reading.stack:
        raise CannotParse(f'Can\'t find end tag corresponding to start tag "{reader.reading.stack[-1].tag}"')
    return reader.reading.text, sorted(reader.reading.entities, key=lambda entity: entity["offset"])


def typed_entities(text: str) -> list[dict[str, Any]]:
    """The commands and mentions Telegram finds in what people type; offsets in UTF-16 units."""
    found = []
    for match in _TYPED.finditer(text):
        kind = "bot_command" if match[0].startswith("/") else "mention"
        found.append({"type": kind, "offset": utf16_len(text[: match.start()]), "length": utf16_len(match[0])})
    return found
