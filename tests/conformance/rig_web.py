"""The web chat, played by a client that holds its token and speaks its HTTP interface."""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from hermesd.address import AdapterKey, Address
from hermesd.api import HttpServer
from hermesd.message import RawEvent
from hermesd.ports import AdapterHost, BotSettings, SecretRef
from hermesd.testing.conformance import Person, ReceiveFault, SendFault, Shown
from hermesd.testing.host import MemoryHost, MemoryLog
from hermesd_web import WebPlugin
from hermesd_web.adapter import WebAdapter

TOKEN = "conformance-token-0123456789"
REF = SecretRef("env", "HERMESD_WEB_TOKEN")


class MountedPlugin(WebPlugin):
    """The plugin with an HTTP server under it, as the daemon has one."""

    def __init__(self, http: HttpServer) -> None:
        self.http = http

    def build(self, settings: Any, host: AdapterHost) -> WebAdapter:
        assert isinstance(host, MemoryHost)
        host.http = self.http
        return super().build(settings, host)


class Posted:
    """One message on its way: the page forgets it once the answer is 202."""

    def __init__(self, event_id: str) -> None:
        self.message_key = event_id
        self._taken = asyncio.Event()

    def acknowledged(self) -> bool:
        return self._taken.is_set()

    async def wait_acknowledged(self) -> None:
        await self._taken.wait()

    def answered(self, status: int) -> None:
        if status == 202:
            self._taken.set()


class WebRig:
    """`conformance.Rig`. The person is the holder of the token; there is one, and no bots."""

    key = AdapterKey("web", "local")
    send_faults: frozenset[SendFault] = frozenset()
    receive_faults: frozenset[ReceiveFault] = frozenset(("unreachable",))
    has_bots = False
    can_repeat = False

    def __init__(self) -> None:
        self.http = HttpServer(MemoryLog())
        self.plugin = MountedPlugin(self.http)
        self.places = {
            "dm": Address(self.key, "home"),
            "group": Address(self.key, "dev/ops: 1"),
            "thread": Address(self.key, "forum", "plans"),
            "other_thread": Address(self.key, "forum", "plans 2"),
        }
        self._said = 0
        self._posts: set[asyncio.Task[None]] = set()
        self._squatter: socket.socket | None = None

    async def start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.listen = f"127.0.0.1:{free.getsockname()[1]}"
        self.client = httpx.AsyncClient(
            base_url=f"http://{self.listen}/local/",
            headers={"Authorization": f"Bearer {TOKEN}"},
            trust_env=False,
            timeout=10,
        )

    async def stop(self) -> None:
        for post in self._posts:
            post.cancel()
        await asyncio.gather(*self._posts, return_exceptions=True)
        await self.heal()
        await self.client.aclose()
        await self.http.close()

    def settings(self) -> BotSettings:
        return self.plugin.settings_model.model_validate(
            {"platform": "web", "bot_id": "local", "listen": self.listen, "token": REF}
        )

    def secrets(self) -> Mapping[SecretRef, str]:
        return {REF: TOKEN}

    async def says(self, place: Address, text: str, *, person: Person = "alice", to_bot: bool = False) -> Posted:
        self._said += 1
        said = Posted(f"message-{self._said:08d}")
        body = {"id": said.message_key, "room": place.chat_id, "thread": place.thread_id, "text": text}

        async def post() -> None:
            said.answered((await self.client.post("api/messages", json=body)).status_code)

        task = asyncio.create_task(post(), name=f"post {said.message_key}")
        self._posts.add(task)
        return said

    async def repeat(self) -> None:
        raise NotImplementedError

    async def shown(self, place: Address) -> Sequence[Shown]:
        query = {"room": place.chat_id, **({"thread": place.thread_id} if place.thread_id is not None else {})}
        path = httpx.URL("api/rooms/").join(f"{_quoted(query.pop('room'))}/messages")
        answer = await self.client.get(path, params=query)
        entries = answer.raise_for_status().json()["entries"]
        return [Shown(entry["id"], _words(entry["tree"])) for entry in entries if entry["from"] == "out"]

    async def menu(self) -> Sequence[tuple[str, str]] | None:
        state = (await self.client.get("api/state")).raise_for_status().json()
        return [(command["name"], command["help"]) for command in state["commands"]]

    async def break_send(self, fault: SendFault, place: Address) -> None:
        raise NotImplementedError(fault)

    async def break_receive(self, fault: ReceiveFault) -> None:
        assert fault == "unreachable"
        host, _, port = self.listen.rpartition(":")
        self._squatter = socket.create_server((host, int(port)))

    async def heal(self) -> None:
        if self._squatter is not None:
            self._squatter.close()
            self._squatter = None

    def samples(self) -> Sequence[RawEvent]:
        body = {"id": "0123456789abcdef", "room": "home", "thread": None, "text": "hello", "at": 1.5}
        return [RawEvent(body["id"], body), RawEvent(body["id"], {**body, "thread": "plans"})]


def _quoted(room: str) -> str:
    return "".join(f"%{byte:02X}" for byte in room.encode())


def _words(nodes: Sequence[Any]) -> str:
    """What the page shows of a tree."""
    return "".join(node if isinstance(node, str) else "\n" if node[0] == "br" else _words(node[2]) for node in nodes)


def rig() -> WebRig:
    return WebRig()
