"""Why a turn waits although its turn has come."""

from dataclasses import dataclass

from hermesd.errors import ProfileUnavailable
from hermesd.ledger.pause import Pause

UNAVAILABLE = "unavailable|"
SAFE_MODE = "safe mode|"


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason, and what people are told about it once per place."""

    #: under which it is said once
    key: str
    #: empty: nobody can be told
    text: str


def paused(pause: Pause) -> Hold:
    note = f" ({pause.note})" if pause.note else ""
    text = f"I am paused here{note}. Your messages are kept and answered when I go on."
    return Hold(f"pause|{pause.scope}|", text)


def unavailable(profile: str, error: ProfileUnavailable) -> Hold:
    """The profile cannot be used; a different reason is said again."""
    return Hold(f"{UNAVAILABLE}{profile}|{error.message}|", error.told)


def safe_mode() -> Hold:
    return Hold(SAFE_MODE, "I was stopped several times in a row and wait for my operator. Your messages are kept.")


def no_bot() -> Hold:
    return Hold("no bot|", "")
