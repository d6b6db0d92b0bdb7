"""The smallest platform there is, and the ground truth of the light kill tests: it lives in the test's own process.

One JSON object a line over a Unix socket. `poll` waits for updates and forgets those below its offset; `send` keeps the
message and answers its number. Nothing a killed client did or did not do can change what stands here.
"""

import asyncio
import json
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Said:
    """What a person wrote."""

    number: int
    bot: str
    chat: str
    user: str
    text: str

    @property
    def key(self) -> str:
        """The platform's identity of the message."""
        return f"{self.chat}:{self.number}"

    @property
    def lane(self) -> tuple[str, str, str]:
        """Answers within one lane must keep its order."""
        return self.bot, self.chat, self.user


@dataclass(frozen=True, slots=True)
class Sent:
    """What a bot posted."""

    bot: str
    chat: str
    text: str
    #: key of the message it answers
    reply_to: str | None


@dataclass(slots=True)
class WirePlatform:
    """Everything said and sent. `on_send` is asked before and after a send is kept: the moments to kill a client."""

    path: Path
    said: list[Said] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    polls: int = 0
    on_send: Callable[[str], None] = lambda moment: None
    on_poll: Callable[[], None] = lambda: None
    _queues: dict[str, list[Said]] = field(default_factory=dict)
    _answered: set[str] = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _closing: bool = False
    _handlers: set[asyncio.Task[Any]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        self._server.close()
        self._closing = True
        self._notify()
        if self._handlers:
            await asyncio.wait(self._handlers)

    def says(self, bot: str, chat: str, user: str, text: str) -> None:
        """A person writes to a bot."""
        said = Said(len(self.said) + 1, bot, chat, user, text)
        self.said.append(said)
        self._queues.setdefault(bot, []).append(said)
        self._notify()

    @property
    def unanswered(self) -> int:
        """Messages nobody has seen an answer to."""
        return len(self.said) - len(self._answered)

    async def all_answered(self) -> None:
        """Return when every message has some answer."""
        await self._until(lambda: not self.unanswered)

    async def answered(self, keys: AbstractSet[str]) -> None:
        """Return when these messages have answers."""
        await self._until(lambda: keys <= self._answered)

    @property
    def waiting(self) -> frozenset[str]:
        """Messages that no poll has confirmed yet."""
        return frozenset(said.key for queue in self._queues.values() for said in queue)

    # --- the wire ------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            while not self._closing and (line := await reader.readline()):
                given = json.loads(line)
                answer = await self._poll(given, reader) if given["op"] == "poll" else self._send(given)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the client was killed in the middle of a line: that is what it is here for
        finally:
            self._handlers.discard(task)
            writer.close()

    async def _poll(self, given: dict[str, Any], reader: asyncio.StreamReader) -> dict[str, Any]:
        self.polls += 1
        queue = self._queues.setdefault(given["bot"], [])
        if given["offset"] is not None:
            queue[:] = [said for said in queue if said.number >= given["offset"]]
            self._notify()
        self.on_poll()
        await self._until(lambda: bool(queue) or self._closing)
        fields = [{"number": s.number, "chat": s.chat, "user": s.user, "text": s.text} for s in queue[:20]]
        return {"updates": fields}

    def _send(self, given: dict[str, Any]) -> dict[str, Any]:
        self.on_send("send.received")
        self.sent.append(Sent(given["bot"], given["chat"], given["text"], given["reply_to"]))
        if given["reply_to"] is not None:
            self._answered.add(given["reply_to"])
        self._notify()
        self.on_send("send.kept")
        return {"number": len(self.sent)}

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
