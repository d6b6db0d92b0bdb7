"""Route lookups: pure, so measured in the bench's own process."""

import time

from hermesd.address import AdapterKey, Address
from hermesd.message import InboundMessage, Sender
from hermesd.route import Route, RouteTable

#: lookups in one round, and rounds of which the quickest counts
LOOKUPS, ROUNDS = 20_000, 5


def microseconds(routes: int) -> float:
    """One lookup among that many routes: topics of forums, half of them hit, and a few of other kinds."""
    table = RouteTable.build(_routes(routes), "default")
    messages = [_message(n * 7919 % (2 * routes), n) for n in range(1000)]
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for n in range(LOOKUPS):
            table.match(messages[n % 1000])
        best = min(best, time.perf_counter() - began)
    return best / LOOKUPS * 1e6


def _routes(count: int) -> list[Route]:
    topics = [_topic(n) for n in range(count - 4)]
    return [
        *(Route("telegram", None, None, chat, thread, None, f"p{n % 28}") for n, (chat, thread) in enumerate(topics)),
        Route("telegram", None, None, "-1001", None, None, "p1"),
        Route("telegram", None, None, None, None, "999999", "p2"),
        Route("telegram", "b1", None, None, None, None, "p3"),
        Route("telegram", None, None, None, None, None, "p4"),
    ]


def _topic(number: int) -> tuple[str, str]:
    return str(-1_000_000_000_000 - number // 100), str(number % 100 + 2)


def _message(topic: int, number: int) -> InboundMessage:
    chat, thread = _topic(topic)
    address = Address(AdapterKey("telegram", "b0"), chat, thread)
    return InboundMessage(str(number), f"{chat}:{number}", address, "thread", Sender("111", "Ann"), "hello")
