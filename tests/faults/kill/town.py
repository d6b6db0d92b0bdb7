"""Two Telegram bots in two groups, the people there, and what each of them was answered."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from processes import World
from verdict import Answer, Question

from hermesd.delivery.policy import DUPLICATE_MARK
from hermesd.gateway.decider import GIVEN_UP

#: name → token
BOTS = {"alpha": "1001:AAAA-the-token-of-alpha", "beta": "1002:BBBB-the-token-of-beta"}
CHATS = (-100501, -100502)
USERS = (111, 222)
MARK = DUPLICATE_MARK.replace("*", "").strip()
CONFIG = """\
default_profile: null
drain_seconds: {drain}
crash_limit: 10000
limits: {{turns_per_profile: 32}}
bots:
{bots}
routes:
  telegram:
    "-100501": first
    "-100502": second
"""
BOT = (
    '  - {{platform: telegram, bot_id: {name}, token: "${{env:{variable}}}", base_url: "{url}", '
    "access: {{allow: everyone, require_mention: true}}}}"
)
_NOTICES = ("I was interrupted in the middle of your last message", "I gave up on your last message", GIVEN_UP)


@dataclass(slots=True)
class Town:
    """What was said, and the state directory of whoever answers."""

    folder: Path
    world: World
    model: str = "worst-case"
    drain: float = 10.0
    questions: list[Question] = field(default_factory=list)
    #: key of a message → its number
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        return {f"TOKEN_{name.upper()}": token for name, token in BOTS.items()}

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def arguments(self) -> tuple[str, ...]:
        return ("run", "--config", str(self.folder / "hermesd.yaml"), "--state", str(self.state))

    def choose(self, model: str) -> None:
        """Let another model of the fake server answer from the next start on."""
        for name in ("first", "second"):
            (self.state / "profiles" / name / "config.yaml").write_text(
                f'model: {{provider: custom, default: {model}, base_url: "{self.world.openai}", '
                'api_key: "${env:KEY}"}\n'
            )

    async def build(self) -> None:
        """Write the configuration and make the cast."""
        for name in ("first", "second"):
            home = self.state / "profiles" / name
            home.mkdir(parents=True, mode=0o700)
            (home / ".env").write_text("KEY=not-a-real-key\n")
            (home / ".env").chmod(0o600)
        self.choose(self.model)
        bots = "\n".join(BOT.format(name=n, variable=f"TOKEN_{n.upper()}", url=self.world.telegram) for n in BOTS)
        (self.folder / "hermesd.yaml").write_text(CONFIG.format(bots=bots, drain=f"{self.drain:g}"))
        cast = [{"token": token, "username": f"{name}_bot"} for name, token in BOTS.items()]
        await self.world.remote.setup(cast, [{"id": chat, "title": f"group {chat}"} for chat in CHATS])

    async def say(self, bot: str, chat: int, user: int, *, tool: bool = False) -> str:
        """Somebody asks a bot for the answer to the next number; returns the message's key."""
        number = len(self.questions) + 1
        call = f'CALL send_message {{"text": "effect {number}"}} ' if tool else ""
        text = f'@{bot}_bot {call}SAY "answer {number}"'
        message = (await self.world.remote.say([{"user": user, "chat": chat, "text": text}]))[0]
        key = f"{chat}:{message['message_id']}"
        self.questions.append(Question(key, (bot, str(chat), str(user)), (bot, str(chat)), text))
        self.numbers[key] = number
        return key

    async def sent(self) -> list[dict[str, Any]]:
        """Everything bots ever posted."""
        return await self.world.remote.sent()

    async def answers(self) -> list[Answer]:
        """Every message of a bot that answers another one."""
        return [_answer(item) for item in await self.sent() if "reply_to_message" in item["message"]]

    async def answered(self, keys: Iterable[str], seconds: float = 60.0) -> bool:
        """Wait until all these messages have answers; False when that takes too long, or something is gone."""
        wanted, left = set(keys), seconds
        while left > 0:
            sent = await self.sent()
            if wanted <= {_answer(item).to for item in sent}:
                return True
            last = sent[-1]["serial"] if sent else 0
            left -= 0 if await self.world.remote.sent(after=last, count=1, wait=1.0) else 1.0
        return False

    async def asked(self, count: int) -> None:
        """Return once that many requests have reached the model server in all."""
        async with httpx.AsyncClient() as client:
            while (await client.get(self.world.openai.removesuffix("/v1") + "/_seen")).json()["count"] < count:
                pass

    async def broken(self) -> list[str]:
        """What the fake's history says against the promises, beside what `verdict.seen` looks at."""
        found = []
        for answer in await self.answers():
            number = self.numbers.get(answer.to or "")
            if answer.text != f"answer {number}" and not answer.text.startswith(_NOTICES):
                found.append(f"{answer.to}: answered with {answer.text[:80]!r}")
        effects: dict[str, int] = {}
        for item in await self.sent():
            text = str(item["message"]["text"])
            if "reply_to_message" not in item["message"] and not text.startswith(MARK):
                effects[text] = effects.get(text, 0) + 1
                if not re.fullmatch(r"effect \d+", text):
                    found.append(f"said to nobody: {text[:80]!r}")
        return found + [f"{text!r} {count} times without a mark" for text, count in effects.items() if count > 1]


def _answer(item: dict[str, Any]) -> Answer:
    message = item["message"]
    bot = next(name for name, token in BOTS.items() if token.startswith(f"{item['bot_id']}:"))
    chat = str(message["chat"]["id"])
    to = message.get("reply_to_message")
    text, marked = str(message["text"]), str(message["text"]).startswith(MARK)
    return Answer((bot, chat), text.removeprefix(MARK).strip(), f"{chat}:{to['message_id']}" if to else None, marked)
