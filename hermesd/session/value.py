"""What a profile's database says about a conversation."""

from dataclasses import dataclass

from hermesd.ports import Row


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation of one key, from its first exchange to the moment another one was begun."""

    #: 128 random bits in hex
    id: str
    #: first words of the conversation until somebody names it; None before the first exchange
    title: str | None
    #: finished exchanges, undone ones not counted
    exchanges: int
    #: Unix seconds
    created_at: float
    updated_at: float
    #: None for the one the key's next message continues
    closed_at: float | None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One prompt and everything that came back."""

    turn_id: str
    prompt: str
    #: the last text of the assistant; empty when it never got that far
    reply: str
    #: Unix seconds
    at: float


@dataclass(frozen=True, slots=True)
class Compactable:
    """The part of a session that no longer fits and waits to be condensed."""

    #: oldest first; the notes made last time come first, as a user row
    rows: tuple[Row, ...]
    #: hand it to `compact` together with the new notes
    upto_seq: int


@dataclass(frozen=True, slots=True)
class Found:
    """One message a search found."""

    session_id: str
    title: str | None
    role: str
    #: a few words around the match, the matching ones between « and »
    excerpt: str
    #: Unix seconds
    at: float
