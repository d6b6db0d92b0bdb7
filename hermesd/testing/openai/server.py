"""A model server that speaks the real wire protocol and obeys a script."""

import asyncio
import json
import re
import time
from collections import deque
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from hermesd.testing.openai import wire
from hermesd.testing.openai.behaviour import by_model
from hermesd.testing.openai.script import Answer, Reply, Rule, Seen

MODELS = (
    "echo",
    "worst-case",
    "hang",
    "hang-body",
    "drip",
    "garbage",
    "reset",
    "no-choices",
    "empty",
    "big",
    "delay-0.5",
    "status-401",
    "status-429",
    "status-500",
    "tool-memory",
)


class FakeOpenAI:
    """An OpenAI-compatible server on loopback: `async with FakeOpenAI() as fake: … fake.base_url`.

    It echoes unless a rule (`on`) or the model's name says otherwise, and keeps every request in `requests`.
    `keep` bounds how many (None: all); counting goes on in `count`.
    """

    def __init__(self, *, port: int = 0, keep: int | None = None) -> None:
        self._port = port
        self._rules: list[Rule] = []
        self._closing = asyncio.Event()
        self._arrived = asyncio.Condition()
        self._runner: web.AppRunner | None = None
        self.requests: deque[Seen] = deque(maxlen=keep)
        self.count = 0
        self.base_url = ""

    def on(self, *answers: Answer, model: str | None = None, key: str | None = None, match: str | None = None) -> None:
        """Give these answers in turn (the last for ever) to requests that fit; the newest rule wins."""
        pattern = re.compile(match) if match is not None else None
        self._rules.insert(0, Rule(answers or (Reply(),), model, key, pattern))

    async def seen(self, count: int) -> None:
        """Wait until that many requests have arrived in all."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: self.count >= count)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/_seen", self._dump)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        port = self._runner.addresses[0][1]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> tuple[Seen, Reply, int]:
        try:
            body = json.loads(await request.read())
        except ValueError as error:
            raise web.HTTPBadRequest(text='{"error": {"message": "not JSON"}}') from error
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(time.time(), request.path, headers, body)
        self.requests.append(seen)
        self.count += 1
        async with self._arrived:
            self._arrived.notify_all()
        rule = next((rule for rule in self._rules if rule.applies(seen)), None)
        return seen, (rule.next(seen) if rule else by_model(seen)), self.count

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        seen, reply, number = await self._take(request)
        if (early := await self._misbehave(request, seen, reply)) is not None:
            return early
        if seen.body.get("stream"):
            pieces = list(wire.events(seen, reply, number))
            return await self._send(request, pieces, "text/event-stream", reply)
        body = json.dumps(wire.completion(seen, reply, number)).encode()
        if not reply.drip and reply.fault != "hang_body":
            # real servers sit behind proxies that set cookies; a shared client must not bring them back
            cookie = {"set-cookie": f"session={number}; Path=/"}
            return web.Response(body=body, content_type="application/json", headers=cookie)
        step = max(1, len(body) // 50)
        pieces = [body[start : start + step] for start in range(0, len(body), step)]
        return await self._send(request, pieces, "application/json", reply)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        seen, reply, number = await self._take(request)
        if (early := await self._misbehave(request, seen, reply)) is not None:
            return early
        return web.json_response(wire.message(seen, reply, number))

    async def _misbehave(self, request: web.Request, seen: Seen, reply: Reply) -> web.StreamResponse | None:
        if reply.delay:
            await self._pause(reply.delay)
        if reply.fault == "hang":
            await self._closing.wait()
        if reply.fault == "reset" and request.transport is not None:
            request.transport.abort()
        if reply.fault == "garbage":
            return web.Response(body=b'{"choices": [{"mess\xff\x00age": <html>', content_type="application/json")
        if reply.raw is not None:
            return web.Response(body=reply.raw, content_type="application/json")
        if reply.status != 200:
            headers = {} if reply.retry_after is None else {"retry-after": f"{reply.retry_after:g}"}
            # real servers repeat the key and parts of the prompt in their errors
            message = f"scripted {reply.status} for key {seen.key}: {seen.last_user[:100]}"
            error: dict[str, Any] = {"message": message, "type": "scripted", "code": None}
            return web.json_response({"error": error}, status=reply.status, headers=headers)
        return None

    async def _send(self, request: web.Request, pieces: list[bytes], kind: str, reply: Reply) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": kind})
        await response.prepare(request)
        for index, piece in enumerate(pieces):
            if index and reply.fault == "hang_body":
                await self._closing.wait()
            if index and reply.drip:
                await self._pause(reply.drip)
            await response.write(piece)
        await response.write_eof()
        return response

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            return

    async def _models(self, request: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "created": 0, "owned_by": "hermesd"} for name in MODELS]
        return web.json_response({"object": "list", "data": data})

    async def _dump(self, request: web.Request) -> web.Response:
        records = [
            {"at": seen.at, "path": seen.path, "headers": seen.headers, "body": seen.body} for seen in self.requests
        ]
        return web.json_response({"count": self.count, "requests": records})
