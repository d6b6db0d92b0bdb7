"""A start on a long ledger: the bot is up at once, and nothing that was left is forgotten."""

import asyncio
from collections import Counter
from typing import Any

from hermesd.address import AdapterKey, Address, ConversationKey
from hermesd.database import Database, Tx
from hermesd.ledger import boot, delivery, inbound, turn
from hermesd.ledger.delivery import DeliveryState, Draft
from hermesd.ledger.inbound import InboundState
from hermesd.ledger.schema import MIGRATIONS
from hermesd.ledger.turn import Outcome, Request, TurnState
from hermesd.lineage import Lineage
from hermesd.testing.host import MemoryLog

BOT = AdapterKey("scripted", "main")
#: messages on record; of each kind of unfinished one there are `LEFT`
ROWS, LEFT, CHATS = 10_000, 200, 50
KINDS = ("received", "queued", "running", "unsent")


async def _left_by_a_crash(home: Any) -> dict[str, list[str]]:
    """Write the ledger of a daemon that was killed; the texts still owed an answer, by kind."""
    owed: dict[str, list[str]] = {kind: [] for kind in KINDS}
    events = [home.platform.event(f"n{n}", chat=f"c{n % CHATS}", user=f"u{n % CHATS}") for n in range(ROWS)]
    at = home.clock.now()

    def write(tx: Tx) -> None:
        dead = boot.start(tx, at=at, pid=1, version="0").epoch
        for n, stored in enumerate(inbound.store(tx, BOT, events, str(ROWS), at=at)):
            kind = KINDS[(n - ROWS) // LEFT] if n >= ROWS - len(KINDS) * LEFT else "past"
            text, place = f"n{n}", Address(BOT, f"c{n % CHATS}")
            if kind != "past":
                owed[kind].append(text)
            if kind == "received":
                continue
            message = f"m{n + 1}"
            inbound.decide(tx, stored.seq, InboundState.QUEUED, message_key=message, address=place)
            key, user = ConversationKey("default", place, "dm", f"u{n % CHATS}"), f"u{n % CHATS}"
            asked = Request(
                text, key=key, why="default", user_id=user, user_name="Ada", text=text, lineage=Lineage(text, user),
                epoch=1, inbound_seq=stored.seq, message_key=message,
            )  # fmt: skip
            turn.insert(tx, asked, at=at)
            if kind == "queued":
                continue
            turn.start(tx, text, boot=dead, at=at)
            if kind == "running":
                continue
            turn.end(tx, text, Outcome(TurnState.DONE, reply=text), at=at)
            delivery.insert(tx, [Draft(text, place, 1, 1, f"default: {text}")], turn_id=text, boot=dead, at=at)
            if kind == "past":
                delivery.move(tx, text, DeliveryState.ATTEMPTING, boot=dead, at=at)
                delivery.move(tx, text, DeliveryState.SENT, boot=dead, at=at, receipt="r")
        tx.execute("UPDATE turn SET filed = 1 WHERE state = 'done'")

    async with Database.opened(home.state / "ledger.db", MIGRATIONS, log=MemoryLog(), clock=home.clock) as ledger:
        await ledger.write(write)
    return owed


async def test_a_long_ledger_is_taken_up_whole_behind_a_bot_that_is_up(home: Any) -> None:
    """10,000 messages on record, 800 of them unfinished in four ways: the bot connects and stores a new message while
    no left-over turn can end yet; then each is answered once, in its own chat, and no finished one again (OPS-12).
    """
    home.settings["limits"] = {"lane_queue": 200}
    owed = await _left_by_a_crash(home)
    assert [len(texts) for texts in owed.values()] == [LEFT] * len(KINDS)
    go = asyncio.Event()

    async def answers(profile: str, request: Any, gate: Any) -> str:
        await go.wait()
        return f"{profile}: {request.prompt}"

    home.models.answers = answers
    # a life that is not up, or not done with this block, after 30 s fails
    async with home.running() as daemon:
        await home.platform.until(lambda: home.platform.built[BOT])
        await daemon.says("new", chat="c-new", user="u-new")
        assert await daemon.rows("SELECT count(*) FROM inbound") == [(ROWS + 1,)]
        go.set()
        await daemon.settled()
        states = dict(await daemon.rows("SELECT state, count(*) FROM turn GROUP BY state"))
    assert states == {"done": ROWS + 1}
    said = [text for texts in owed.values() for text in texts]
    assert Counter(home.platform.texts()) == Counter(f"default: {text}" for text in [*said, "new"])
    assert all(
        one.address.chat_id == f"c{int(one.text.removeprefix('default: n')) % CHATS}"
        for one in home.platform.sent
        if one.text != "default: new"
    )
