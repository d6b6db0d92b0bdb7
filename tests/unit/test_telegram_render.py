"""Markdown becomes HTML that Telegram takes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd import markup
from hermesd.testing.telegram.entities import read_html
from hermesd_telegram.render import to_html, visible_length

PARSER = markup.parser()
MARKS = ["*", "_", "`", "```", "~~", ">", "-", "#", "|", "\n", "\n\n", "[", "](", ")", "<", "&", "1.", "\t", " "]


@pytest.mark.parametrize(
    ("source", "html"),
    [
        ("plain words, 1 < 2 & 3", "plain words, 1 &lt; 2 &amp; 3"),
        ("**b** *i* ~~s~~ `c<d`", "<b>b</b> <i>i</i> <s>s</s> <code>c&lt;d</code>"),
        ("# Title\nwords", "<b>Title</b>\n\nwords"),
        ("one\ntwo", "one\ntwo"),
        ("- a\n- b\n  - c\n    1. d", "• a\n• b\n  • c\n    1. d"),
        ("3. x\n4. y", "3. x\n4. y"),
        ("```py\nif a < b:\n    pass\n```", '<pre><code class="language-py">if a &lt; b:\n    pass</code></pre>'),
        ("```\nx\n```", "<pre>x</pre>"),
        ('```"><b>\nx\n```', "<pre>x</pre>"),
        ("> a\n>\n> > b", "<blockquote>a\n\nb</blockquote>"),
        ("[t](https://x.y/?a=1&b=2)", '<a href="https://x.y/?a=1&amp;b=2">t</a>'),
        ("[t](javascript:alert(1))", "[t](javascript:alert(1))"),
        ("[t](file:///etc/passwd)", "[t](file:///etc/passwd)"),
        ("[t](tg://user?id=1)", "t"),
        ("[t](tg://resolve?domain=x)", '<a href="tg://resolve?domain=x">t</a>'),
        ("![alt](https://x.y/z.png)", '<a href="https://x.y/z.png">alt</a>'),
        ("<b>x</b> <script>", "&lt;b&gt;x&lt;/b&gt; &lt;script&gt;"),
        ("|a|bb|\n|-|-|\n|ccc|d|", "<pre>a   | bb\n----+---\nccc | d</pre>"),
        ("a\n\n---\n\nb", "a\n\n———\n\nb"),
    ],
)
def test_each_construct_has_its_form(source: str, html: str) -> None:
    """What models write is shown as Telegram can show it; everything else stays words."""
    assert to_html(source, PARSER) == html


def test_code_in_a_list_keeps_its_indentation() -> None:
    """Lists indent their words, never the code in them."""
    html = to_html("1. do:\n\n   ```py\n   if x:\n       y\n   ```\n2. done", PARSER)
    assert html == '1. do:\n<pre><code class="language-py">if x:\n    y</code></pre>\n2. done'


@pytest.mark.parametrize(
    "target", ["tg://user?id=1", "TG://User?id=1", "tg:user?id=1", "tg&#58;//user?id=1", "tg://user/?id=1"]
)
@pytest.mark.parametrize(
    "form", ["[t]({})", "[t](<{}>)", "<{}>", "![t]({})", "[t][r]\n\n[r]: {}", "**[t]({})**", '<a href="{}">t</a>', "{}"]
)
def test_no_spelling_of_a_link_pings_a_person(form: str, target: str) -> None:
    """However a model writes a link to a person, Telegram reads no mention of an account out of it (DLV-09)."""
    _, entities = read_html(to_html(form.format(target), PARSER))
    assert [entity for entity in entities if "user" in entity or "user" in entity.get("url", "").lower()] == []


@pytest.mark.parametrize("words", ["@everyone", "@here", "@channel", "<!channel>", "<!everyone>", "<@U123>", "<@&42>"])
def test_calls_to_everybody_stay_words(words: str) -> None:
    """What pings a whole room elsewhere arrives as the plain characters, with no markup of its own (DLV-09)."""
    text, entities = read_html(to_html(f"hello {words} there", PARSER))
    assert text == f"hello {words} there"
    assert {entity["type"] for entity in entities} <= {"mention"}


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=8), st.sampled_from(MARKS)), max_size=60))
def test_telegram_can_always_read_it(parts: list[str]) -> None:
    """Whatever the Markdown, the HTML passes Telegram's own rules and its visible length is known."""
    html = to_html("".join(parts), PARSER)
    text, _ = read_html(html)
    assert visible_length(html) == markup.utf16_len(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abc .,!?\n-1)(*_#é👍", max_size=40))
def test_the_short_way_is_the_long_way(text: str) -> None:
    """Text without markup takes a short way that shows the same."""
    marked = to_html(text, PARSER)
    blocks = to_html(f"{text}\n\n**x**", PARSER)
    if "<" not in marked and text.strip() and blocks.endswith("\n\n<b>x</b>"):
        assert marked.split() == blocks.removesuffix("\n\n<b>x</b>").split()
