"""Markdown to the HTML Telegram takes: everything escaped, only tags it knows, never nested where it forbids it."""

import re
import unicodedata
from collections.abc import Sequence
from html import escape, unescape

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from hermesd import markup

#: what a link may start with; `tg://user` is left out: it would ping people
_LINK = re.compile(r"(https?://|mailto:|tg://(?!user\b))", re.IGNORECASE)
_LANGUAGE = re.compile(r"[A-Za-z0-9+#.-]{1,32}")
_TAG = re.compile(r"<[^>]*>")
#: text with none of these is the same in Markdown and out of it
_MARKED = re.compile(r"[*_`~\[\]#>|\\&<+=]|^\s|\n[ \t\n]|^-|\n-|\d[.)]|  \n|\r")


def to_html(text: str, parser: MarkdownIt) -> str:
    """Render Markdown source as Telegram HTML; empty when nothing of it is visible."""
    if not _MARKED.search(text):
        return escape(text, quote=False)
    return "\n\n".join(_blocks(SyntaxTreeNode(parser.parse(text)).children))


def visible_length(html: str) -> int:
    """UTF-16 units of what Telegram counts: the text without tags."""
    return markup.utf16_len(unescape(_TAG.sub("", html)))


def _blocks(nodes: Sequence[SyntaxTreeNode], quoted: bool = False) -> list[str]:
    return [html for node in nodes if (html := _block(node, quoted)).strip()]


def _block(node: SyntaxTreeNode, quoted: bool) -> str:
    match node.type:
        case "paragraph":
            return _inline(node)
        case "heading":
            return f"<b>{_inline(node)}</b>"
        case "fence" | "code_block":
            return _code(node)
        case "bullet_list" | "ordered_list":
            return _list(node, quoted)
        case "blockquote":
            inside = "\n\n".join(_blocks(node.children, quoted=True))
            return inside if quoted or not inside else f"<blockquote>{inside}</blockquote>"
        case "table":
            return f"<pre>{escape(_table(node), quote=False)}</pre>"
        case "hr":
            return "———"
        case _:
            return (
                escape(node.content, quote=False) if not node.children else "\n\n".join(_blocks(node.children, quoted))
            )


def _code(node: SyntaxTreeNode) -> str:
    code = escape(node.content.rstrip("\n"), quote=False)
    if not code.strip():
        return ""
    language = _LANGUAGE.match(node.info.strip()) if node.type == "fence" else None
    return f'<pre><code class="language-{language[0]}">{code}</code></pre>' if language else f"<pre>{code}</pre>"


def _list(node: SyntaxTreeNode, quoted: bool) -> str:
    first = int(node.attrs.get("start", 1))
    lines = []
    for number, item in enumerate(node.children, first):
        mark = f"{number}. " if node.type == "ordered_list" else "• "
        parts = [
            # code keeps its own indentation
            html if child.type in ("fence", "code_block", "table") else html.replace("\n", "\n" + " " * len(mark))
            for child in item.children
            if (html := _block(child, quoted)).strip()
        ]
        # nested lists stand below their item, indented as far as its text
        gap = "\n" + " " * len(mark)
        lines.append(mark + _joined(parts, gap))
    return "\n".join(lines)


def _joined(parts: Sequence[str], gap: str) -> str:
    text = ""
    for index, part in enumerate(parts):
        text += part if not index else ("\n" if part.startswith("<pre>") else gap) + part
    return text


def _table(node: SyntaxTreeNode) -> str:
    """Columns lined up for a fixed-width font."""
    rows = [
        [markup.plain_inline(cell).replace("\n", " ") for cell in row.children]
        for section in node.children
        for row in section.children
    ]
    widths = [max(map(_width, column)) for column in zip(*rows, strict=False)]
    lines = [
        " | ".join(cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-+-".join("-" * width for width in widths), *lines[1:]])


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _inline(node: SyntaxTreeNode) -> str:
    match node.type:
        case "text":
            return escape(node.content, quote=False)
        case "softbreak" | "hardbreak":
            return "\n"
        case "code_inline":
            return f"<code>{escape(node.content, quote=False)}</code>"
        case "strong":
            return f"<b>{_inlines(node)}</b>"
        case "em":
            return f"<i>{_inlines(node)}</i>"
        case "s":
            return f"<s>{_inlines(node)}</s>"
        case "link":
            return _link(str(node.attrs.get("href", "")), _inlines(node))
        case "image":
            source = str(node.attrs.get("src", ""))
            return _link(source, escape(node.content or source, quote=False))
        case _:
            return _inlines(node) if node.children else escape(node.content, quote=False)


def _inlines(node: SyntaxTreeNode) -> str:
    return "".join(map(_inline, node.children))


def _link(target: str, words: str) -> str:
    return f'<a href="{escape(target)}">{words}</a>' if _LINK.match(target) and words else words
