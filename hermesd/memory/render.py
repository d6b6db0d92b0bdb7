"""Memory as the prompt shows it."""

from collections.abc import Sequence

from hermesd.memory.entries import SEPARATOR, Target, join

_HEADINGS: dict[Target, str] = {"memory": "## Memory: your notes", "user": "## User: who you talk with"}


def section(target: Target, entries: Sequence[str], limit: int) -> str:
    """One part of the prompt; empty without entries. Hand-made giants are cut at twice the limit."""
    if not entries:
        return ""
    text = join(entries)
    shown = text if len(text) <= 2 * limit else f"{text[: 2 * limit]}{SEPARATOR}(cut: {len(text):,} characters)"
    return f"{_HEADINGS[target]} ({len(text):,} of {limit:,} characters)\n{shown}"


def entries_in(prompt: str) -> tuple[str, ...]:
    """The entries a prompt shows, in its order: the inverse of `section` for whoever reads prompts."""
    found: list[str] = []
    for heading in _HEADINGS.values():
        _, _, rest = prompt.partition(f"{heading} (")
        body = rest.partition("\n")[2].split("\n## ", 1)[0]
        found += [entry.strip() for entry in body.split(SEPARATOR) if entry.strip()]
    return tuple(found)
