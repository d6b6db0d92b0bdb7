"""A fake Telegram: the Bot API's real wire protocol with the truth behind it in plain sight.

In the loop of a test:

    async with FakeTelegram() as server:
        bot = server.bot("1:TOKEN", "career_bot")
        forum = server.forum(-1001, "House", {6: "career"})
        alice = server.user(111, "Alice")
        alice.says(forum, "hello", thread=6)            # queued for every bot in there
        alice.says(bot, "hello")                        # a private chat
        server.fault("sendMessage", "drop_after")       # the next send works, and its connection breaks
        answer = await server.wait_for_message(lambda item: item.thread == 6)
        server.history(forum.id, 6)                     # what people see there

As a process (kill tests, benches): `python -m hermesd.testing.telegram --port 8081`; see `control` for its routes and
`client.Remote` for a small client of them. Clients under test get `base_url: http://127.0.0.1:8081`.

Kept as on Telegram: an update stays until a higher offset confirms it; a second getUpdates ends the first with 409; at
most 100 updates at once; 401 for unknown tokens; 4,096 UTF-16 units after entities; General has no thread id; bots
never see bots. Not played: files, inline mode, payments; rate limits are scripted
(`fault("sendMessage", status=429, description="Too Many Requests", retry_after=3)`).
"""

from hermesd.testing.telegram.faults import Fault, Faults
from hermesd.testing.telegram.server import FakeTelegram
from hermesd.testing.telegram.world import BotAccount, Chat, Person, Posted, Topic, World

__all__ = ["BotAccount", "Chat", "FakeTelegram", "Fault", "Faults", "Person", "Posted", "Topic", "World"]
