"""Markdown on the page: what is shown, and that nothing alive can come out."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.markup import parser
from hermesd_web.markdown import ATTRIBUTES, TAGS, safe_link, tree

PARSER = parser()
PAYLOADS = json.loads((Path(__file__).parents[1] / "browser" / "payloads.json").read_text())


def elements(nodes: list) -> Iterator[tuple[str, dict[str, str]]]:
    for node in nodes:
        if isinstance(node, str):
            continue
        tag, attributes, children = node
        yield tag, attributes
        yield from elements(children)


def assert_dead(text: str) -> None:
    for tag, attributes in elements(tree(text, PARSER)):
        assert tag in TAGS
        assert set(attributes) <= ATTRIBUTES
        if (href := attributes.get("href")) is not None:
            assert href.lower().startswith(("http://", "https://", "mailto:"))


def test_there_are_two_hundred_payloads() -> None:
    """The corpus is as large as the contract says, without repeats."""
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 200


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payloads_stay_dead(payload: str) -> None:
    """API-05: no payload gives an element, attribute or link scheme outside the short safe list, in any context."""
    for text in (
        payload,
        f"**{payload}**",
        f"- {payload}",
        f"> {payload}",
        f"| a |\n|---|\n| {payload} |",
        f"```{payload}\nx\n```",
    ):
        assert_dead(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="<>[]()!*_`~|-#:/\\\"'&;\n abjstcripx=.", max_size=120))
def test_any_text_stays_dead(text: str) -> None:
    """The same holds for arbitrary mixtures of Markdown's own signs."""
    assert_dead(text)


def test_words_are_all_there() -> None:
    """HTML in a reply is shown as the characters it is."""
    assert tree("a <b>b</b> & c", PARSER) == [["p", {}, ["a <b>b</b> & c"]]]


def test_common_markdown_is_shown() -> None:
    """Emphasis, code, lists, tables, quotes, links and line breaks come out as elements."""
    found = [
        tag
        for tag, _ in elements(
            tree("# h\n*a* **b** `c` ~~d~~\nx\n\n1. e\n\n> f\n\n|g|\n|-:|\n|h|\n\n```py\ni\n```", PARSER)
        )
    ]
    assert " ".join(found) == "h1 p em strong code s br ol li blockquote p table thead tr th tbody tr td pre"


def test_pictures_are_links_and_bare_addresses_too() -> None:
    """Nothing is fetched from elsewhere; a bare address leads there without the full stop behind it."""
    assert tree("![p](https://a.b/c.png) https://d.e/f.", PARSER) == [
        [
            "p",
            {},
            [
                ["a", {"href": "https://a.b/c.png"}, ["p"]],
                " ",
                ["a", {"href": "https://d.e/f"}, ["https://d.e/f"]],
                ".",
            ],
        ]
    ]


@pytest.mark.parametrize(
    "target",
    [
        "javascript:x",
        "JaVaScript:x",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil",
        "/x",
        "#x",
        "https:evil",
        "java\nscript:x",
        "http://a\u202eb",
        "blob:x",
        "",
        " http://x",
    ],
)
def test_other_link_targets_are_refused(target: str) -> None:
    """Only http, https and mailto, written plainly, become links."""
    assert safe_link(target) is None
