"""The one HTTP server on real sockets: mounts, limits, deadlines, ends."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from hermesd.api import HttpLimits, HttpServer
from hermesd.errors import OperatorError
from hermesd.testing.host import MemoryLog

ANY = "127.0.0.1:0"


def app(name: str = "app", entered: anyio.Event | None = None) -> Starlette:
    async def hello(request: Request) -> Response:
        return PlainTextResponse(f"{name} {len(await request.body())}")

    async def broken(request: Request) -> Response:
        raise RuntimeError("s3cret-in-an-error")

    async def endless(request: Request) -> Response:
        async def words() -> AsyncIterator[str]:
            yield "one"
            await anyio.sleep_forever()

        return StreamingResponse(words())

    async def stuck(request: Request) -> Response:
        if entered is not None:
            entered.set()
        await anyio.sleep_forever()
        raise AssertionError

    return Starlette(
        routes=[
            Route("/", hello, methods=["GET", "POST"]),
            Route("/broken", broken),
            Route("/endless", endless),
            Route("/stuck", stuck),
        ]
    )


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=10)


def place(url: str) -> tuple[str, int]:
    parsed = httpx.URL(url)
    return parsed.host, parsed.port or 80


async def test_several_apps_share_one_address_and_the_last_one_closes_it() -> None:
    """Two mounts answer on one port, one goes without disturbing the other, and the last takes the socket along."""
    async with HttpServer(MemoryLog()).running() as http, client() as browser:
        one = await http.mount(ANY, "/one", app("one"))
        two = await http.mount(ANY, "/two", app("two"))
        assert place(one) == place(two)
        assert (await browser.get(f"{one}/")).text == "one 0"
        await http.unmount(ANY, "/one")
        assert (await browser.get(f"{one}/")).status_code == 404
        assert (await browser.get(f"{two}/")).text == "two 0"
        await http.unmount(ANY, "/two")
        with pytest.raises(httpx.ConnectError):
            await browser.get(f"{two}/")


async def test_the_root_leads_to_the_first_page_and_health_says_nothing() -> None:
    """`/` and `/name` redirect to `/name/`; `/healthz` is empty; anything else is 404."""
    async with HttpServer(MemoryLog()).running() as http, client() as browser:
        base = (await http.mount(ANY, "/one", app())).removesuffix("/one")
        assert (await browser.get(f"{base}/")).headers["location"] == "/one/"
        assert (await browser.get(f"{base}/one")).headers["location"] == "/one/"
        health = await browser.get(f"{base}/healthz")
        assert (health.status_code, health.content) == (204, b"")
        assert (await browser.get(f"{base}/onemore/")).status_code == 404


async def test_a_taken_port_names_the_address_and_the_way_out() -> None:
    """Somebody else on the port is an OperatorError that can be acted upon, and a later try succeeds."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        async with HttpServer(MemoryLog()).running() as http:
            with pytest.raises(OperatorError, match=rf"{listen} is already in use[\s\S]*ss -ltnp"):
                await http.mount(listen, "/", app())
            other.close()
            assert await http.mount(listen, "/", app()) == f"http://{listen}"


async def test_a_taken_path_is_an_error() -> None:
    """Two apps cannot answer for one path."""
    async with HttpServer(MemoryLog()).running() as http:
        await http.mount(ANY, "/one", app())
        with pytest.raises(OperatorError, match="/one is already served"):
            await http.mount(ANY, "/one/", app())


async def test_other_machines_need_a_guarded_app() -> None:
    """API-08: an address others can reach is refused unless the app is guarded by a token."""
    wide = "0.0.0.0:0"
    async with HttpServer(MemoryLog()).running() as http:
        with pytest.raises(OperatorError, match="nothing guards it"):
            await http.mount(wide, "/", app())
        assert await http.mount(wide, "/", app(), guarded=True)


async def test_unmounting_ends_streams_at_once() -> None:
    """A stream ends cleanly when its mount goes, without waiting for the grace time."""
    limits = HttpLimits(grace_seconds=60)
    async with HttpServer(MemoryLog(), limits=limits).running() as http, client() as browser:
        base = await http.mount(ANY, "/one", app())
        async with browser.stream("GET", f"{base}/endless") as stream:
            words = stream.aiter_text()
            assert await anext(words) == "one"
            with anyio.fail_after(3):
                await http.unmount(ANY, "/one")
            assert [word async for word in words] == []


async def test_unmounting_ends_stuck_requests_soon() -> None:
    """A request that hangs is answered 503 after the grace time."""
    limits = HttpLimits(grace_seconds=0.2)
    entered = anyio.Event()
    async with HttpServer(MemoryLog(), limits=limits).running() as http, client() as browser:
        base = await http.mount(ANY, "/one", app(entered=entered))
        async with asyncio.TaskGroup() as tasks:
            stuck = tasks.create_task(browser.get(f"{base}/stuck"))
            with anyio.fail_after(3):
                await entered.wait()
            with anyio.fail_after(3):
                await http.unmount(ANY, "/one")
        assert stuck.result().status_code == 503


