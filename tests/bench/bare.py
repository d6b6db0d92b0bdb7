"""The yardstick: the naive loop with python-telegram-bot and the openai client as they come, and nothing else."""

import argparse
import asyncio
from collections.abc import Sequence

import openai
import uvloop
from telegram import Bot, Update
from telegram.request import HTTPXRequest

from hermesd.testing import naive

#: updates worked on at once, and connections for that
AT_ONCE = 64


class Bare:
    """`NaiveClient` for one Telegram bot; without a model it answers `ok: …`."""

    def __init__(self, token: str, telegram: str, model: openai.AsyncOpenAI | None) -> None:
        self._bot = Bot(
            token,
            base_url=f"{telegram}/bot",
            request=HTTPXRequest(connection_pool_size=AT_ONCE, pool_timeout=60.0),
            get_updates_request=HTTPXRequest(connection_pool_size=1, read_timeout=40.0),
        )
        self._model = model

    async def start(self) -> None:
        await self._bot.initialize()

    async def poll(self, offset: int | None) -> Sequence[Update]:
        return await self._bot.get_updates(offset=offset, timeout=30)

    def number(self, update: Update) -> int:
        return update.update_id

    async def answer(self, update: Update) -> str:
        assert update.message is not None
        text = update.message.text or ""
        if self._model is None:
            return f"ok: {text}"
        said = await self._model.chat.completions.create(
            model="echo",
            messages=[{"role": "system", "content": "You are a bot."}, {"role": "user", "content": text}],
        )
        return said.choices[0].message.content or ""

    async def send(self, update: Update, text: str) -> None:
        assert update.message is not None
        await self._bot.send_message(update.message.chat_id, text)


async def run(given: argparse.Namespace) -> None:
    """All bots in one loop."""
    model = openai.AsyncOpenAI(api_key="none", base_url=given.openai) if given.openai else None
    clients = [Bare(token, given.telegram, model) for token in given.token]
    for client in clients:
        await client.start()
    async with asyncio.TaskGroup() as tasks:
        for number, client in enumerate(clients):
            tasks.create_task(naive.run(client, at_once=given.at_once), name=f"bare {number}")


def main() -> None:
    """Read the command line and run."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--telegram", required=True)
    arguments.add_argument("--openai", default="")
    arguments.add_argument("--token", action="append", required=True)
    arguments.add_argument("--at-once", type=int, default=AT_ONCE)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(arguments.parse_args()))


if __name__ == "__main__":
    main()
