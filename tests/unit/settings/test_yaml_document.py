"""The strict YAML reader: RT-03's scalars, ISO-12's bombs, and a place for every problem."""

import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from yaml.events import Event

from hermesd.errors import Problem
from hermesd.settings import MapNode, Scalar, document, parse, plain, read
from hermesd.settings.document import DEPTH, SIZE, events, place_of, shown
from hermesd.settings.value import Unclear, identifier, meaning


def only(text: str) -> Problem:
    """The one problem of a text."""
    (problem,) = parse(text, "c.yaml").problems
    return problem


def scalar(text: str) -> Scalar:
    node = parse(text, "c.yaml").root
    assert isinstance(node, Scalar)
    return node


@pytest.mark.parametrize("text", ["-1003961179976", "010", "0", "-0", "00", "111", "987654321987654321987654321"])
def test_a_whole_number_is_its_source_text(text: str) -> None:
    """An id without quotes equals the same id in quotes, digit by digit."""
    assert meaning(scalar(text)) == meaning(scalar(f'"{text}"')) == identifier(scalar(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "0x10", "0o17", "0b101", "1_000", "1e3", "1E-3", "+5", "-0x1F", ".5", "5.", ".inf", "-.inf", ".NaN", "1.5e3",
        "12:30:45.5", "yes", "No", "on", "OFF", "True", "TRUE", "False", "Null", "NULL", "2024-01-01",
        "2024-1-1 12:00:00",
    ],
)  # fmt: skip
def test_what_readers_disagree_about_is_an_error(text: str) -> None:
    """A scalar that YAML versions read differently is refused with the way to write it; in quotes it is text."""
    with pytest.raises(Unclear) as error:
        meaning(scalar(text))
    assert error.value.hint
    assert meaning(scalar(f"'{text}'")) == text


@pytest.mark.parametrize("text", ["~", "null", "true", "false", "1.5", '""'])
def test_what_is_no_text_is_no_id(text: str) -> None:
    """Null, a boolean, a fraction or nothing is refused where an id is expected."""
    with pytest.raises(Unclear):
        identifier(scalar(text))


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("false", False), ("null", None), ("~", None), ("1.5", 1.5)]
)
def test_plain_values(text: str, value: object) -> None:
    """Only these spellings are anything but text."""
    assert meaning(scalar(text)) == value


def test_the_sexagesimal_trap_is_a_text_key() -> None:
    """`-1003961179976:6: career` has the key it shows, which other readers turn into another number."""
    bare, quoted = parse("-1003961179976:6: career", "c.yaml").root, parse('"-1003961179976:6": career', "c.yaml").root
    assert isinstance(bare, MapNode)
    assert isinstance(quoted, MapNode)
    assert list(bare) == list(quoted) == ["-1003961179976:6"]
    assert yaml.safe_load("-1003961179976:6: career") == {-60237670798566: "career"}  # the trap is real


def test_repeated_keys_name_both_places() -> None:
    """Quoted and unquoted spellings of one key are one key; the second one is refused, with the place of the first."""
    problem = only('a:\n  "6": x\n  6: y\n')
    assert (problem.line, problem.column, problem.key) == (3, 3, "a.6")
    assert "line 2, column 3" in problem.message


@pytest.mark.parametrize(
    ("text", "word", "place"),
    [
        ("a: &x 1\nb: 2", "anchor", (1, 4)),
        ("a: 1\nb: *x", "alias", (2, 4)),
        ("a: {<<: 1}", "merge key", (1, 5)),
        ("a: !!str 5", "tag", (1, 4)),
        ("a: !x 5", "tag", (1, 4)),
        ("a: 1\n---\nb: 2", "second document", (2, 1)),
        ("%TAG ! x\n---\na: 1", "directives", (1, 1)),
        ("a: 1\n? [b]\n: 2", "a key must be one plain text", (2, 3)),
        ("a:\n\t- b", "not valid YAML", (2, 1)),
        ("a: b: c", "not valid YAML", (1, 5)),
        ("a: [1, 2\nb: 3", "not valid YAML", (2, 2)),
        ('a: "never closed', "not valid YAML", (1, 17)),
        ("a: 1\nb: \x07", "character that YAML does not allow", (2, 4)),
        ("a: \ud800", "character that YAML does not allow", (1, 4)),
    ],
)
def test_what_is_refused_has_a_place(text: str, word: str, place: tuple[int, int]) -> None:
    """Each thing that is not allowed is one problem at its line and column."""
    problem = only(text)
    assert word in problem.message
    assert (problem.line, problem.column) == place


