"""What a profile remembers: Hermes-format MEMORY.md and USER.md, global and per context."""

from hermesd.memory.render import entries_in
from hermesd.memory.store import MemoryStore

__all__ = ["MemoryStore", "entries_in"]
