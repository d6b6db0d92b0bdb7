"""The Hermes memory format: entries joined by a line with a section sign. Pure."""

from collections.abc import Sequence
from typing import Literal

from hermesd.errors import UserError

Target = Literal["memory", "user"]

SEPARATOR = "\n§\n"
#: characters of the joined text
LIMITS: dict[Target, int] = {"memory": 2_200, "user": 1_375}


def parse(text: str) -> tuple[str, ...]:
    """The entries of a file: stripped, without empty ones, each once."""
    parts = (part.strip() for part in text.replace("\r\n", "\n").split(SEPARATOR))
    return tuple(dict.fromkeys(part for part in parts if part and part != "§"))


def join(entries: Sequence[str]) -> str:
    """The file of these entries; `parse` gives them back."""
    return SEPARATOR.join(entries)


def round_trips(text: str) -> bool:
    """Whether writing the parsed entries would give this text again (but for white space around it)."""
    return join(parse(text)) == text.strip()


def checked(content: str) -> str:
    """An entry as it may be stored. Raises UserError."""
    content = content.replace("\r\n", "\n").replace("\x00", "").strip()
    content = content.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if not content:
        raise UserError("there is nothing to remember", hint="give the entry as `content`")
    if any(line.strip() == "§" for line in content.split("\n")):
        raise UserError("an entry cannot contain a line with only §", hint="§ separates entries; add them one by one")
    return content


def within(target: Target, text: str, limit: int) -> str:
    """The text if it fits into so many characters. Raises UserError with the way out."""
    if limit == 0:
        raise UserError(f"this profile keeps no {target} notes", hint="its config.yaml switches them off")
    if len(text) > limit:
        raise UserError(
            f"{target} would hold {len(text):,} of {limit:,} characters",
            hint="shorten or remove entries first, with replace or remove",
        )
    return text


def find(entries: Sequence[str], old_text: str) -> int:
    """Which one entry contains `old_text`. Raises UserError when none or several do."""
    wanted = old_text.strip()
    found = [index for index, entry in enumerate(entries) if wanted and wanted in entry]
    if not found:
        raise UserError(f"no entry contains {wanted[:80]!r}", hint="give a short, exact part of the entry as old_text")
    if len(found) > 1:
        raise UserError(
            f"{len(found)} entries contain {wanted[:80]!r}", hint="give a longer part that only one contains"
        )
    return found[0]
