"""Making text of unknown origin safe to store, send and show."""

#: characters of one answer; longer ones are cut with a notice
ANSWER_CAP = 40_000
#: characters of one tool call's arguments
ARGUMENTS_CAP = 1_000_000


def clean(text: str) -> str:
    """The text as valid Unicode: surrogate pairs joined, lone ones replaced, NUL removed."""
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\x00", "") if "\x00" in text else text


def cap(text: str, limit: int = ANSWER_CAP) -> str:
    """At most `limit` characters and a notice of what was cut."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}\n\n[cut here: the answer has {len(text):,} characters, {limit:,} are kept]"
