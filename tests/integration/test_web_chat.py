"""The web chat over real sockets: who is let in, what is stored, what is heard."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import pytest

from hermesd.address import AdapterKey, Address
from hermesd.api import HttpServer
from hermesd.errors import Rejected, Unauthorized, Unreachable
from hermesd.message import Outgoing
from hermesd.ports import BotState, OffersLinks, SecretRef
from hermesd.testing.host import MemoryHost, MemoryLog
from hermesd_web import plugin
from hermesd_web.adapter import WebAdapter

KEY = AdapterKey("web", "local")
HOME = Address(KEY, "home")


@dataclass
class Chat:
    """One running web bot and a client that holds its token."""

    adapter: WebAdapter
    host: MemoryHost
    client: httpx.AsyncClient
    log: MemoryLog

    @property
    def token(self) -> str:
        return self.adapter.links()[0].partition("#token=")[2]

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    async def say(self, **change: Any) -> httpx.Response:
        body = {"id": "0123456789abcdef", "room": "home", "thread": None, "text": "hello", **change}
        return await self.client.post("api/messages", json=body, headers=self.auth)

    async def reply(self, text: str, delivery_id: str = "d1", address: Address = HOME) -> None:
        message = Outgoing(delivery_id, address, text)
        self.host.remember(message)
        await self.adapter.send(message)

    @asynccontextmanager
    async def listening(self, **query: str) -> AsyncIterator[AsyncIterator[tuple[str, Any]]]:
        query = {"room": "home", **query}
        async with self.client.stream("GET", "api/stream", params=query, headers=self.auth) as stream:
            assert stream.status_code == 200
            yield events(stream)


async def events(stream: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in stream.aiter_lines():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])


async def until(heard: AsyncIterator[tuple[str, Any]], wanted: str) -> Any:
    with anyio.fail_after(5):
        async for name, data in heard:
            if name == wanted:
                return data
    raise AssertionError(f"the stream ended before {wanted}")


@asynccontextmanager
async def chat(**settings: Any) -> AsyncIterator[Chat]:
    log = MemoryLog()
    async with HttpServer(log).running() as http:
        secrets = {SecretRef("env", "WEB"): "a-configured-token-0123", SecretRef("env", "SHORT"): "hunter2"}
        host = MemoryHost(KEY, http=http, log=log, secrets=secrets)
        made = plugin.settings_model.model_validate(
            {"platform": "web", "bot_id": "local", "listen": "127.0.0.1:0", **settings}
        )
        adapter = plugin.build(made, host)
        host.attach(adapter.parse)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(adapter.run)
            with anyio.fail_after(5):
                await host.wait_state(BotState.UP)
            async with httpx.AsyncClient(base_url=adapter.url, trust_env=False, timeout=10) as client:
                yield Chat(adapter, host, client, log)
            tasks.cancel_scope.cancel()


async def test_what_is_said_is_stored_once_and_answered() -> None:
    """A message is 202 and stored; the same id again is 202 and changes nothing; the reply reaches the listener."""
    async with chat() as web, web.listening() as heard:
        await until(heard, "now")
        assert (await web.say()).json() == {"id": "0123456789abcdef", "new": True}
        assert (await web.say(text="changed")).json()["new"] is False
        assert [event.raw["text"] for event in web.host.events] == ["hello"]
        (said,) = (await until(heard, "entries"))["entries"]
        assert (said["from"], said["id"], said["text"]) == ("in", "0123456789abcdef", "hello")
        await web.reply("**hi**")
        (reply,) = (await until(heard, "entries"))["entries"]
        assert (reply["from"], reply["id"]) == ("out", "d1")
        assert reply["tree"] == [["p", {}, [["strong", {}, ["hi"]]]]]


async def test_nothing_is_acknowledged_before_it_is_durable() -> None:
    """ING-01: while the disk refuses, the answer waits; it comes once the event is stored."""
    async with chat() as web, anyio.create_task_group() as tasks:
        answers: list[int] = []

        async def say() -> None:
            answers.append((await web.say()).status_code)

        web.host.hold()
        tasks.start_soon(say)
        with anyio.fail_after(5):
            await web.host.waiting.wait()
        # an answer given too early would overtake these
        for _ in range(5):
            await web.client.get("api/state", headers=web.auth)
        assert (answers, web.host.events) == ([], [])
        web.host.release()
        with anyio.fail_after(5):
            await web.host.wait_for(1)


async def test_a_sent_delivery_is_shown_once_however_often_it_is_sent() -> None:
    """DLV: sending the same delivery again after a restart shows nothing twice, and the receipt is its id."""
    async with chat() as web:
        message = Outgoing("d1", HOME, "once")
        web.host.remember(message)
        assert [(await web.adapter.send(message)).message_key for _ in range(3)] == ["d1"] * 3
        found = await web.client.get("api/rooms/home/messages", headers=web.auth)
        assert [entry["id"] for entry in found.json()["entries"]] == ["d1"]


async def test_a_stream_resumes_where_it_stopped() -> None:
    """A page that comes back with its cursor hears what it missed, once, and nothing older."""
    async with chat() as web:
        await web.reply("one", "d1")
        async with web.listening() as heard:
            cursor = (await until(heard, "entries"))["entries"][-1]["cursor"]
        await web.reply("two", "d2")
        async with web.listening(after=cursor) as heard:
            entries = (await until(heard, "entries"))["entries"]
        assert [entry["id"] for entry in entries] == ["d2"]


async def test_rooms_and_threads_are_apart_and_stirrings_are_told() -> None:
    """A listener hears only its own place, but is told that something happened in another."""
    async with chat(rooms=["home", "a/b"]) as web, web.listening() as heard:
        await until(heard, "now")
        await web.reply("for the thread", "d1", Address(KEY, "home", "plans"))
        assert await until(heard, "elsewhere") == {"room": "home", "thread": "plans"}
        for path, query, ids in (
            ("api/rooms/home/messages", {"thread": "plans"}, ["d1"]),
            ("api/rooms/home/messages", {}, []),
            ("api/rooms/a%2Fb/messages", {}, []),
        ):
            found = await web.client.get(path, params=query, headers=web.auth)
            assert [entry["id"] for entry in found.json()["entries"]] == ids
        state = (await web.client.get("api/state", headers=web.auth)).json()
        assert [(item["room"], item["thread"]) for item in state["rooms"]] == [
            ("home", None), ("a/b", None), ("home", "plans")
        ]  # fmt: skip


async def test_typing_and_commands_reach_an_open_page() -> None:
    """The typing sign and a changed command menu are heard without asking."""
    async with chat() as web, web.listening() as heard:
        await until(heard, "now")
        await web.adapter.typing(HOME)
        await until(heard, "typing")
        await web.adapter.commands([("help", "what can be done")])
        assert (await until(heard, "bot"))["commands"] == [{"name": "help", "help": "what can be done"}]


API = [
    ("GET", "api/state"), ("GET", "api/rooms/home/messages"), ("POST", "api/messages"), ("GET", "api/stream?room=home"),
    ("GET", "api/anything"), ("POST", "api"), ("GET", "other"), ("DELETE", "api/messages"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Cookie": "token=TOKEN", "Authorization": ""}, 401),
        ({"Host": "evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else str(value),
)
async def test_every_route_is_behind_the_gate(change: dict[str, str], status: int) -> None:
    """API-01, -02, -03: each path below the page refuses a missing or wrong token, a foreign host or origin."""
    async with chat() as web:
        headers = {**web.auth, **{name: value.replace("TOKEN", web.token) for name, value in change.items()}}
        for method, path in API:
            answer = await web.client.request(method, path, headers=headers)
            assert answer.status_code == status, path
            assert "set-cookie" not in answer.headers
        assert web.host.events == []


async def test_the_token_in_an_address_opens_nothing() -> None:
    """API-03: a token in the query string is not looked at."""
    async with chat() as web:
        assert (await web.client.get("api/state", params={"token": web.token})).status_code == 401


async def test_guessing_over_the_wire_is_throttled() -> None:
    """API-04: the eleventh wrong token is told to wait."""
    async with chat() as web:
        answers = [await web.client.get("api/state", headers={"Authorization": "Bearer x"}) for _ in range(11)]
        assert [answer.status_code for answer in answers] == [401] * 10 + [429]
        assert answers[-1].headers["retry-after"] == "3"


async def test_the_page_is_public_strict_and_empty_of_secrets() -> None:
    """API-05: page and assets need no token, hold none, load nothing from elsewhere and forbid anything inline."""
    async with chat() as web:
        page = await web.client.get("")
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        for part in (
            "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'",
            "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
        ):  # fmt: skip
            assert part in policy
        assert "unsafe" not in policy
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        assert not [name for name in page.headers if name.startswith("access-control")]
        assert "http://" not in page.text.replace("http://www.w3.org", "")
        assert "https://" not in page.text
        script = await web.client.get("assets/page.js")
        assert script.headers["content-type"].startswith("text/javascript")
        again = await web.client.get("assets/page.js", headers={"If-None-Match": script.headers["etag"]})
        assert again.status_code == 304
        assert (await web.client.get("assets/..%2f__init__.py")).status_code in (401, 404)
        assert (await web.client.get("api/state", headers=web.auth)).headers["cache-control"] == "no-store"


JSON = "application/json"


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        pytest.param(b"{", JSON, 400, id="half"),
        pytest.param(b"[" * 100_000, JSON, 400, id="deep"),
        pytest.param(b"\xff", JSON, 400, id="bytes"),
        pytest.param(b"[]", JSON, 400, id="list"),
        pytest.param(b"{}", "text/plain", 415, id="text"),
        pytest.param(b"id=x", "application/x-www-form-urlencoded", 415, id="form"),
        pytest.param(b'{"id":"0123456789","room":"home","text":"x","at":1e999}', JSON, 202, id="extra"),
        pytest.param(b"x" * 300_000, JSON, 413, id="large"),
    ],
)
async def test_malformed_requests_are_refused_politely(content: bytes, kind: str, status: int) -> None:
    """API-06: broken, deep, huge or mistyped bodies never give a 5xx."""
    async with chat() as web:
        answer = await web.client.post("api/messages", content=content, headers={**web.auth, "Content-Type": kind})
        assert answer.status_code == status


async def test_a_get_changes_nothing() -> None:
    """API-02: saying something by GET is not possible."""
    async with chat() as web:
        assert (await web.client.get("api/messages", headers=web.auth)).status_code == 405
        assert web.host.events == []


async def test_the_link_holds_the_token_and_the_log_does_not() -> None:
    """The complete address is given only by `links`, only while up; no log line and no report holds token or query."""
    async with chat() as web:
        adapter = web.adapter
        assert isinstance(adapter, OffersLinks)
        (link,) = adapter.links()
        assert link == f"{adapter.url}#token={web.token}"
        assert len(web.token) >= 32
        await web.client.get("api/state", params={"q": "findme"}, headers=web.auth)
        assert web.token not in repr(web.log.lines) + repr(web.host.reports)
        assert "findme" not in repr(web.log.lines)
    assert adapter.links() == ()


async def test_a_configured_token_is_the_token() -> None:
    """`token:` is read through the host and replaces the made one."""
    async with chat(token="${env:WEB}") as web:
        assert web.token == "a-configured-token-0123"
        assert (await web.client.get("api/state", headers=web.auth)).status_code == 200


async def test_a_short_token_is_refused() -> None:
    """A token that can be guessed stops the bot with the way out."""
    host = MemoryHost(KEY, secrets={SecretRef("env", "SHORT"): "hunter2"})
    made = plugin.settings_model.model_validate({"platform": "web", "bot_id": "local", "token": "${env:SHORT}"})
    with pytest.raises(Unauthorized, match="too short") as caught:
        await plugin.build(made, host).run()
    assert "hunter2" not in str(caught.value)
    assert "openssl rand" in caught.value.hint


async def test_a_taken_port_is_worth_another_try() -> None:
    """A port in use is Unreachable, so that the supervisor backs off and tries again, and says what to do."""
    async with chat() as web:
        port = httpx.URL(web.adapter.url).port
        async with HttpServer(MemoryLog()).running() as other:
            made = plugin.settings_model.model_validate(
                {"platform": "web", "bot_id": "local", "listen": f"127.0.0.1:{port}"}
            )
            with pytest.raises(Unreachable, match="already in use") as caught:
                await plugin.build(made, MemoryHost(KEY, http=other)).run()
            assert "ss -ltnp" in caught.value.hint


async def test_sending_to_an_impossible_place_is_rejected() -> None:
    """A delivery to a name no room can have fails by meaning."""
    async with chat() as web:
        with pytest.raises(Rejected) as caught:
            await web.adapter.send(Outgoing("d1", Address(KEY, "a\nb"), "x"))
        assert caught.value.reason == "chat_gone"


@pytest.mark.parametrize("path", ["api/rooms/home/messages", "api/stream?room=home"])
@pytest.mark.parametrize("error", [ValueError, OverflowError])
async def test_made_up_cursors_are_refused(path: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """API-06: a cursor the ledger cannot read is 400, before a stream begins."""

    async def refuse(*_: Any, **__: Any) -> None:
        raise error("not a cursor")

    async with chat() as web:
        monkeypatch.setattr(web.host, "transcript", refuse)
        answer = await web.client.get(httpx.URL(path).copy_merge_params({"after": "9" * 99}), headers=web.auth)
        assert answer.status_code == 400


async def test_long_replies_are_rendered() -> None:
    """A reply of the largest size is shown whole."""
    async with chat() as web:
        (part,) = web.adapter.split("word " * 3_000)
        await web.reply(part)
        found = await web.client.get("api/rooms/home/messages", headers=web.auth)
        assert len(found.json()["entries"][0]["text"]) == len(part)
