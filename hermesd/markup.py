"""Markdown is what models write and what the house stores; this is how it is cut and read.

`split` cuts Markdown *source* into parts a platform takes whole. Nothing is lost: the bodies of `pieces` concatenate to
the original, what else stands in a part is a code fence closed at its end or opened again at its start.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

Measure = Callable[[str], int]

#: an opening or closing code fence; deeper indented ones belong to nested lists and are not reopened
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*([^\r\n]*)")
#: where a line may end inside itself, best first
_SENTENCE = re.compile(r"[.!?…。！？][\"'”’)\]]*\s+|[。！？]")
_SPACE = re.compile(r"\s+")
#: a cut is not worth taking when it leaves the part emptier than this
_FILL = 0.5
#: how far back a grapheme cluster is followed; longer ones are not natural text
_CLUSTER = 64

_ZWJ = "\u200d"


def utf16_len(text: str) -> int:
    """Length in UTF-16 code units, the unit Telegram counts in."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def parser() -> MarkdownIt:
    """Make the house's Markdown parser: CommonMark, tables and strikethrough; HTML stays text, bare URLs stay text."""
    return MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a cut text."""

    #: a reopened code fence, or empty
    head: str
    #: the slice of the original
    body: str
    #: a closed code fence, or empty
    tail: str

    @property
    def text(self) -> str:
        return f"{self.head}{self.body}{self.tail}"


@dataclass(frozen=True, slots=True)
class _Fence:
    """The code fence that is open at some place."""

    marker: str
    info: str

    def head(self) -> str:
        return f"{self.marker}{self.info}\n"

    def tail(self, body: str) -> str:
        return self.marker if body.endswith("\n") else f"\n{self.marker}"


@dataclass(frozen=True, slots=True)
class _Cut:
    """A place where the text may be cut, and the fence open there."""

    end: int
    fence: _Fence | None
    paragraph: bool = False


def split(text: str, limit: int, measure: Measure = len, *, reserve: int = 0) -> list[str]:
    """Cut Markdown into parts of at most `limit - reserve` units each; empty text gives no parts.

    `measure` gives a text's length in the platform's unit; it must be additive and count every character at least once.
    Paragraphs are kept whole where possible, then lines, sentences, words, grapheme clusters. Raises ValueError when
    the limit has no room for a single character.
    """
    return [piece.text for piece in pieces(text, limit, measure, reserve=reserve)]


def pieces(text: str, limit: int, measure: Measure = len, *, reserve: int = 0) -> list[Piece]:
    """Cut like `split`, and tell what is original (`body`) from what was added."""
    room = limit - reserve
    if room < 1:
        raise ValueError(f"no room: limit {limit}, reserve {reserve}")
    found: list[Piece] = []
    start, fence = 0, None
    while start < len(text):
        piece, fence = _next(text, start, fence, room, measure)
        found.append(piece)
        start += len(piece.body)
    return found


def join(parts: Sequence[Piece]) -> str:
    """Put a cut text together again: the inverse of `pieces`."""
    return "".join(part.body for part in parts)


def plain(text: str, markdown: MarkdownIt | None = None) -> str:
    """Read Markdown as plain text: no markup, links as `text (address)`, lists and tables kept readable."""
    tree = SyntaxTreeNode((markdown or parser()).parse(text))
    return "\n\n".join(_plain_blocks(tree.children))


def _next(text: str, start: int, fence: _Fence | None, room: int, measure: Measure) -> tuple[Piece, _Fence | None]:
    """Cut one piece off at `start`; also returns the fence open behind it."""
    head = fence.head() if fence else ""
    if measure(head) > room // 4:
        # a fence that would eat the part: better bare text than no progress
        fence, head = None, ""
    room -= measure(head)
    if len(text) - start <= room and measure(text[start:]) <= room:
        return Piece(head, text[start:], ""), None
    cuts = list(_line_cuts(text, start, fence, room, measure))
    cut = _best(cuts, start, room) or _inside_line(text, start, cuts, fence, room, measure)
    body = text[start : cut.end]
    return Piece(head, body, cut.fence.tail(body) if cut.fence else ""), cut.fence


def _line_cuts(text: str, start: int, fence: _Fence | None, room: int, measure: Measure) -> Iterator[_Cut]:
    """Every line end that fits, with the fence closed behind it counted in."""
    used, begin, blank = 0, start, False
    at_line_start = start == 0 or text[start - 1] == "\n"
    while begin < len(text):
        newline = text.find("\n", begin, begin + room + 1)
        if newline < 0:
            return
        end = newline + 1
        line = text[begin:end]
        used += measure(line)
        opened = False
        if at_line_start and (mark := _FENCE.match(line)):
            before, fence = fence, _after(mark, fence)
            opened = fence is not None and before is None
        at_line_start = True
        closing = measure(f"\n{fence.marker}") if fence else 0
        if used > room:
            return
        empty = not line.strip()
        # a part that ends with a just opened fence would show an empty block
        if used + closing <= room and not opened:
            yield _Cut(end, fence, paragraph=empty and not blank)
        blank, begin = empty, end


def _after(mark: re.Match[str], fence: _Fence | None) -> _Fence | None:
    """The fence open after a line that looks like one."""
    marker, info = mark[1], mark[2].strip()
    if fence is not None:
        closes = marker[0] == fence.marker[0] and len(marker) >= len(fence.marker) and not info
        return None if closes else fence
    if marker[0] == "`" and "`" in info:
        return None
    return _Fence(marker, info)


def _best(cuts: Sequence[_Cut], start: int, room: int) -> _Cut | None:
    """The last paragraph end, else line end outside code, else line end, that leaves the part well filled."""
    enough = start + room * _FILL
    full = [cut for cut in cuts if cut.end >= enough]
    for wanted in (
        [cut for cut in full if cut.paragraph and cut.fence is None],
        [cut for cut in full if cut.fence is None],
        full,
    ):
        if wanted:
            return wanted[-1]
    return None


def _inside_line(
    text: str, start: int, cuts: Sequence[_Cut], fence: _Fence | None, room: int, measure: Measure
) -> _Cut:
    """A cut inside the line that is too long: after a sentence, a word, or between two characters people see."""
    last = cuts[-1] if cuts else _Cut(start, fence)
    used = measure(text[start : last.end])
    long_line = _fitting(text, last.end, room - used, measure)
    if cuts and long_line < start + room * _FILL:
        return last
    inside = _running(text, last)
    closing = measure(f"\n{inside.marker}") if inside else 0
    if closing >= room - used:
        inside, closing = None, 0
    end = _fitting(text, last.end, room - used - closing, measure)
    window = text[last.end : end]
    floor = len(window) * _FILL
    for pattern in (_SENTENCE, _SPACE):
        stops = [match.end() for match in pattern.finditer(window) if match.end() >= floor]
        if stops:
            return _Cut(last.end + stops[-1], inside)
    if cuts and end - last.end < room * _FILL / 2:
        return last
    whole = _cluster_start(text, end, max(start, last.end))
    if whole <= start:
        raise ValueError(f"no room for a single character in {room} units")
    return _Cut(whole, inside)


def _running(text: str, last: _Cut) -> _Fence | None:
    """The fence to close inside the line behind `last`; a line that is itself a fence is left alone."""
    if last.fence is not None and _FENCE.match(text, last.end):
        return None
    return last.fence


def _fitting(text: str, start: int, room: int, measure: Measure) -> int:
    """The furthest end whose slice from `start` fits."""
    low, high = start, min(len(text), start + max(room, 0))
    while low < high:
        middle = (low + high + 1) // 2
        if measure(text[start:middle]) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _cluster_start(text: str, end: int, start: int) -> int:
    """Move a cut back to the border of what people see as one character; stays put when there is none near."""
    for place in range(end, max(start, end - _CLUSTER), -1):
        if not _joined(text, place):
            return place
    return end


def _joined(text: str, place: int) -> bool:
    """Whether the characters around a cut belong together."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if after < "\u0300":
        return before == "\r" and after == "\n"
    if after == _ZWJ or before == _ZWJ or unicodedata.category(after) in ("Mn", "Mc", "Me"):
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True
    if "\udc00" <= after <= "\udfff" and "\ud800" <= before <= "\udbff":
        return True
    if _is_flag_half(after) and _is_flag_half(before):
        return _flag_halves(text, place) % 2 == 1
    return "\u1160" <= after <= "\u11ff"


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _flag_halves(text: str, place: int) -> int:
    """How many regional indicators stand directly before a place."""
    count = 0
    while place - count > 0 and count < _CLUSTER and _is_flag_half(text[place - count - 1]):
        count += 1
    return count


