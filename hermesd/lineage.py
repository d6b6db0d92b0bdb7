"""Who set a turn in motion. Stored on the server, never taken from a caller."""

from dataclasses import dataclass
from enum import StrEnum


class Origin(StrEnum):
    """What kind of event started a turn."""

    PERSON = "person"
    HANDOFF = "handoff"
    TASK = "task"
    SCHEDULE = "schedule"
    API = "api"


@dataclass(frozen=True, slots=True)
class Lineage:
    """The chain of turns behind a turn, and the human it all goes back to."""

    #: id of the first turn of the chain
    root_id: str
    #: immutable platform user id of the originating human, `platform/bot:user` form; None for schedules
    human: str | None
    #: ids of the turns between the root and this one, oldest first
    chain: tuple[str, ...] = ()

    @property
    def depth(self) -> int:
        """0 for the root turn itself."""
        return len(self.chain)
