"""The page's HTTP interface: page, state, history, saying something, and the live stream."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hermesd.errors import HermesdError
from hermesd.ports import AdapterHost
from hermesd_web.conversation import Conversation
from hermesd_web.event import Said
from hermesd_web.feed import Feed, Watcher
from hermesd_web.page import Asset, load
from hermesd_web.place import Place

#: seconds between two signs of life on a quiet stream; the page gives up after three
HEARTBEAT = 15.0

State = Callable[[], dict[str, Any]]


class WebApp:
    """Endpoints of one bot. Who may call them is the guard's business."""

    def __init__(self, host: AdapterHost, feed: Feed, state: State, heard: Callable[[Place], None]) -> None:
        self._host = host
        self._feed = feed
        self._state = state
        self._heard = heard
        self._conversation = Conversation(host)
        self._assets = load()

    def starlette(self) -> Starlette:
        """The ASGI app; every path but the page and its assets lies below `/api/`."""
        return Starlette(
            routes=[
                Route("/", self.page, methods=["GET"]),
                Route("/assets/{name}", self.asset, methods=["GET"]),
                Route("/api/state", self.state, methods=["GET"]),
                Route("/api/rooms/{room:path}/messages", self.messages, methods=["GET"]),
                Route("/api/messages", self.say, methods=["POST"]),
                Route("/api/stream", self.stream, methods=["GET"]),
            ]
        )

    async def page(self, request: Request) -> Response:
        return _file(request, self._assets["index.html"])

    async def asset(self, request: Request) -> Response:
        found = self._assets.get(request.path_params["name"])
        return _file(request, found) if found is not None else Response(status_code=404)

    async def state(self, request: Request) -> Response:
        return JSONResponse(self._state())

    async def messages(self, request: Request) -> Response:
        """`?thread=&after=` → `{"entries": […]}`, oldest first."""
        try:
            place = Place(request.path_params["room"], request.query_params.get("thread"))
            entries = await self._conversation.after(place, request.query_params.get("after"))
        except ValueError as error:
            return _bad(str(error))
        return JSONResponse({"entries": entries})

    async def say(self, request: Request) -> Response:
        """`{id, room, thread, text}` → 202 once it is on disk; the same id again changes nothing."""
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            return JSONResponse({"error": "expected application/json"}, 415)
        try:
            said = Said.read(json.loads(await request.body()), at=self._host.clock.now())
        except (ValueError, RecursionError) as error:
            return _bad(str(error))
        try:
            new = await self._host.ingest([said.raw(self._host.key)])
        except HermesdError as error:
            return JSONResponse({"error": error.message}, 503)
        self._heard(said.place)
        return JSONResponse({"id": said.id, "new": bool(new)}, 202)

    async def stream(self, request: Request) -> Response:
        """`?room=&thread=&after=` → server-sent events `bot`, `entries`, `now` (all is said), `typing`, `elsewhere`."""
        query = request.query_params
        try:
            place = Place(query.get("room", ""), query.get("thread"))
            cursor = request.headers.get("last-event-id") or query.get("after")
            if cursor is not None:
                await self._conversation.check(place, cursor)
        except ValueError as error:
            return _bad(str(error))
        if self._feed.full:
            return JSONResponse({"error": "too many open pages"}, 503)
        return StreamingResponse(
            self._events(place, cursor),
            media_type="text/event-stream",
            # proxies hold back what they take for a file
            headers={"X-Accel-Buffering": "no"},
        )

    async def _events(self, place: Place, cursor: str | None) -> AsyncIterator[bytes]:
        with self._feed.watching(place) as watcher:
            caught_up = False
            while True:
                if watcher.menu:
                    watcher.menu = False
                    yield _event("bot", self._state())
                async for entries in self._news(watcher, cursor):
                    cursor = entries[-1]["cursor"]
                    yield _event("entries", {"entries": entries}, cursor)
                if not caught_up:
                    caught_up = True
                    yield _event("now", {})
                for sign in _signs(watcher):
                    yield sign
                await watcher.wait(HEARTBEAT)
                if not watcher.grown:
                    # a look at the disk now and then: what was stored without being sent shows too
                    watcher.grown = True
                    yield b": still here\n\n"

    async def _news(self, watcher: Watcher, cursor: str | None) -> AsyncIterator[list[dict[str, Any]]]:
        while watcher.grown:
            watcher.grown = False
            while entries := await self._conversation.after(watcher.place, cursor):
                cursor = entries[-1]["cursor"]
                yield entries


def _signs(watcher: Watcher) -> list[bytes]:
    """What a watcher is to be told besides messages."""
    said = [_event("elsewhere", {"room": place.room, "thread": place.thread}) for place in watcher.elsewhere]
    watcher.elsewhere.clear()
    if watcher.typing:
        watcher.typing = False
        said.append(_event("typing", {}))
    return said


def _event(name: str, data: Any, cursor: str | None = None) -> bytes:
    head = f"id: {cursor}\n" if cursor is not None else ""
    body = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {name}\n{head}data: {body}\n\n".encode()


def _bad(words: str) -> Response:
    return JSONResponse({"error": words}, 400)


def _file(request: Request, asset: Asset) -> Response:
    headers = {"ETag": asset.etag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)
