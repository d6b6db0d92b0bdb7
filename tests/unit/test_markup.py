"""Markdown source is cut without loss and read without markup."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd import markup

words = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "```",
            "```py",
            "~~~",
            "````",
            "\n",
            "\n\n",
            " ",
            ". ",
            "  ```\n",
            "\r\n",
            "🇩🇪",
            "👩‍👩‍👧",
            "é",
            "👍🏽",
            "𝔘",
            "> ",
            "- ",
        ]
    ),
)
lines = st.sampled_from(["```", "```py", "~~~~ text", "  ```", "", "x = 1", "a longer line of words", "👩‍👩‍👧 𝔘𝔘𝔘"])
texts = st.one_of(st.lists(words, max_size=120).map("".join), st.lists(lines, max_size=60).map("\n".join))


@settings(max_examples=600, deadline=None)
@given(text=texts, limit=st.integers(2, 80), reserve=st.integers(0, 20), utf16=st.booleans())
def test_nothing_is_lost_and_every_part_fits(text: str, limit: int, reserve: int, utf16: bool) -> None:
    """Whatever the text, the bodies concatenate to it and no part is over the limit in the platform's unit (DLV-05)."""
    measure = markup.utf16_len if utf16 else len
    limit += reserve
    parts = markup.pieces(text, limit, measure, reserve=reserve)
    assert markup.join(parts) == text
    assert [part.text for part in parts] == markup.split(text, limit, measure, reserve=reserve)
    for part in parts:
        assert part.body
        assert measure(part.text) <= limit - reserve
        part.text.encode("utf-16-le", "surrogatepass")


@settings(max_examples=300, deadline=None)
@given(text=texts, limit=st.integers(8, 60))
def test_only_fences_are_added(text: str, limit: int) -> None:
    """What stands in a part beside the original is a fence opened again at its start or closed at its end (DLV-05)."""
    for before, part in zip([None, *markup.pieces(text, limit)], markup.pieces(text, limit), strict=False):
        assert part.head == "" or part.head.startswith(("```", "~~~"))
        assert part.tail.strip("\n`~") == ""
        assert (part.head != "") <= (before is not None and before.tail != "")


def test_a_code_block_is_closed_and_opened_again_with_its_language() -> None:
    """A long code block stays code in every part (DLV-05)."""
    code = "".join(f"line number {n}\n" for n in range(40))
    parts = markup.split(f"See:\n\n```python\n{code}```\nDone.", 120)
    assert len(parts) > 3
    for part in parts[1:-1]:
        assert part.startswith("```python\n")
        assert part.endswith("\n```")
    assert parts[-1].endswith("```\nDone.")


def test_a_part_never_ends_with_an_empty_code_block() -> None:
    """A fence that would open at the very end of a part moves to the next one."""
    parts = markup.split("word " * 12 + "\n```py\n" + "x = 1\n" * 20 + "```\n", 72)
    assert not parts[0].rstrip("\n").endswith("```py\n```")
    assert "```py" not in parts[0]


def test_paragraphs_are_kept_whole() -> None:
    """Text is cut between paragraphs where a part is well filled by that."""
    first, second = "a" * 60 + ".", "b" * 60 + "."
    assert markup.split(f"{first}\n\n{second}", 100) == [f"{first}\n\n", second]


def test_sentences_then_words_are_kept_whole() -> None:
    """A line too long is cut behind a sentence, else behind a word."""
    assert markup.split("One two three. Four five six seven eight", 30)[0] == "One two three. "
    assert markup.split("alpha beta gamma delta", 13)[0] == "alpha beta "


@pytest.mark.parametrize("cluster", ["👩‍👩‍👧", "🇩🇪", "👍🏽", "e\u0301\u0302", "❤️", "\r\n", "각"])
def test_what_people_see_as_one_character_stays_whole(cluster: str) -> None:
    """Families, flags, skin tones, accents and jamo are not torn apart (DLV-05)."""
    for part in markup.split(cluster * 60, 25, markup.utf16_len):
        assert part.replace(cluster, "") == ""


def test_a_text_that_fits_is_left_alone() -> None:
    """Exactly the limit is one part, one more is two; nothing is no part at all (DLV-05)."""
    assert markup.split("x" * 4096, 4096) == ["x" * 4096]
    assert len(markup.split("x" * 4097, 4096)) == 2
    assert len(markup.split("𝔘" * 2049, 4096, markup.utf16_len)) == 2
    assert markup.split("", 4096) == []


def test_no_room_is_an_error() -> None:
    """A limit without room for one character is refused rather than looped over."""
    with pytest.raises(ValueError, match="no room"):
        markup.split("abc", 10, reserve=10)
    with pytest.raises(ValueError, match="single character"):
        markup.split("𝔘𝔘", 1, markup.utf16_len)


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "word " * 200_000, "\n" * 1_000_000, "```\n" * 250_000, "🇩🇪" * 250_000]
)
def test_a_megabyte_is_cut_quickly(text: str) -> None:
    """Cutting is linear: a megabyte of the worst kinds takes seconds at the very most on a busy machine."""
    started = time.process_time()
    parts = markup.pieces(text, 4096, markup.utf16_len, reserve=120)
    assert time.process_time() - started < 5
    assert markup.join(parts) == text


def test_plain_text_keeps_the_words() -> None:
    """Markup goes, words, code, numbers and addresses stay."""
    text = (
        "# Head\n\n**b** _i_ `c` ~~s~~ [t](http://x.y)\n\n- one\n  - two\n\n3. three\n4. four\n\n"
        "|a|b|\n|-|-|\n|1|2|\n\n```py\nx=1\n```"
    )
    assert markup.plain(text) == (
        "Head\n\nb i c s t (http://x.y)\n\n- one\n  - two\n\n3. three\n4. four\n\na | b\n1 | 2\n\nx=1"
    )


def test_html_stays_text() -> None:
    """Tags in Markdown are words, never markup."""
    assert markup.plain("<b>x</b> <script>y</script>") == "<b>x</b> <script>y</script>"
