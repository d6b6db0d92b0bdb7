"""The transcript of one place as JSON for the page."""

import functools
from collections.abc import Sequence
from typing import Any

import anyio
from anyio.to_thread import run_sync

from hermesd.markup import parser
from hermesd.ports import AdapterHost, TranscriptEntry
from hermesd_web.markdown import tree
from hermesd_web.place import Place

#: characters of Markdown that are rendered on the loop; more goes to a thread
_INLINE = 4_000
#: entries of one answer
PAGE = 200


class Conversation:
    """Reads and renders what was said."""

    def __init__(self, host: AdapterHost) -> None:
        self._host = host
        self._markdown = parser()
        # rendering is pure Python: more than one thread would only fight for the interpreter
        self._threads = anyio.CapacityLimiter(1)

    async def after(self, place: Place, cursor: str | None) -> list[dict[str, Any]]:
        """Entries behind a cursor, oldest first; without one the newest. Raises ValueError for a bad cursor."""
        entries = await self._read(place, cursor, PAGE)
        render = functools.partial(self._render, entries)
        if sum(len(entry.text) for entry in entries if entry.direction == "out") <= _INLINE:
            return render()
        return await run_sync(render, limiter=self._threads)

    async def check(self, place: Place, cursor: str) -> None:
        """Raise ValueError for a cursor nobody handed out."""
        await self._read(place, cursor, 1)

    async def _read(self, place: Place, cursor: str | None, limit: int) -> list[TranscriptEntry]:
        try:
            return await self._host.transcript(place.address(self._host.key), after=cursor, limit=limit)
        except (ValueError, OverflowError) as error:
            raise ValueError("after: not a cursor of this conversation") from error

    def _render(self, entries: Sequence[TranscriptEntry]) -> list[dict[str, Any]]:
        return [self._entry(entry) for entry in entries]

    def _entry(self, entry: TranscriptEntry) -> dict[str, Any]:
        shown: dict[str, Any] = {"cursor": entry.cursor, "id": entry.id, "from": entry.direction, "at": entry.at}
        if entry.direction == "out":
            return {**shown, "tree": tree(entry.text, self._markdown), "text": entry.text}
        raw_text = entry.raw.get("text") if entry.raw is not None else None
        return {**shown, "text": raw_text if isinstance(raw_text, str) else entry.text}