BOMBS = {
    "flow sequences": "[" * 100_000,
    "flow mappings": "{" * 100_000,
    "nested flow mappings": "{a: " * 100_000,
    "block sequences": "- " * 100_000,
    "complex keys": "? " * 100_000,
    "deep block": "".join(" " * i + "a:\n" for i in range(3000)),
    "billion laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{c}: &{c} [{','.join(['*' + p] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)),
    "aliases": "a: &a x\nb: [" + "*a," * 100_000 + "]",
    "anchors": "".join(f"- &a{i} 1\n" for i in range(100_000)),
    "tag directives": "".join(f"%TAG !a{i}! x\n" for i in range(100_000)) + "---\na: 1",
    "repeated keys": "a: 1\n" * 100_000,
    "one tag": "!" * 100_000,
    "unclosed quote": '"' + "x" * 1_000_000,
    "too large": "a" * (SIZE + 1),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_cheap(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ISO-12: each bomb is refused after a few hundred of its events, and within 20 MB beside its own text."""
    text, seen = BOMBS[name], 0

    def counted(text: str) -> Iterator[Event]:
        nonlocal seen
        for event in events(text):
            seen += 1
            yield event

    monkeypatch.setattr(document, "events", counted)
    tracemalloc.start()
    try:
        assert parse(text, "c.yaml").problems
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen < 500
    assert peak < 20_000_000


def test_a_deep_but_lawful_tree_is_read() -> None:
    """Nesting up to the cap is fine, one more is not."""
    assert not parse("[" * DEPTH + "]" * DEPTH, "c.yaml").problems
    assert "levels deep" in only("[" * (DEPTH + 1) + "]" * (DEPTH + 1)).message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a folder, and text in another encoding are problems with the file's name, never exceptions."""
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: 1\nb: caf\xe9\n")
    assert read(tmp_path / "none.yaml").problems[0].message == "the file does not exist"
    assert "cannot be read" in read(tmp_path).problems[0].message
    (problem,) = read(latin).problems
    assert (problem.line, problem.column, problem.message) == (2, 7, "not UTF-8 text")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    """A file an editor saved with a mark reads like one without."""
    path = tmp_path / "c.yaml"
    path.write_bytes("\ufeffa: 1\n".encode())
    root = read(path).root
    assert isinstance(root, MapNode)
    assert list(root) == ["a"]


def test_nothing_that_looks_like_a_token_is_shown() -> None:
    """A secret pasted where a key belongs is not repeated by the error."""
    token = "123456789:AAF-abcdefghijklmnopqrstuvwxyz01234"
    assert token not in shown(token)
    assert shown("require_human_confirmation_for") == "require_human_confirmation_for"
    data, problems = plain(parse("bot: {api_token: 1e5}", "c.yaml").root, file="c.yaml")
    assert "1e5" not in str(problems[0])
    assert data == {"bot": {"api_token": "1e5"}}


@given(st.text(alphabet=st.sampled_from(list("ab1-:{}[],&*!|>'\"%@`#? \n\t~<0x_.é\u2028\r")), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever is written, the reader answers with a tree or a problem."""
    found = parse(text, "c.yaml")
    assert found.root is not None or found.problems or not text.strip() or text.lstrip()[0] in "#."
    plain(found.root, file="c.yaml")


SCALARS = st.text(max_size=8) | st.integers() | st.booleans() | st.none()


@given(st.recursive(SCALARS, lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=8), x, max_size=4)))
def test_what_a_dumper_wrote_is_read_back(value: object) -> None:
    """Data written by an ordinary dumper reads back equal, whole numbers as text."""
    text = yaml.safe_dump(value, allow_unicode=True, default_style='"' if isinstance(value, str) else None)

    def as_text(item: object) -> object:
        match item:
            case bool() | None | str():
                return item
            case int():
                return str(item)
            case list():
                return [as_text(inner) for inner in item]
            case dict():
                return {key: as_text(inner) for key, inner in item.items()}
        raise AssertionError(item)

    found = parse(text, "c.yaml")
    data, problems = plain(found.root, file="c.yaml")
    assert not found.problems
    assert not problems or any(c in text for c in "~=yYnNoO")
    if not problems:
        assert data == as_text(yaml.load(text, Loader=yaml.CSafeLoader))


def test_places_follow_every_kind_of_line_break() -> None:
    """Offsets become the line and column an editor shows."""
    text = "a\r\nb\nc\rd"
    assert [place_of(text, at) for at in (0, 3, 5, 7)] == [(1, 1), (2, 1), (3, 1), (4, 1)]


def test_mutated_text_never_raises() -> None:
    """Thousands of seeded single-character changes of a sample give a tree or problems."""
    sample = 'a: {b: [1, "x"], c: &z !t yes}\nd:\n  - e: |\n      text\n  - *z\n"f": ~\n'
    for seed in range(3000):
        rng = random.Random(seed)
        chars = list(sample)
        for _ in range(rng.randint(1, 4)):
            chars[rng.randrange(len(chars))] = rng.choice("\t \n:{}[]\"'&*!|>%-?,#\x00\ud800é")
        found = parse("".join(chars), "c.yaml")
        plain(found.root, file="c.yaml")
