"""A small client of the fake's remote control, for tests and benches in another process."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import httpx


class Remote:
    """The fake at a URL. Use as `async with Remote(url) as telegram`; routes and shapes are those of `control`."""

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=600)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._http.aclose()

    async def setup(self, bots: Sequence[Mapping[str, Any]], chats: Sequence[Mapping[str, Any]] = ()) -> None:
        """Make the cast."""
        await self._post("setup", {"bots": bots, "chats": chats})

    async def say(self, wishes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Let people write; returns the messages."""
        return list((await self._post("say", list(wishes)))["messages"])

    async def push(self, token: str, update: Mapping[str, Any]) -> None:
        """Queue an update exactly as given."""
        await self._post("push", {"token": token, "update": update})

    async def fault(self, method: str, kind: str = "answer", **how: Any) -> None:
        """Script trouble."""
        await self._post("fault", {"method": method, "kind": kind, **how})

    async def heal(self) -> None:
        """No more trouble."""
        await self._post("heal", {})

    async def history(self, chat: int, thread: int | None = None, token: str = "") -> list[dict[str, Any]]:
        """What was said in one place."""
        given: dict[str, Any] = {"chat": chat, "token": token, **({"thread": thread} if thread is not None else {})}
        return list((await self._get("history", given))["posted"])

    async def sent(self, *, after: int = 0, count: int = 0, wait: float = 0) -> list[dict[str, Any]]:
        """What bots have sent behind a serial; waits up to `wait` seconds until there are `count`."""
        return list((await self._get("sent", {"after": after, "count": count, "wait": wait}))["posted"])

    async def state(self) -> dict[str, Any]:
        """Per bot: pending updates, polls, offsets, commands."""
        return dict((await self._get("state", {}))["bots"])

    async def _post(self, name: str, body: object) -> dict[str, Any]:
        answer = await self._http.post(f"/_control/{name}", json=body)
        answer.raise_for_status()
        return dict(answer.json())

    async def _get(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self._http.get(f"/_control/{name}", params=given)
        answer.raise_for_status()
        return dict(answer.json())
