"""The system prompt of a turn, from what the profile says about itself. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from hermesd.address import Address

_DEFAULT_SOUL = "You are a helpful assistant. Answer briefly and kindly."


@dataclass(frozen=True, slots=True)
class Voice:
    """What a prompt is made of."""

    profile: str
    #: SOUL.md, already capped
    soul: str
    #: MEMORY and USER entries as the turn's context may see them
    memory: str
    address: Address
    #: display name of whoever asks
    person: str
    tools: Sequence[str]


def build(voice: Voice) -> str:
    """SOUL first, then where the conversation takes place, then memory."""
    parts = [voice.soul.strip() or _DEFAULT_SOUL, _place(voice), voice.memory.strip()]
    return "\n\n".join(part for part in parts if part)


def _place(voice: Voice) -> str:
    lines = [
        "# This conversation",
        f"- profile: {voice.profile}",
        f"- place: {voice.address}",
        f"- person: {_one_line(voice.person)}",
    ]
    if voice.tools:
        lines.append(f"- tools: {', '.join(voice.tools)}")
    return "\n".join(lines)


def _one_line(name: str) -> str:
    # a display name must not be able to look like another line of this prompt
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())[:80]
