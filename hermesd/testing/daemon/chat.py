"""A person at the web chat, without a browser."""

import json
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx


class WebChat:
    """The page's own interface over its link; use as `async with WebChat(link) as chat`."""

    def __init__(self, link: str) -> None:
        parts = urlsplit(link)
        token = parts.fragment.removeprefix("token=")
        self._http = httpx.AsyncClient(
            base_url=parts._replace(fragment="").geturl(),
            headers={"authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(30.0),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def says(self, text: str, *, room: str = "home", thread: str | None = None, id: str | None = None) -> str:  # noqa: A002  # the page's own word
        """Write; returns the message's id once it is on disk. The same `id` again is a repeat."""
        said = {"id": id or uuid4().hex, "room": room, "thread": thread, "text": text}
        answer = await self._http.post("api/messages", json=said)
        answer.raise_for_status()
        return str(said["id"])

    async def entries(self, *, room: str = "home", thread: str | None = None) -> list[dict[str, Any]]:
        """What the page shows in one place, oldest first."""
        params = {"thread": thread} if thread is not None else {}
        answer = await self._http.get(f"api/rooms/{quote(room, safe='')}/messages", params=params)
        answer.raise_for_status()
        return list(answer.json()["entries"])

    async def answers(self, count: int, *, room: str = "home", thread: str | None = None) -> list[str]:
        """The texts hermesd wrote in one place, once there are at least `count`."""
        found: list[str] = []
        params = {"room": room, "after": "0", **({"thread": thread} if thread is not None else {})}
        async with self._http.stream("GET", "api/stream", params=params, timeout=None) as response:
            response.raise_for_status()
            async for event in _events(response):
                found += [str(entry["text"]) for entry in event.get("entries", ()) if entry["from"] == "out"]
                if len(found) >= count:
                    return found
        raise ConnectionError("the stream ended before the answer")

    async def asks(self, text: str, *, room: str = "home", thread: str | None = None) -> str:
        """Write, and return the next thing hermesd writes there."""
        before = [entry for entry in await self.entries(room=room, thread=thread) if entry["from"] == "out"]
        await self.says(text, room=room, thread=thread)
        return (await self.answers(len(before) + 1, room=room, thread=thread))[len(before)]


async def _events(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
