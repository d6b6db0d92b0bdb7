"""The fake's world as JSON, so that a process of its own can be stopped and go on later."""

import dataclasses
import itertools
from collections import deque
from typing import Any

from hermesd.testing.telegram.world import BotAccount, Chat, Posted, Topic, World


def dump(world: World) -> dict[str, Any]:
    """Everything, as plain JSON values."""
    return {
        "bots": [_bot(bot) for bot in world.bots.values()],
        "chats": [dataclasses.asdict(chat) for chat in world.chats.values()],
        "posted": [dataclasses.asdict(item) | {"key": key} for key, item in world.entries()],
    }


def load(stored: dict[str, Any]) -> World:
    """The world again."""
    world = World()
    for bot in stored["bots"]:
        sets = {name: set(bot[name]) for name in ("blocked_by", "kicked_from", "muted_in")}
        account = BotAccount(
            **{**bot, **sets, "queue": deque(bot["queue"]), "offsets": deque(bot["offsets"], maxlen=1000)}
        )
        world.bots[account.token] = account
    for chat in stored["chats"]:
        topics = {int(number): Topic(**topic) for number, topic in chat["topics"].items()}
        made = Chat(**{**chat, "topics": topics})
        world.chats[made.key] = made
    last = 0
    for entry in stored["posted"]:
        bot_id, chat_id = entry.pop("key")
        posted = Posted(**entry)
        world.record((bot_id, chat_id), posted)
        last = posted.serial
    world.serials = itertools.count(last + 1)
    return world


def _bot(bot: BotAccount) -> dict[str, Any]:
    plain = {item.name: getattr(bot, item.name) for item in dataclasses.fields(bot)}
    return {name: list(value) if isinstance(value, set | deque) else value for name, value in plain.items()}
