"""The fake Bot API on a socket: the real wire protocol over the world behind it."""

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import parse_qsl

from aiohttp import web

from hermesd.testing.telegram.control import Control
from hermesd.testing.telegram.faults import Fault, FaultKind, Faults
from hermesd.testing.telegram.methods import METHODS, Refused
from hermesd.testing.telegram.world import BotAccount, Chat, Person, Posted, World

#: Telegram answers at most this many updates at once
MAX_UPDATES = 100


class FakeTelegram:
    """A Bot API server in this loop: `async with FakeTelegram() as server`, then give clients `server.url`.

    `server.bot`, `group`, `forum`, `user` make the cast; `server.history` is the ground truth; `server.fault` scripts
    trouble. Restarting the client under test loses nothing here; `stop` and a later `start` keep world and port.
    """

    def __init__(self, world: World | None = None, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.world = world or World()
        self.faults = Faults()
        #: calls by method, in lower case
        self.calls: dict[str, int] = {}
        #: the last requests: method in lower case, token, parameters
        self.requests: deque[tuple[str, str, dict[str, Any]]] = deque(maxlen=200)
        self._host, self._port = host, port
        self._runner: web.ServerRunner | None = None
        self._closing = False
        #: the long poll that waits for each bot, by token
        self._pollers: dict[str, object] = {}
        self._control = Control(self.world, self.faults)

    @property
    def url(self) -> str:
        """What `base_url` of a bot is set to."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen."""
        self._closing = False
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, backlog=1024, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection; the world stays."""
        self._closing = True
        self.world.changed.notify()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.stop()

    # --- the cast ----------------------------------------------------------------------------------------------

    def bot(
        self, token: str, username: str | None = None, name: str | None = None, *, can_read_all: bool = True
    ) -> BotAccount:
        """Make, or get, a bot."""
        return self.world.bot(token, username, name, can_read_all=can_read_all)

    def group(self, chat_id: int, title: str = "Group") -> Chat:
        """Make, or get, a supergroup without topics."""
        return self.world.group(chat_id, title)

    def forum(self, chat_id: int, title: str = "Forum", topics: dict[int, str] | None = None) -> Chat:
        """Make, or get, a forum with these topics beside General."""
        return self.world.forum(chat_id, title, topics)

    def user(self, user_id: int, name: str) -> Person:
        """Somebody who can write."""
        return Person(self.world, user_id, name)

    def history(self, chat_id: int, thread: int | None = None, *, bot: BotAccount | None = None) -> list[Posted]:
        """What was said in one place."""
        return self.world.history(chat_id, thread, bot=bot)

    def fault(self, method: str, kind: FaultKind = "answer", **how: Any) -> Fault:
        """Script trouble for the next calls of a method; see Fault for what can be said."""
        return self.faults.add(Fault(method, kind, **how))

    # --- waiting -----------------------------------------------------------------------------------------------

    async def until(self, true: Callable[[], bool]) -> None:
        """Return once `true()` holds; asked again after every change of the world."""
        await self.world.changed.until(true)

    async def wait_sent(self, count: int) -> list[Posted]:
        """Everything bots have sent, once there are at least `count` messages."""
        await self.until(lambda: len(self.world.sent) >= count)
        return list(self.world.sent)

    async def wait_for_message(self, wanted: Callable[[Posted], bool], *, after: int = 0) -> Posted:
        """The first message a bot sent, with a serial above `after`, that `wanted` accepts."""

        def found() -> Posted | None:
            return next((item for item in self.world.sent_after(after) if wanted(item)), None)

        await self.until(lambda: found() is not None)
        message = found()
        assert message is not None  # noqa: S101 - `until` has just seen it
        return message

    # --- the wire ----------------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith("/_control/"):
            return await self._control.handle(request)
        if not path.startswith("/bot"):
            return _json({"ok": False, "error_code": 404, "description": "Not Found"}, 404)
        token, _, method = path[4:].partition("/")
        method = method.casefold()
        self.calls[method] = self.calls.get(method, 0) + 1
        given = await _parameters(request)
        self.requests.append((method, token, given))
        fault = self.faults.take(method, token, given)
        if fault is not None and fault.kind in ("answer", "drop_before", "hang"):
            return await self._refuse(request, fault)
        try:
            answer, status = {"ok": True, "result": await self._call(token, method, given)}, 200
        except Refused as no:
            answer, status = no.body, no.status
        if fault is not None and fault.kind == "drop_after":
            return _drop(request)
        if fault is not None and fault.kind == "garbage":
            return web.Response(body=b"<html>Bad gateway</html>", status=200)
        return _json(answer, status)

    async def _refuse(self, request: web.BaseRequest, fault: Fault) -> web.StreamResponse:
        if fault.kind == "drop_before":
            return _drop(request)
        if fault.kind == "hang":
            self.world.changed.notify()
            await self.until(lambda: self._closing or fault not in self.faults.script)
            return _drop(request)
        return _json(fault.body(), fault.status)

    async def _call(self, token: str, method: str, given: dict[str, Any]) -> Any:
        bot = self.world.bots.get(token)
        if bot is None:
            raise Refused(401, "Unauthorized") if ":" in token else Refused(404, "Not Found")
        if bot.refused is not None:
            raise Refused(bot.refused, "Unauthorized" if bot.refused == 401 else "Not Found")
        if method == "getupdates":
            return await self._updates(bot, given)
        act = METHODS.get(method)
        if act is None:
            raise Refused(404, "Not Found")
        return act(self.world, bot, given)

    async def _updates(self, bot: BotAccount, given: dict[str, Any]) -> list[dict[str, Any]]:
        """getUpdates: confirm, then answer what waits, or wait for it; a newer poll ends this one with 409."""
        if bot.webhook:
            raise Refused(
                409,
                "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete it first",
            )
        me = object()
        self._pollers[bot.token] = me
        offset = int(given["offset"]) if str(given.get("offset", "")) not in ("", "0") else None
        bot.polls += 1
        bot.offsets.append(offset)
        if offset is not None:
            self.world.confirm(bot, offset)
        self.world.changed.notify()
        timeout = min(float(given.get("timeout") or 0), 50.0)
        limit = max(1, min(int(given.get("limit") or MAX_UPDATES), MAX_UPDATES))
        if not bot.queue and timeout > 0:
            try:
                async with asyncio.timeout(timeout):
                    await self.until(
                        lambda: bool(bot.queue or self._closing or bot.refused) or self._pollers[bot.token] is not me
                    )
            except TimeoutError:
                return []
        if self._pollers[bot.token] is not me:
            raise Refused(
                409,
                "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
            )
        if bot.refused is not None:
            raise Refused(bot.refused, "Unauthorized")
        return [update for update, _ in zip(bot.queue, range(limit), strict=False)]


async def _parameters(request: web.BaseRequest) -> dict[str, Any]:
    """What was passed: query, form, multipart or JSON."""
    given: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        given.update(json.loads(await request.read() or b"{}"))
    elif request.content_type.startswith("multipart/"):
        given.update(await request.post())
    else:
        given.update(parse_qsl((await request.read()).decode(), keep_blank_values=True))
    return given


def _json(answer: object, status: int) -> web.Response:
    return web.Response(body=json.dumps(answer).encode(), status=status, content_type="application/json")


def _drop(request: web.BaseRequest) -> web.Response:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
