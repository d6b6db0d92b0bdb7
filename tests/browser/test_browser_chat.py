"""The web chat as a person uses it, in a real Chromium."""

import json
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from playwright.async_api import Browser, Page, Route, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route as Path_

from hermesd.api import HttpServer
from hermesd.testing.host import MemoryLog

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PAYLOADS: list[str] = json.loads((Path(__file__).parent / "payloads.json").read_text())
BOT = ".message.bot .body"
YOU = ".message.you .body"


async def say(page: Page, words: str) -> None:
    await page.fill("#text", words)
    await page.press("#text", "Enter")


async def test_a_message_is_answered(browser: Browser, house: Any, person: Any) -> None:
    """A person opens the link, writes, sees both sides, named and rendered; the token leaves the address bar."""
    async with house.up() as adapter, person(browser, adapter.links()[0]) as (page, _):
        assert "token" not in page.url
        await expect(page.locator("#empty")).to_contain_text("/help")
        await say(page, "hello")
        await expect(page.locator(YOU)).to_have_text("hello")
        await expect(page.locator(f"{BOT} strong")).to_have_text("hello")
        await expect(page.locator(".message.bot .who b")).to_have_text("Hermes")
        await expect(page.locator("#empty")).to_be_hidden()
        await page.reload()
        await expect(page.locator(f"{BOT} strong")).to_have_text("hello")
        assert house.said() == ["hello"]


async def test_the_root_of_the_address_works_too(browser: Browser, house: Any, person: Any) -> None:
    """The short address with the token behind it leads to the page."""
    async with house.up() as adapter, person(browser, adapter.links()[0].replace("/local/", "/")) as (page, _):
        await say(page, "short")
        await expect(page.locator(f"{BOT} strong")).to_have_text("short")


async def test_without_the_token_the_page_says_what_to_do(browser: Browser, house: Any) -> None:
    """A page without a token shows nothing and tells which link to open; opening it there signs in."""
    async with house.up() as adapter:
        page = await browser.new_page()
        await page.goto(adapter.url)
        await expect(page.locator("#notice")).to_contain_text("needs the link that hermesd prints")
        await page.goto(adapter.links()[0])
        await expect(page.locator("#link")).to_have_attribute("data-state", "live")
        await expect(page.locator("#notice")).to_be_hidden()
        await page.close()


async def test_two_tabs_agree(browser: Browser, house: Any, person: Any) -> None:
    """What is said in one tab appears in the other, own messages included, once and in the same order."""
    async with house.up() as adapter, person(browser, adapter.links()[0]) as (one, watch):
        two = await one.context.new_page()
        watch.follow(two)
        await two.goto(adapter.url)
        for number in range(3):
            await say((one, two)[number % 2], f"message {number}")
            await expect(one.locator(BOT)).to_have_count(number + 1)
            await expect(two.locator(BOT)).to_have_count(number + 1)
        texts = [await tab.locator(".message .body").all_inner_texts() for tab in (one, two)]
        assert texts[0] == texts[1]
        assert len(texts[0]) == 6


async def test_a_message_written_while_down_arrives_once(browser: Browser, house: Any, person: Any) -> None:
    """While hermesd is away the page says so and keeps the message, even over a reload; back up, it is sent once."""
    async with house.up() as adapter:
        opening = person(browser, adapter.links()[0])
        page, watch = await opening.__aenter__()
        await say(page, "before")
        await expect(page.locator(BOT)).to_have_count(1)
    await expect(page.locator("#link-words")).to_have_text("Reconnecting…")
    await expect(page.locator("#notice")).to_have_text("hermesd is not running. Messages you send will wait here.")
    await say(page, "while you were away")
    await expect(page.locator(".message.waiting .fate")).to_have_text("waiting for hermesd")
    async with house.up():
        await expect(page.locator(BOT)).to_have_count(2)
        await expect(page.locator("#notice")).to_be_hidden()
        await expect(page.locator(".waiting")).to_have_count(0)
        assert await page.locator(YOU).all_inner_texts() == ["before", "while you were away"]
        assert house.said() == ["before", "while you were away"]
        await opening.__aexit__(None, None, None)
    watch.assert_quiet()


async def test_a_lost_answer_does_not_double_the_message(browser: Browser, house: Any, person: Any) -> None:
    """When hermesd took a message but the answer was lost, the retry carries the same id: stored and shown once."""
    async with house.up() as adapter, person(browser, adapter.links()[0]) as (page, _):
        tries = 0

        async def lose_first(route: Route) -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                await route.fetch()
                await route.abort()
            else:
                await route.continue_()

        # the stream would tell the page that the message arrived; here only the retry can
        await page.route("**/api/stream**", lambda route: route.abort())
        await page.route("**/api/messages", lose_first)
        await page.reload()
        await say(page, "only once")
        with anyio.fail_after(10):
            await house.host.wait_offered(2)
        await page.unroute_all()
        await page.reload()
        await expect(page.locator(BOT)).to_have_count(1)
        await expect(page.locator(YOU)).to_have_count(1)
        assert house.said() == ["only once"]


