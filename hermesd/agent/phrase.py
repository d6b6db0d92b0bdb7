"""The phrases the rehearsal model understands. Pure: text in, an answer or a tool call out."""

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heard:
    """What the phrases look at."""

    #: the newest prompt
    prompt: str
    #: what the person said before, oldest first
    earlier: tuple[str, ...]
    #: memory entries the system prompt shows
    remembered: tuple[str, ...]
    #: names of the tools of this turn
    tools: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ask:
    """A tool to call."""

    tool: str
    arguments: dict[str, object]


@dataclass(frozen=True, slots=True)
class Phrase:
    """Something the rehearsal model understands."""

    #: as the documentation shows it
    example: str
    does: str
    pattern: re.Pattern[str]
    answer: Callable[[re.Match[str], Heard], str | Ask]


def _phrase(example: str, does: str, pattern: str, answer: Callable[[re.Match[str], Heard], str | Ask]) -> Phrase:
    return Phrase(example, does, re.compile(pattern, re.IGNORECASE | re.DOTALL), answer)


def _remember(match: re.Match[str], heard: Heard) -> Ask:
    fact = match["fact"].strip().rstrip(".")
    personal = re.match(r"(i|my|i'm|i’m)\b", fact, re.IGNORECASE) is not None
    return Ask("memory", {"action": "add", "target": "user" if personal else "memory", "content": fact})


def _remembered(match: re.Match[str], heard: Heard) -> str:
    if not heard.remembered:
        return "I remember nothing yet. Say “remember that …”."
    return "I remember:\n" + "\n".join(f"- {entry}" for entry in heard.remembered)


def _what_is(match: re.Match[str], heard: Heard) -> str:
    wanted = match["what"].strip(" ?.!").casefold()
    for source in (*reversed(heard.earlier), *reversed(heard.remembered)):
        found = re.search(rf"\bmy {re.escape(wanted)} (?:is|are)\s+([^.!?\n]+)", source, re.IGNORECASE)
        if found:
            return f"Your {wanted}: {found[1].strip()}."
    return f"I do not know your {wanted}. Say “remember that my {wanted} is …”."


def _said(match: re.Match[str], heard: Heard) -> str:
    if not heard.earlier:
        return "This is the first thing you say in this conversation."
    last = heard.earlier[-5:]
    return "You said:\n" + "\n".join(f"{number}. {text[:300]}" for number, text in enumerate(last, 1))


def _count(match: re.Match[str], heard: Heard) -> str:
    last = min(int(match["n"][:4]), 100)
    return " ".join(str(number) for number in range(1, last + 1)) or "There is nothing to count."


def _help(match: re.Match[str], heard: Heard) -> str:
    lines = "\n".join(f"- {phrase.example}: {phrase.does}" for phrase in PHRASES)
    return f"I am only a rehearsal, but these work:\n{lines}"


def _forget(match: re.Match[str], heard: Heard) -> Ask:
    old = match["old"].strip(" .")
    return Ask("memory", {"action": "remove", "target": _holder(old, heard), "old_text": old})


def _write(match: re.Match[str], heard: Heard) -> Ask:
    return Ask("write_file", {"path": match["path"], "content": match["text"]})


def _read(match: re.Match[str], heard: Heard) -> Ask:
    return Ask("read_file", {"path": match["path"]})


def _find(match: re.Match[str], heard: Heard) -> Ask:
    return Ask("search_files", {"text": match["text"]})


def _send(match: re.Match[str], heard: Heard) -> Ask:
    return Ask("send_message", {"text": match["text"], "to": match["to"]})


def _tell(match: re.Match[str], heard: Heard) -> Ask:
    return Ask("send_message", {"text": match["text"]})


def _holder(old: str, heard: Heard) -> str:
    wanted = old.strip(" .")
    entry = next((entry for entry in heard.remembered if wanted in entry), "")
    return "user" if re.match(r"(i|my|i'm|i’m)\b", entry, re.IGNORECASE) else "memory"


PHRASES: tuple[Phrase, ...] = (
    _phrase(
        "hello",
        "a greeting",
        r"^\s*(hi|hello|hey|good (morning|evening|day)|hallo|servus)\b[\s!.,]*$",
        lambda m, h: "Hello! I am here. Ask me “what can you do?”.",
    ),
    _phrase("thank you", "a kind word", r"^\s*(thanks|thank you|danke)\b", lambda m, h: "You are welcome!"),
    _phrase("what can you do?", "this list", r"^\s*(what can you do|help)\b", _help),
    _phrase(
        "remember that FACT",
        "keeps a note (tool `memory`)",
        r"^\s*(please\s+)?remember\s+(that\s+)?(?P<fact>.+)$",
        _remember,
    ),
    _phrase(
        "forget TEXT", "removes the note that contains TEXT (tool `memory`)", r"^\s*forget\s+(?P<old>.+)$", _forget
    ),
    _phrase(
        "what do you remember?",
        "reads the memory shown in the prompt",
        r"^\s*what do you (remember|know)\b",
        _remembered,
    ),
    _phrase(
        "what is my THING?",
        "looks in this conversation, then in memory",
        r"^\s*(what is|what's|what’s|what are) my (?P<what>.+)$",
        _what_is,
    ),
    _phrase("what did I say?", "looks at this conversation", r"^\s*what did i (say|tell you)\b", _said),
    _phrase(
        "write a file NAME with TEXT",
        "tool `write_file`",
        r"^\s*(write|create) (a |the )?(file )?(?P<path>\S+) (with|containing|saying)\s+(?P<text>.+)$",
        _write,
    ),
    _phrase("read NAME", "tool `read_file`", r"^\s*(read|show)( the)?( file)? (?P<path>\S+)\s*$", _read),
    _phrase("list files", "tool `list_files`", r"^\s*list( the| my)? files\b", lambda m, h: Ask("list_files", {})),
    _phrase(
        "find TEXT in files", "tool `search_files`", r"^\s*(find|search for) (?P<text>.+?) in( the| my)? files\b", _find
    ),
    _phrase(
        "send TEXT to ADDRESS",
        "tool `send_message` to another place",
        r"^\s*send (?P<text>.+) to (?P<to>[\w.-]+(/[^\s:]+)?:\S+)\s*$",
        _send,
    ),
    _phrase(
        "tell this chat TEXT",
        "tool `send_message` to this place",
        r"^\s*tell this (chat|topic|room|thread)\s+(that\s+)?(?P<text>.+)$",
        _tell,
    ),
    _phrase("count to N", "counts, up to 100", r"^\s*count (up )?to (?P<n>\d+)\b", _count),
)


def reply_to(heard: Heard) -> str | Ask:
    """What the table says to this. Pure."""
    for phrase in PHRASES:
        if match := phrase.pattern.match(heard.prompt):
            return phrase.answer(match, heard)
    shown = heard.prompt.strip()[:500]
    return f"You said: {shown}\nAsk me “what can you do?” to see what I understand."
