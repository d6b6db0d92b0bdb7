"""Markdown as a small tree of safe elements: the page builds DOM nodes from it and never parses HTML.

A node is a string, which is text, or `[tag, attributes, children]` with a tag of `TAGS` and attributes of `ATTRIBUTES`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

Node: TypeAlias = "str | list[str | dict[str, str] | list[Node]]"

_WORDS = "p h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code em strong s a br hr table thead tbody tr th td"
#: everything the page can be told to build
TAGS = frozenset(_WORDS.split(" "))
ATTRIBUTES = frozenset({"href", "start", "lang", "align"})

_SCHEME = re.compile(r"(?:https?://[^/\s]|mailto:[^\s])", re.IGNORECASE)
_BARE_URL = re.compile(r"https?://[^\s<>\"'`]+[^\s<>\"'`.,;:!?)\]}*_]")
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SAME = {
    "paragraph": "p",
    "bullet_list": "ul",
    "list_item": "li",
    "blockquote": "blockquote",
    "em": "em",
    "strong": "strong",
    "s": "s",
    "table": "table",
    "thead": "thead",
    "tbody": "tbody",
    "tr": "tr",
}


def tree(text: str, parser: MarkdownIt) -> list[Node]:
    """Read Markdown as nodes. Pure; total: whatever the text, only the tags and attributes above come out."""
    return _all(SyntaxTreeNode(parser.parse(text)).children)


def safe_link(target: str) -> str | None:
    """The address if a person may be led there: http, https or mailto, written plainly; else None."""
    return target if _SCHEME.match(target) and not _CONTROL.search(target) else None


def _all(nodes: Sequence[SyntaxTreeNode], *, linked: bool = False) -> list[Node]:
    return [made for node in nodes for made in _make(node, linked=linked)]


def _make(node: SyntaxTreeNode, *, linked: bool) -> Iterator[Node]:
    if node.type in _SAME and not node.hidden:
        yield _element(_SAME[node.type], _all(node.children, linked=linked))
        return
    match node.type:
        case "text":
            yield from [node.content] if linked else _with_links(node.content)
        case "softbreak" | "hardbreak":
            yield _element("br", [])
        case "code_inline":
            yield _element("code", [node.content])
        case "fence" | "code_block":
            yield _code(node)
        case "link":
            yield from _link(str(node.attrs.get("href", "")), _all(node.children, linked=True), linked=linked)
        case "image":
            # pictures are not fetched: that would tell a stranger who reads what
            yield from _link(str(node.attrs.get("src", "")), [node.content or "image"], linked=linked)
        case "heading" | "ordered_list" | "th" | "td" | "hr":
            yield _block(node)
        case _:
            yield from _all(node.children, linked=linked) if node.children else [node.content]


def _block(node: SyntaxTreeNode) -> Node:
    attributes = {}
    if (start := str(node.attrs.get("start", ""))).isascii() and start.isdigit():
        attributes["start"] = start
    if (align := str(node.attrs.get("style", "")).removeprefix("text-align:")) in ("left", "center", "right"):
        attributes["align"] = align
    return _element(node.tag if node.tag in TAGS else "p", _all(node.children), attributes)


def _element(tag: str, children: list[Node], attributes: Mapping[str, str] | None = None) -> Node:
    return [tag, dict(attributes or {}), children]


def _code(node: SyntaxTreeNode) -> Node:
    words = (node.info or "").split()
    language = re.sub(r"[^A-Za-z0-9+#._-]", "", words[0])[:20] if words else ""
    return _element("pre", [node.content.rstrip("\n")], {"lang": language} if language else {})


def _link(target: str, words: list[Node], *, linked: bool) -> Iterator[Node]:
    href = safe_link(target)
    if href is None or linked:
        yield from words
    else:
        yield _element("a", words, {"href": href})


def _with_links(text: str) -> Iterator[Node]:
    """Text with its bare web addresses made links."""
    start = 0
    for match in _BARE_URL.finditer(text):
        href = safe_link(match[0])
        if href is None:
            continue
        if match.start() > start:
            yield text[start : match.start()]
        yield _element("a", [match[0]], {"href": href})
        start = match.end()
    if start < len(text):
        yield text[start:]
