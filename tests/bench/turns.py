"""What one turn costs: latency unloaded, CPU, and how many turns a second the whole takes."""

import statistics
from collections import Counter
from dataclasses import dataclass
from typing import Any

from rig import Fakes, Plan, Program


@dataclass(frozen=True, slots=True)
class Unloaded:
    """One message at a time."""

    #: milliseconds from the message standing in the chat to its answer standing there
    p50: float
    p95: float
    p99: float
    #: milliseconds of CPU a turn
    cpu: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """Every chat busy."""

    per_second: float
    #: milliseconds a turn
    cpu: float
    lost: int
    doubled: int


def quantile(values: list[float], share: float) -> float:
    """The value below which this share lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(slots=True)
class Talk:
    """The people of one plan, talking to whatever polls the fake; both ends of each time are the fake's own clock."""

    fakes: Fakes
    plan: Plan
    #: of the last answer seen
    serial: int = 0

    async def warm(self) -> list[float]:
        """One message in every chat, one after the other; milliseconds of each first answer."""
        return [await self._exchange(token, user, f"hello from {user}") for token, user in self.plan.users]

    async def unloaded(self, running: Program, count: int) -> Unloaded:
        """`count` messages, each sent when the last is answered."""
        users, cpu = self.plan.users, running.cpu()
        took = [await self._exchange(*users[n % len(users)], f"hello number {n}") for n in range(count)]
        used = (running.cpu() - cpu) / count * 1000
        return Unloaded(statistics.median(took), quantile(took, 0.95), quantile(took, 0.99), used)

    async def loaded(self, running: Program, each: int, tag: str) -> Loaded:
        """`each` messages in every chat at once; turns a second from the first message to the last answer."""
        texts = [(user, token, f"message {tag}-{user}-{n}.") for n in range(each) for token, user in self.plan.users]
        cpu = running.cpu()
        await self.fakes.remote.say([{"user": user, "token": token, "text": text} for user, token, text in texts])
        began = await self._asked(*self.plan.users[0], back=each)
        sent = await self.fakes.remote.sent(after=self.serial, count=len(texts), wait=300)
        used = running.cpu() - cpu
        told, wanted = Counter(_core(item) for item in sent), {text for _, _, text in texts}
        if not sent:
            return Loaded(0.0, 0.0, len(wanted), 0)
        self.serial = sent[-1]["serial"]
        lost = sum(1 for text in wanted if not told[text])
        doubled = sum(count - (text in wanted) for text, count in told.items())
        return Loaded(len(sent) / (sent[-1]["at"] - began), used / len(sent) * 1000, lost, doubled)

    async def _exchange(self, token: str, user: int, text: str) -> float:
        await self.fakes.remote.say([{"user": user, "token": token, "text": text}])
        answer = (await self.fakes.remote.sent(after=self.serial, count=1, wait=30))[0]
        self.serial = answer["serial"]
        return (float(answer["at"]) - await self._asked(token, user)) * 1000

    async def _asked(self, token: str, user: int, back: int = 1) -> float:
        """When this person said the newest, or `back`-th newest, thing."""
        said = [item for item in await self.fakes.remote.history(user, token=token) if item["bot_id"] is None]
        return float(said[-back]["at"])


def _core(item: dict[str, Any]) -> str:
    text = str(item["message"]["text"])
    return text[text.find("message ") :]
