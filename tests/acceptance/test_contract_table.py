"""docs/contract.md: every promise that is made names tests, and every test it names exists."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "contract.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| (.*) \|$", PAGE, re.MULTILINE)
NAMES = [name for _, _, tried in ROWS for name in re.findall(r"`([^`]+)`", tried)]


def test_every_promise_is_tried_or_planned() -> None:
    """The table has the twelve promises, and no row is empty."""
    assert [number for number, _, _ in ROWS] == [str(n) for n in range(1, 13)]
    assert [number for number, _, tried in ROWS if ".py::" not in tried and not tried.startswith("planned: ")] == []


def test_every_test_it_names_exists() -> None:
    """A test that was renamed or deleted is missed here."""
    assert len(NAMES) > 30
    for name in NAMES:
        file, _, test = name.partition("::")
        assert f"def {test}(" in (TESTS / file).read_text(), name