async def test_everything_works_by_keyboard(browser: Browser, house: Any, person: Any) -> None:
    """Skip link, rooms, a new thread, the composer and the command list need no mouse, and focus is visible."""
    async with house.up() as adapter, person(browser, adapter.links()[0]) as (page, _):
        await page.locator(".skip").focus()
        await expect(page.locator(".skip")).to_be_in_viewport()
        await page.keyboard.press("Enter")
        await expect(page.locator("#text")).to_be_focused()
        await page.keyboard.type("one")
        await page.keyboard.press("Shift+Enter")
        await page.keyboard.type("two")
        await page.keyboard.press("Enter")
        await expect(page.locator(YOU)).to_have_text("one\ntwo")
        await page.locator(".room .go", has_text="dev").focus()
        style = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        await page.keyboard.press("Tab")
        await expect(page.locator('[aria-label="New thread in dev"]')).to_be_focused()
        assert style != "none" or await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        await page.keyboard.press("Enter")
        await page.keyboard.type("release 2")
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_have_text("devrelease 2")
        await expect(page.locator("#text")).to_be_focused()
        await page.keyboard.type("/")
        await expect(page.locator("#hints li")).to_have_count(3)
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        await expect(page.locator("#text")).to_have_value("/profile")
        await page.keyboard.press("Enter")
        await expect(page.locator(f"{BOT} strong")).to_have_text("/profile")
        assert [(event.raw["room"], event.raw["thread"]) for event in house.host.events] == [
            ("home", None),
            ("dev", "release 2"),
        ]


async def test_rooms_are_apart_and_news_are_marked(browser: Browser, house: Any, person: Any) -> None:
    """An answer in another room marks that room; going there shows it and takes the mark away."""
    async with house.up() as adapter, person(browser, adapter.links()[0]) as (page, _):
        await say(page, "here")
        await expect(page.locator(BOT)).to_have_count(1)
        async with httpx.AsyncClient(base_url=adapter.url, trust_env=False) as client:
            token = adapter.links()[0].partition("#token=")[2]
            body = {"id": "from-elsewhere-1", "room": "dev", "thread": "plans", "text": "there"}
            await client.post("api/messages", json=body, headers={"Authorization": f"Bearer {token}"})
        plans = page.locator(".thread .go", has_text="plans")
        await expect(plans).to_have_attribute("data-news", "")
        await plans.click()
        await expect(page.locator(f"{BOT} strong")).to_have_text("there")
        await expect(plans).not_to_have_attribute("data-news", "")
        await page.go_back()
        await expect(page.locator(f"{BOT} strong")).to_have_text("here")


async def test_a_phone_shows_all_of_it(browser: Browser, house: Any, person: Any) -> None:
    """At 390 pixels nothing is wider than the screen; the side bar opens, changes the room and goes away again."""
    house.answer = lambda message: (
        f"| a | b |\n|---|---|\n| {'wide ' * 30} | x |\n\n```\n{'long ' * 60}\n```\n{'w' * 300}"
    )
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    async with house.up() as adapter, person(browser, adapter.links()[0], **phone) as (page, _):
        await say(page, "w" * 300)
        await expect(page.locator(BOT)).to_have_count(1)
        assert await page.evaluate("document.scrollingElement.scrollWidth") <= 390
        assert await page.evaluate("document.getElementById('scroll').scrollWidth") <= 390
        await expect(page.locator("#side")).not_to_be_visible()
        await page.tap("#side-open")
        await expect(page.locator("#side")).to_be_visible()
        await page.tap('.room .go:has-text("dev")')
        await expect(page.locator("h1")).to_have_text("dev")
        await expect(page.locator("#side")).not_to_be_visible()
        box = await page.locator("#text").bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 844


async def test_payloads_stay_dead_on_the_page(browser: Browser, house: Any, person: Any) -> None:
    """API-05: two hundred payloads as message, answer, room, thread and title run, load and link nothing bad."""
    house.title = "<img src=x onerror=window.__pwned=1>"
    house.rooms = ("home", "%3Cimg src=x onerror=window.__pwned=1%3E")
    house.answer = lambda message: message.text
    async with house.up() as adapter:
        headers = {"Authorization": f"Bearer {adapter.links()[0].partition('#token=')[2]}"}
        async with httpx.AsyncClient(base_url=adapter.url, trust_env=False, headers=headers) as client:
            await write(client, ["x"], 900_000, room="<svg onload=alert(1)>", thread="\"'><script>")
            rooms = {f"room {start}": PAYLOADS[start : start + 72] for start in range(0, len(PAYLOADS), 72)}
            for number, (room, texts) in enumerate(rooms.items()):
                await write(client, texts[:-4], number * 1000, room=room)
            links = 0
            async with person(browser, adapter.links()[0]) as (page, _):
                await expect(page.locator(".thread .go", has_text="<script>")).to_have_count(1)
                for number, (room, texts) in enumerate(rooms.items()):
                    await page.locator(".room .go", has_text=room).click()
                    # the last few come while the page looks on
                    await write(client, texts[-4:], number * 1000 + 500, room=room)
                    await expect(page.locator(BOT)).to_have_count(len(texts))
                    links += await dead(page)
                assert links


