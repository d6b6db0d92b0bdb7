"""A real Chromium, and a small house behind the page: a web bot whose every message is echoed."""

import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

from hermesd.address import AdapterKey
from hermesd.api import HttpServer
from hermesd.message import InboundMessage, Outgoing
from hermesd.ports import BotState
from hermesd.testing.host import MemoryHost, MemoryLog
from hermesd_web import plugin
from hermesd_web.adapter import WebAdapter

_HERE = Path(__file__).parent
_ARGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MENU = (("help", "what can be done"), ("profile", "who answers here"), ("new", "start afresh"))


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a Chromium these tests are left out and it is said; where one is required they stay, and fail."""
    if _chromium() or os.environ.get("HERMESD_REQUIRE_BROWSER") == "1":
        return
    ours = [item for item in items if _HERE in Path(item.path).parents]
    if ours:
        items[:] = [item for item in items if item not in ours]
        config.hook.pytest_deselected(items=ours)
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(f"no Chromium found: {len(ours)} browser tests left out (apt-get install chromium)")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for a file of tests."""
    path = _chromium()
    if path is None:
        pytest.fail("HERMESD_REQUIRE_BROWSER=1, but no Chromium was found: apt-get install chromium")
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=path, args=_ARGS)
        yield found
        await found.close()


@dataclass
class House:
    """A host that outlives its server, as a ledger outlives the daemon."""

    bot_id: str = "local"
    title: str = "Hermes"
    rooms: Sequence[str] = ("home", "dev", "dev:plans")
    #: what is answered to a message; None answers nothing
    answer: Callable[[InboundMessage], str | None] = lambda message: f"You said **{message.text}**"
    host: MemoryHost = field(init=False)
    listen: str = field(init=False)
    answered: int = 0

    def __post_init__(self) -> None:
        self.host = MemoryHost(AdapterKey("web", self.bot_id))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.listen = f"127.0.0.1:{free.getsockname()[1]}"

    @asynccontextmanager
    async def up(self, http: HttpServer | None = None) -> AsyncIterator[WebAdapter]:
        """The daemon, running until the block ends; what it stored stays. `http` shares another one's server."""
        async with HttpServer(MemoryLog()).running() if http is None else nullcontext(http) as server:
            self.host.http = server
            adapter = self._build()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(adapter.run)
                tasks.start_soon(self._answer, adapter)
                with anyio.fail_after(5):
                    await self.host.wait_state(BotState.UP)
                await adapter.commands(MENU)
                yield adapter
                tasks.cancel_scope.cancel()

    def _build(self) -> WebAdapter:
        settings = plugin.settings_model.model_validate(
            {
                "platform": "web",
                "bot_id": self.bot_id,
                "listen": self.listen,
                "title": self.title,
                "rooms": list(self.rooms),
            }
        )
        adapter = plugin.build(settings, self.host)
        assert isinstance(adapter, WebAdapter)
        self.host.reports.clear()
        self.host.attach(adapter.parse)
        return adapter

    async def _answer(self, adapter: WebAdapter) -> None:
        while True:
            event = (await self.host.wait_for(self.answered + 1))[self.answered]
            self.answered += 1
            (message,) = adapter.parse(event)
            if (words := self.answer(message)) is not None:
                await self.reply(adapter, message, words, f"reply-{self.answered}")

    async def reply(self, adapter: WebAdapter, message: InboundMessage, words: str, delivery_id: str) -> None:
        """Send as the gateway does: stored first."""
        outgoing = Outgoing(delivery_id, message.address, words)
        self.host.remember(outgoing)
        await adapter.send(outgoing)

    def said(self) -> list[str]:
        """The texts stored so far."""
        return [event.raw["text"] for event in self.host.events]


@dataclass
class Watch:
    """What a page did that nobody should see."""

    origin: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(f"dialog {dialog.message}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        # a server that is down is said in the console by the browser itself, and on the page by us
        if message.type in ("error", "warning") and "Failed to load resource: net::" not in message.text:
            self.errors.append(message.text)

    def _request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme != "data" and url.netloc != self.origin:
            self.foreign.append(request.url)

    def assert_quiet(self) -> None:
        assert self.errors == []
        assert self.foreign == []


@asynccontextmanager
async def opened(browser: Browser, url: str, **context: object) -> AsyncIterator[tuple[Page, Watch]]:
    """A fresh person at the page; every error, policy violation and foreign request fails the test."""
    person = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
    person.set_default_timeout(10_000)
    page = await person.new_page()
    watch = Watch(urlsplit(url).netloc)
    watch.follow(page)
    try:
        await page.goto(url)
        await page.wait_for_selector('#link[data-state="live"]')
        yield page, watch
        watch.assert_quiet()
    finally:
        await person.close()


@pytest.fixture
def person() -> Callable[..., object]:
    """`person(browser, url, **context)` opens the page."""
    return opened


@pytest.fixture
def house() -> House:
    """A house whose bot echoes."""
    return House()
