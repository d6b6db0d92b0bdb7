"""The page in a real Chromium against the whole daemon: rooms, profiles, reloads, a kill in the middle."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from playwright.async_api import Browser, Page, expect

from hermesd.testing.daemon import Installation
from hermesd.testing.openai import FakeOpenAI, Reply

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

BOT = ".message.bot .body"
GUARD = 30.0


@pytest.fixture
def home(tmp_path: Path) -> Installation:
    """A page with two rooms: `home` is the default profile's, `dev` is backend's. No model is configured."""
    made = Installation(tmp_path)
    made.profile("default")
    made.profile("backend")
    made.web("local", rooms=["home", "dev"])
    made.route("web", "dev", None, "backend")
    return made


async def say(page: Page, words: str) -> None:
    await page.fill("#text", words)
    await page.press("#text", "Enter")


async def enter(page: Page, room: str) -> None:
    await page.locator("nav, aside").get_by_text(room, exact=True).first.click()


async def test_a_person_chats_at_once_without_any_key(browser: Browser, home: Installation, person: Any) -> None:
    """Nothing is configured but the page: it answers, and says that this is the rehearsal model."""
    async with home.running() as daemon, person(browser, (await daemon.call("links"))[0]) as (page, _):
        await say(page, "hello")
        await expect(page.locator(BOT)).to_have_count(1)
        await expect(page.locator(BOT)).to_contain_text("rehearsal", ignore_case=True)
        await say(page, "/profile")
        await expect(page.locator(BOT).nth(1)).to_contain_text("Profile: default")
        await expect(page.locator(BOT).nth(1)).to_contain_text("rehearsal")


async def test_each_room_is_answered_by_its_profile(browser: Browser, home: Installation, person: Any) -> None:
    """`/profile` in two rooms of one page names two profiles, and neither room shows the other's messages."""
    async with home.running() as daemon, person(browser, (await daemon.call("links"))[0]) as (page, _):
        await say(page, "/profile")
        await expect(page.locator(BOT)).to_contain_text("Profile: default")
        await enter(page, "dev")
        await expect(page.locator(BOT)).to_have_count(0)
        await say(page, "/profile")
        await expect(page.locator(BOT)).to_contain_text("Profile: backend")


async def test_a_reload_moves_a_room_under_an_open_page(browser: Browser, home: Installation, person: Any) -> None:
    """SIGHUP with another route: the page stays connected, and the next message is the other profile's."""
    async with home.running() as daemon, person(browser, (await daemon.call("links"))[0]) as (page, _):
        await page.evaluate(
            "new MutationObserver(() => { window.moved = true })"
            ".observe(document.querySelector('#link'), {attributes: true, attributeFilter: ['data-state']})"
        )
        await say(page, "/profile")
        await expect(page.locator(BOT)).to_contain_text("Profile: default")
        home.route("web", "home", None, "backend")
        assert "reload applied" in await daemon.hangup()
        await say(page, "/profile")
        await expect(page.locator(BOT).nth(1)).to_contain_text("Profile: backend")
        await expect(page.locator(BOT).nth(1)).to_contain_text("config epoch: 2")
        assert await page.evaluate("window.moved") is None


async def test_a_kill_in_the_middle_of_an_answer_is_not_seen_twice(
    browser: Browser, home: Installation, person: Any
) -> None:
    """kill -9 while the model thinks: the page says the connection is lost, comes back alone, and shows one answer."""
    async with FakeOpenAI() as models:
        home.profile("default", model=home.model(models.base_url), env={"MODEL_KEY": "a-key-of-mine"})
        models.on(Reply(fault="hang"), Reply(text="the one answer"))
        async with home.process() as first:
            link = (await first.call("links"))[0]
            async with person(browser, link) as (page, _):
                await say(page, "think hard")
                with anyio.fail_after(GUARD):
                    await models.seen(1)
                await first.kill()
                await expect(page.locator("#link")).not_to_have_attribute("data-state", "live")
                async with home.process():
                    await expect(page.locator("#link")).to_have_attribute("data-state", "live", timeout=20_000)
                    await expect(page.locator(BOT)).to_have_text("the one answer")
                    await expect(page.locator(".message.you .body")).to_have_text("think hard")
