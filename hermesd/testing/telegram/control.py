"""The fake's remote control, for tests and benches that run it as a process of its own.

POST   /_control/setup    {"bots": [{"token", "username", "can_read_all"}],
                           "chats": [{"id", "title", "topics": {"6": "career"} or null}]}
POST   /_control/say      {"user": 111, "name": "Alice", "chat": -100…|null, "token": "…" (private), "thread": 6|null,
                           "text": "…", "times": 1} or a list of these          -> {"messages": [...]}
POST   /_control/push     {"token": "…", "update": {...}}                       an update exactly as given
POST   /_control/fault    the fields of Fault                                   -> {}
POST   /_control/heal     {}                                                    no more faults
GET    /_control/history?chat=&thread=&token=                                   -> {"posted": [...]}
GET    /_control/sent?after=SERIAL&count=N&wait=SECONDS                         -> {"posted": [...]}, waits for N
GET    /_control/state                                                          -> per bot: pending, polls, offsets
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from hermesd.testing.telegram.faults import Fault, Faults
from hermesd.testing.telegram.world import Person, Posted, World


class Control:
    """The control routes over one world."""

    def __init__(self, world: World, faults: Faults) -> None:
        self._world, self._faults = world, faults

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one control request."""
        name = request.path.removeprefix("/_control/")
        try:
            if request.method == "POST":
                answer = self._post(name, json.loads(await request.read() or b"{}"))
            else:
                answer = await self._get(name, request.query)
        except (KeyError, TypeError, ValueError) as bad:
            return web.json_response({"error": f"{name}: {bad!r}"}, status=400)
        return web.json_response(answer)

    def _post(self, name: str, given: Any) -> dict[str, Any]:
        match name:
            case "setup":
                self._setup(given)
            case "say":
                wishes = given if isinstance(given, list) else [given]
                return {"messages": [message for wish in wishes for message in self._say(wish)]}
            case "push":
                self._world.push(self._world.bots[given["token"]], given["update"])
            case "fault":
                self._faults.add(Fault(**given))
            case "heal":
                self._faults.clear()
                self._world.changed.notify()
            case _:
                raise KeyError(name)
        return {}

    def _setup(self, given: Mapping[str, Any]) -> None:
        for bot in given.get("bots", ()):
            self._world.bot(bot["token"], bot.get("username"), can_read_all=bot.get("can_read_all", True))
        for chat in given.get("chats", ()):
            if chat.get("topics") is None:
                self._world.group(int(chat["id"]), chat.get("title", "Group"))
            else:
                topics = {int(number): str(topic) for number, topic in chat["topics"].items()}
                self._world.forum(int(chat["id"]), chat.get("title", "Forum"), topics)

    def _say(self, wish: Mapping[str, Any]) -> list[dict[str, Any]]:
        person = Person(self._world, int(wish["user"]), wish.get("name", str(wish["user"])))
        place = (
            self._world.bots[wish["token"]] if wish.get("chat") is None else self._world.chats[None, int(wish["chat"])]
        )
        thread = int(wish["thread"]) if wish.get("thread") is not None else None
        return [person.says(place, wish["text"], thread) for _ in range(int(wish.get("times", 1)))]

    async def _get(self, name: str, given: Mapping[str, str]) -> dict[str, Any]:
        match name:
            case "history":
                thread = int(given["thread"]) if given.get("thread") else None
                bot = self._world.bots[given["token"]] if given.get("token") else None
                return {"posted": [_wire(item) for item in self._world.history(int(given["chat"]), thread, bot=bot)]}
            case "sent":
                return {"posted": [_wire(item) for item in await self._sent(given)]}
            case "state":
                return {"bots": {bot.username: self._state(bot.token) for bot in self._world.bots.values()}}
            case _:
                raise KeyError(name)

    async def _sent(self, given: Mapping[str, str]) -> list[Posted]:
        after, count = int(given.get("after", 0)), int(given.get("count", 0))

        try:
            async with asyncio.timeout(float(given.get("wait", 0))):
                await self._world.changed.until(lambda: len(self._world.sent_after(after)) >= count)
        except TimeoutError:
            pass  # the answer shows what there is; the caller counts
        return self._world.sent_after(after)

    def _state(self, token: str) -> dict[str, Any]:
        bot = self._world.bots[token]
        return {
            "pending": len(bot.queue),
            "polls": bot.polls,
            "offsets": list(bot.offsets),
            "commands": bot.commands,
        }


def _wire(item: Posted) -> dict[str, Any]:
    return {"serial": item.serial, "bot_id": item.bot_id, "at": item.at, "message": dict(item.message)}
