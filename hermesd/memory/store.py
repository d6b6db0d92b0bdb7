"""A profile's memory: the files of its home, seen from one context at a time."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hermesd.memory import file
from hermesd.memory.entries import LIMITS, Target, checked, find, join, parse, within
from hermesd.memory.place import folder
from hermesd.memory.render import section
from hermesd.ports import MemoryView

_NAMES: dict[Target, str] = {"memory": "MEMORY.md", "user": "USER.md"}


@dataclass(frozen=True, slots=True)
class MemoryStore:
    """The memory files of one profile home; all file work happens in threads."""

    home: Path
    #: characters a file may hold; 0 switches a target off
    limits: Mapping[Target, int] = field(default_factory=lambda: LIMITS)

    def view(self, context_id: str | None) -> MemoryView:
        """What one context may see and write: its own entries and the global ones; None is global alone."""
        return _View(self, context_id)


@dataclass(frozen=True, slots=True)
class _View:
    store: MemoryStore
    context_id: str | None

    async def read(self) -> str:
        """Both targets for the prompt, global entries before those of the context; empty when there are none."""
        return await asyncio.to_thread(self._render)

    async def add(self, target: Target, content: str) -> str:
        """Store an entry in this context. Returns what happened; raises UserError when it does not fit."""
        entry = checked(content)

        def edit(text: str) -> str:
            # appended to the text as it stands: what a human wrote by hand stays as it is
            new = text.strip() if entry in parse(text) else join([*filter(None, [text.strip()]), entry])
            return within(target, new, self.store.limits[target])

        return await self._change(target, edit, "remembered")

    async def replace(self, target: Target, old_text: str, content: str) -> str:
        """Put `content` in the place of the one entry that contains `old_text`. Raises UserError."""
        entry = checked(content)

        def edit(text: str) -> str:
            entries = list(file.undrifted(self._path(target), text))
            entries[find(entries, old_text)] = entry
            return within(target, join(tuple(dict.fromkeys(entries))), self.store.limits[target])

        return await self._change(target, edit, "replaced")

    async def remove(self, target: Target, old_text: str) -> str:
        """Forget the one entry that contains `old_text`. Raises UserError."""

        def edit(text: str) -> str:
            entries = list(file.undrifted(self._path(target), text))
            del entries[find(entries, old_text)]
            return join(entries)

        return await self._change(target, edit, "removed")

    async def _change(self, target: Target, edit: Callable[[str], str], done: str) -> str:
        def work() -> str:
            new = file.change(self._path(target), lambda: self._seed(target), edit)
            return f"{done}; {target} now holds {len(new):,} of {self.store.limits[target]:,} characters"

        # a thread is not cancelled: whoever leaves early leaves the file whole
        return await asyncio.to_thread(work)

    def _render(self) -> str:
        parts = []
        for target in (one for one in _NAMES if self.store.limits[one]):
            texts = [self._global_text(target)]
            if self.context_id is not None:
                texts.append(file.read(self._path(target)))
            entries = tuple(dict.fromkeys(entry for text in texts for entry in parse(text)))
            parts.append(section(target, entries, self.store.limits[target]))
        return "\n\n".join(part for part in parts if part)

    def _global_text(self, target: Target) -> str:
        path = self.store.home / "memories" / _NAMES[target]
        return file.read(path) if path.exists() else self._legacy(target)

    def _seed(self, target: Target) -> str:
        return "" if self.context_id is not None else self._legacy(target)

    def _legacy(self, target: Target) -> str:
        # a USER.md beside SOUL.md counts where memories/ has none
        return file.read(self.store.home / _NAMES[target]) if target == "user" else ""

    def _path(self, target: Target) -> Path:
        memories = self.store.home / "memories"
        if self.context_id is not None:
            memories = memories / "contexts" / folder(self.context_id)
        return memories / _NAMES[target]
