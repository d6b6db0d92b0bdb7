"""Who a message is for, and its words without the address. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hermesd_telegram import field

_AROUND = " \t\r\n,:;"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is on Telegram."""

    id: int
    #: without @; None when not known, then no mention can be recognised
    username: str | None

    def is_named(self, username: str) -> bool:
        """Whether this, without @, is the bot's user name."""
        return self.username is not None and username.casefold() == self.username.casefold()


@dataclass(frozen=True, slots=True)
class Speech:
    """What was said to whom."""

    text: str
    #: mentioned here, or given a command
    to_us: bool
    #: a command that names another bot
    to_another: bool


@dataclass(frozen=True, slots=True)
class _Span:
    """An entity in Python's own offsets."""

    kind: str
    begin: int
    end: int
    user_id: int | None


def listen(message: Mapping[str, Any], me: Identity) -> Speech:
    """Read text or caption: find mentions of the bot, take them off both ends, and `@bot` off a command."""
    named = "text" if message.get("text") is not None else "caption"
    text = field.words(message, named)
    entities = field.tables(message, "entities" if named == "text" else "caption_entities")
    spans = _spans(text, entities)
    ours = [span for span in spans if _is_us(text, span, me)]
    commands = [text[span.begin : span.end] for span in spans if span.kind == "bot_command" and span.begin == 0]
    name = commands[0].partition("@")[2] if commands else ""
    to_another = bool(name) and not me.is_named(name)
    to_us = not to_another and bool(ours or commands)
    if name and not to_another:
        head, tail = commands[0].partition("@")[0], text[len(commands[0]) :]
        return Speech(head + tail, True, False)
    return Speech(_without(text, ours), to_us, to_another)


def _is_us(text: str, span: _Span, me: Identity) -> bool:
    if span.kind == "text_mention":
        return span.user_id == me.id
    return span.kind == "mention" and me.is_named(text[span.begin + 1 : span.end])


def _without(text: str, ours: list[_Span]) -> str:
    """The text without mentions of the bot at its two ends; one in the middle belongs to the sentence."""
    begin, end = 0, len(text)
    for span in ours:
        if not text[begin : span.begin].strip(_AROUND):
            begin = span.end
    for span in reversed(ours):
        if span.begin >= begin and not text[span.end : end].strip(_AROUND + ".!?"):
            # punctuation behind a closing mention ends the sentence before it
            return (text[begin : span.begin].rstrip(_AROUND) + text[span.end : end].strip()).lstrip(
                _AROUND if begin else None
            )
    return text[begin:end].lstrip(_AROUND).rstrip() if begin else text


def _spans(text: str, entities: list[Mapping[str, Any]]) -> list[_Span]:
    """Entities that matter here, UTF-16 offsets turned into Python's."""
    found = []
    for entity in entities:
        kind = field.words(entity, "type")
        if kind not in ("mention", "text_mention", "bot_command"):
            continue
        offset, length = field.whole(entity, "offset"), field.whole(entity, "length")
        if offset < 0 or length < 0:
            raise ValueError("an entity lies outside the text")
        user = field.maybe_table(entity, "user")
        begin, end = _place(text, offset), _place(text, offset + length)
        found.append(_Span(kind, begin, end, field.maybe_whole(user, "id") if user else None))
    return sorted(found, key=lambda span: span.begin)


def _place(text: str, units: int) -> int:
    """Python's offset of a UTF-16 offset; beyond the end is the end."""
    if text.isascii():
        return min(units, len(text))
    whole = text.encode("utf-16-le", "surrogatepass")[: units * 2]
    return len(whole.decode("utf-16-le", "ignore"))