async def write(client: httpx.AsyncClient, texts: list[str], first: int = 0, **place: str) -> None:
    for number, text in enumerate(texts, first):
        body = {"id": f"payload-{number:06d}", "room": "home", "thread": None, "text": text, **place}
        assert (await client.post("api/messages", json=body)).status_code == 202


async def dead(page: Page) -> int:
    """Nothing on the page lives; returns how many links there are."""
    alive = "#log :is(script, img, iframe, object, embed, svg, style, link, form, input, video, audio, base, meta)"
    assert await page.locator(alive).count() == 0
    links = await page.eval_on_selector_all("#log a", "all => all.map(a => [a.protocol, a.rel, a.target])")
    for protocol, rel, target in links:
        assert protocol in ("http:", "https:", "mailto:")
        assert (rel, target) == ("noopener noreferrer", "_blank")
    handlers = "all => all.flatMap(e => e.getAttributeNames()).filter(n => n.startsWith('on'))"
    assert await page.eval_on_selector_all("*", handlers) == []
    assert await page.evaluate("window.__pwned") is None
    return len(links)


async def test_the_policy_bites(browser: Browser, house: Any, person: Any) -> None:
    """If something alive came in after all, the page's policy would stop it: inline, eval, HTML, elsewhere, frames."""
    async with house.up() as adapter, person(browser, adapter.links()[0]) as (page, watch):
        tried = await page.evaluate(
            """async () => {
                const attempt = async (act) => { try { await act(); return "done"; } catch (e) { return e.name; } };
                const script = document.createElement("script");
                const inline = await attempt(() => {
                    script.text = "window.__pwned = 1";
                    document.body.append(script);
                });
                const html = await attempt(() => { document.body.innerHTML += "<b>x</b>"; });
                const code = await attempt(() => setTimeout("window.__pwned = 1", 0));
                const call = await attempt(() => fetch("http://127.0.0.1:9/"));
                const button = document.createElement("i");
                const handler = await attempt(() => button.setAttribute("onclick", "window.__pwned = 1"));
                button.click();
                return { inline, html, code, call, handler, pwned: window.__pwned ?? null };
            }"""
        )
        assert tried == {
            "inline": "TypeError",
            "html": "TypeError",
            "code": "TypeError",
            "call": "TypeError",
            "handler": "TypeError",
            "pwned": None,
        }
        assert watch.errors
        watch.errors.clear()


async def test_a_foreign_page_gets_nowhere(browser: Browser, house: Any) -> None:
    """API-02, API-03: a page of another origin, even with the token, can neither read, say, listen nor frame."""

    async def page_of_theirs(request: Request) -> Response:
        return HTMLResponse("<title>theirs</title>")

    theirs_app = Starlette(routes=[Path_("/", page_of_theirs)])
    async with house.up() as adapter, HttpServer(MemoryLog()).running() as elsewhere:
        theirs = await elsewhere.mount("127.0.0.1:0", "/", theirs_app)
        token = adapter.links()[0].partition("#token=")[2]
        page = await browser.new_page()
        await page.goto(theirs)
        tried = await page.evaluate(
            """async ([url, token]) => {
                const attempt = (path, how) => fetch(url + path, how).then((r) => r.type, () => "refused");
                const headers = { Authorization: `Bearer ${token}` };
                const body = JSON.stringify({ id: "0123456789", room: "home", thread: null, text: "forged" });
                const json = { ...headers, "Content-Type": "application/json" };
                const frame = document.createElement("iframe");
                frame.src = url;
                document.body.append(frame);
                await new Promise((resolve) => (frame.onload = resolve));
                let framed = "refused";
                try { framed = frame.contentWindow.location.href; } catch {}
                return [
                    await attempt("api/state", { headers }),
                    await attempt("api/stream?room=home", { headers }),
                    await attempt("api/messages", { method: "POST", headers: json, body }),
                    await attempt("api/messages", { method: "POST", mode: "no-cors", body }),
                    framed,
                ];
            }""",
            [adapter.url, token],
        )
        assert tried == ["refused"] * 5
        assert house.said() == []
        await page.close()


async def test_several_bots_are_one_click_apart(browser: Browser, house: Any, person: Any) -> None:
    """A bot whose link was opened once in this browser is offered beside the others; each needs its own token."""
    other = type(house)(bot_id="ops", title="Ops")
    other.listen = house.listen
    async with (
        house.up() as adapter,
        other.up(house.host.http) as ops,
        person(browser, adapter.links()[0]) as (page, watch),
    ):
        await expect(page.locator("#bots")).to_be_hidden()
        await page.goto(ops.url)
        await expect(page.locator("#link")).to_have_attribute("data-state", "locked")
        await page.goto(ops.links()[0])
        await expect(page.locator("#bots a")).to_have_text(["Hermes", "Ops"])
        await page.click("#bots a >> text=Hermes")
        await expect(page.locator("#bot-title")).to_have_text("Hermes")
        await expect(page.locator("#link")).to_have_attribute("data-state", "live")
        # the browser itself notes the one refused call
        watch.errors[:] = [error for error in watch.errors if "401" not in error]