def _plain_blocks(nodes: Sequence[SyntaxTreeNode]) -> list[str]:
    return [text for node in nodes if (text := _plain_block(node)).strip()]


def _plain_block(node: SyntaxTreeNode) -> str:
    match node.type:
        case "fence" | "code_block":
            return node.content.rstrip("\n")
        case "hr":
            return "———"
        case "bullet_list" | "ordered_list":
            return "\n".join(_plain_items(node))
        case "table":
            rows = [row for section in node.children for row in section.children]
            return "\n".join(" | ".join(plain_inline(cell) for cell in row.children) for row in rows)
        case "paragraph" | "heading" | "inline":
            return plain_inline(node)
        case _:
            return "\n\n".join(_plain_blocks(node.children))


def _plain_items(node: SyntaxTreeNode) -> Iterator[str]:
    first = int(node.attrs.get("start", 1))
    for number, item in enumerate(node.children, first):
        mark = f"{number}. " if node.type == "ordered_list" else "- "
        inside = "\n".join(_plain_blocks(item.children))
        yield mark + inside.replace("\n", "\n" + " " * len(mark))


def plain_inline(node: SyntaxTreeNode) -> str:
    """The words of one inline node."""
    match node.type:
        case "text" | "code_inline":
            return node.content
        case "softbreak" | "hardbreak":
            return "\n"
        case "image":
            return f"{node.content} ({node.attrs.get('src', '')})".strip()
        case "link":
            words, target = "".join(map(plain_inline, node.children)), str(node.attrs.get("href", ""))
            return words if words == target or not target else f"{words} ({target})"
        case _:
            return "".join(map(plain_inline, node.children))