async def test_leaving_the_block_closes_everything_while_a_page_listens() -> None:
    """The server's end does not wait for open streams."""
    async with client() as browser:
        with anyio.fail_after(5):
            async with HttpServer(MemoryLog()).running() as http:
                base = await http.mount(ANY, "/", app())
                stream = await browser.send(browser.build_request("GET", f"{base}/endless"), stream=True)
        await stream.aclose()
        with pytest.raises(httpx.ConnectError):
            await browser.get(base)


async def test_our_signal_handlers_stay_ours() -> None:
    """uvicorn inside the process leaves SIGINT and SIGTERM as they were."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with HttpServer(MemoryLog()).running() as http:
        await http.mount(ANY, "/", app())
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_a_failing_app_is_500_and_tells_the_log_no_words() -> None:
    """An exception in an app reaches the client as 500 and the log as its type and place only."""
    log = MemoryLog()
    async with HttpServer(log).running() as http, client() as browser:
        base = await http.mount(ANY, "/", app())
        assert (await browser.get(f"{base}/broken?token=s3cret")).status_code == 500
        assert (await browser.get(f"{base}/")).status_code == 200
    assert [values["error"] for level, _, values in log.lines if level == "error"] == ["RuntimeError"]
    assert "s3cret" not in repr(log.lines)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_too_large_is_413(chunked: bool) -> None:
    """API-06: more than the cap is refused, announced or not; the cap itself is taken."""

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for _ in range(size // 1024):
            yield b"x" * 1024

    limits = HttpLimits(body=64 * 1024)
    async with HttpServer(MemoryLog(), limits=limits).running() as http, client() as browser:
        base = await http.mount(ANY, "/", app())
        for size, status in ((65 * 1024, 413), (64 * 1024, 200)):
            body = pieces(size) if chunked else b"x" * size
            assert (await browser.post(f"{base}/", content=body)).status_code == status


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"GET / HTT",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    ],
    ids=["silent", "request line", "header", "body"],
)
async def test_slow_requests_are_cut(start: bytes) -> None:
    """API-06: whoever connects and then dawdles, wherever in the request, is closed after the deadline."""
    limits = HttpLimits(request_seconds=0.2)
    async with HttpServer(MemoryLog(), limits=limits).running() as http:
        base = await http.mount(ANY, "/", app())
        reader, writer = await asyncio.open_connection(*place(base))
        writer.write(start)
        async with asyncio.timeout(3):
            await reader.read()
        writer.close()


async def test_a_second_slow_request_on_a_kept_connection_is_cut_too() -> None:
    """The deadline counts anew for each request of a connection, and never during an answer."""
    limits = HttpLimits(request_seconds=0.2)
    async with HttpServer(MemoryLog(), limits=limits).running() as http:
        base = await http.mount(ANY, "/", app())
        reader, writer = await asyncio.open_connection(*place(base))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200" in await reader.readuntil(b"app 0")
        writer.write(b"GET / HTTP/1.1\r\n")
        async with asyncio.timeout(3):
            assert await reader.read() == b""
        writer.close()


async def test_too_many_connections_are_closed_and_others_go_on() -> None:
    """API-06: idle connections above the limit are dropped; those inside it are answered."""
    limits = HttpLimits(connections=4)
    async with HttpServer(MemoryLog(), limits=limits).running() as http:
        base = await http.mount(ANY, "/", app())
        held = [await asyncio.open_connection(*place(base)) for _ in range(4)]
        reader, writer = await asyncio.open_connection(*place(base))
        async with asyncio.timeout(3):
            # a reset where the request was on its way already, else an end
            with contextlib.suppress(ConnectionResetError):
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert await reader.read() == b""
        held[0][1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout(3):
            assert b"app 0" in await held[0][0].readuntil(b"app 0")
        for _, open_writer in [*held, (reader, writer)]:
            open_writer.close()


async def test_headers_too_large_are_refused() -> None:
    """API-06: an endless header is refused and closed."""
    async with HttpServer(MemoryLog()).running() as http, client() as browser:
        base = await http.mount(ANY, "/", app())
        for size in (40_000, 4_000_000):
            # the refusal may overtake the rest of the header
            with contextlib.suppress(httpx.TransportError):
                assert (await browser.get(f"{base}/", headers={"x": "y" * size})).status_code in (400, 431)
        assert (await browser.get(f"{base}/")).status_code == 200


async def test_answers_leave_at_once() -> None:
    """Accepted connections do not wait for acknowledgements before they send the rest of an answer."""
    async with HttpServer(MemoryLog()).running() as http, client() as browser:
        base = await http.mount(ANY, "/", app())
        await browser.get(f"{base}/")
        (listener,) = http._listeners.values()
        (connection,) = listener._server.server_state.connections
        held = connection.transport.get_extra_info("socket")
        assert held.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
