"""A forum, two bots, a model server, and an installation of hermesd between them."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
import pytest_asyncio

from hermesd.testing.daemon import Daemon, Installation
from hermesd.testing.openai import FakeOpenAI
from hermesd.testing.telegram import BotAccount, Chat, FakeTelegram, Person, Posted

#: seconds anything may take before a test gives up
GUARD = 30.0
FORUM = -1003961179976
TOPICS = {6: "career", 7: "finance", 9: "research", 13: "systems"}


@dataclass
class World:
    """Everything a test talks to."""

    home: Installation
    telegram: FakeTelegram
    models: FakeOpenAI
    forum: Chat
    alice: Person
    bots: dict[str, BotAccount] = field(default_factory=dict)

    def bot(self, bot_id: str = "main", **access: Any) -> BotAccount:
        """A Telegram bot, known on both sides; Alice may talk to it and administers it."""
        number = 1000 + len(self.bots)
        account = self.telegram.bot(f"{number}:{bot_id}-token-{'x' * 26}", f"{bot_id}_bot")
        rights = {"allow": [str(self.alice.id)], "admins": [str(self.alice.id)], **access}
        self.home.telegram(bot_id, account.token, self.telegram.url, **rights)
        self.bots[bot_id] = account
        return account

    def profile(self, name: str, model: str = "echo", **more: Any) -> Path:
        """A profile whose model is the fake's, with a key of its own."""
        env = {"MODEL_KEY": f"key-of-{name}", **more.pop("env", {})}
        soul = more.pop("soul", f"You are {name}.")
        return self.home.profile(name, soul=soul, model=self.home.model(self.models.base_url, model), env=env, **more)

    async def asks(self, text: str, thread: int | None = None, chat: Chat | BotAccount | None = None) -> str:
        """Alice writes; the next message a bot writes in that place."""
        place = chat or self.forum
        last = self.telegram.world.posted[-1].serial if self.telegram.world.posted else 0
        said = self.alice.says(place, text, thread)
        chat_id = said["chat"]["id"]
        return (await self.answer(lambda p: _is_in(p, chat_id, thread), after=last)).text

    async def answer(self, wanted: Callable[[Posted], bool], *, after: int = 0) -> Posted:
        """The first message of a bot behind a serial that is wanted."""
        with anyio.fail_after(GUARD):
            return await self.telegram.wait_for_message(wanted, after=after)

    async def polling(self, *bots: BotAccount) -> None:
        """Each of these bots waits in a long poll, its second one at least."""
        with anyio.fail_after(GUARD):
            await self.telegram.until(lambda: all(bot.polls > 1 and not bot.queue for bot in bots))

    async def fetched(self) -> None:
        """Every update has been confirmed by its bot."""
        with anyio.fail_after(GUARD):
            await self.telegram.until(lambda: not any(bot.queue for bot in self.telegram.world.bots.values()))

    async def settled(self, daemon: Daemon) -> None:
        """Everything anybody wrote has come to its end."""
        await self.fetched()
        await daemon.settled()


def _is_in(posted: Posted, chat_id: int, thread: int | None) -> bool:
    return posted.message["chat"]["id"] == chat_id and posted.thread == thread


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A forum with four topics, Alice, a model server, and an installation with the profile `default`."""
    async with FakeTelegram() as telegram, FakeOpenAI() as models:
        home = Installation(tmp_path)
        forum = telegram.forum(FORUM, "House", dict(TOPICS))
        found = World(home, telegram, models, forum, telegram.user(111, "Alice"))
        found.profile("default")
        yield found


@pytest.fixture
def two_topics(world: World) -> World:
    """The forum of the request: topic 6 is career's, topic 13 is systems'."""
    world.bot("main")
    world.profile("career")
    world.profile("systems")
    world.home.route("telegram", str(FORUM), "6", "career")
    world.home.route("telegram", str(FORUM), "13", "systems")
    return world
