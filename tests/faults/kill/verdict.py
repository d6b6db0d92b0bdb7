"""Reads the truth of the platform and what the daemon left on disk, and lists every broken promise."""

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from hermesd import audit
from hermesd.delivery.policy import DUPLICATE_MARK
from hermesd.gateway.decider import GIVEN_UP

#: what must not stand in a ledger that came to rest
_BROKEN = (
    ("an event without a decision", "SELECT seq FROM inbound WHERE state = 'received'"),
    # one that was given up is kept and its writer told: `seen` finds the notice
    (
        "an event that could not be read",
        "SELECT seq FROM inbound WHERE state = 'quarantined' AND reason NOT LIKE 'the daemon died%'",
    ),
    (
        "an event with no turn, or several",
        """SELECT inbound.seq, count(turn.id) FROM inbound LEFT JOIN turn ON turn.inbound_seq = inbound.seq
            WHERE inbound.state = 'queued' GROUP BY inbound.seq HAVING count(turn.id) != 1""",
    ),
    ("a turn that has not ended", "SELECT id, state FROM turn WHERE state IN ('queued', 'running')"),
    ("a part that was not sent", "SELECT id, state, reason FROM delivery WHERE state != 'sent'"),
    ("a turn without a part", "SELECT id, state FROM turn WHERE id NOT IN (SELECT turn_id FROM delivery)"),
)


@dataclass(frozen=True, slots=True)
class Question:
    """A message somebody wrote, as a platform knows it."""

    key: str
    #: answers within one lane must keep its order
    lane: tuple[str, ...]
    #: where an answer belongs
    place: tuple[str, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A message a bot posted."""

    place: tuple[str, ...]
    text: str
    #: key of the message it answers
    to: str | None
    #: it says itself that it may be a copy
    marked: bool

    @classmethod
    def of(cls, place: tuple[str, ...], text: str, to: str | None, mark: str = DUPLICATE_MARK) -> "Answer":
        return cls(place, text.removeprefix(mark), to, text.startswith(mark))


def lost(questions: Iterable[Question], answers: Iterable[Answer]) -> list[str]:
    """Keys of messages that nobody ever answered."""
    answered = {answer.to for answer in answers}
    return [question.key for question in questions if question.key not in answered]


def seen(questions: list[Question], answers: list[Answer]) -> list[str]:
    """Broken promises that people could see."""
    found = [f"{key}: lost" for key in lost(questions, answers)]
    asked = {question.key: question for question in questions}
    mine: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        if answer.to not in asked:
            found.append(f"an answer to nothing: {answer.text[:80]!r}")
        else:
            mine[answer.to].append(answer)
    for key, copies in mine.items():
        if any(copy.place != asked[key].place for copy in copies):
            found.append(f"{key}: answered in another place")
        if len({copy.text for copy in copies}) > 1:
            found.append(f"{key}: answered twice: {[copy.text[:60] for copy in copies]}")
        if sum(not copy.marked for copy in copies) > 1:
            found.append(f"{key}: a copy without a mark")
    return found + list(_disorder(questions, answers))


def _disorder(questions: list[Question], answers: list[Answer]) -> Iterable[str]:
    asked = {question.key: question for question in questions}
    # a notice does not wait for the answers before it
    told = (answer for answer in answers if answer.to in asked and answer.text != GIVEN_UP)
    first = list(dict.fromkeys(answer.to for answer in told))
    lanes: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for question in questions:
        lanes[question.lane].append(question.key)
    for lane, keys in lanes.items():
        told = [key for key in first if key is not None and asked[key].lane == lane]
        if told != [key for key in keys if key in set(told)]:
            yield f"{lane}: answers out of order"


def effects(lines: list[str]) -> list[str]:
    """Side effects that happened more than once."""
    return [f"tool ran {count} times: {line}" for line, count in Counter(lines).items() if count > 1]


def stored(state: Path) -> list[str]:
    """Broken promises in the ledger and in the profiles' databases."""
    found = []
    with closing(sqlite3.connect(state / "ledger.db")) as tx:
        if tx.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            found.append("the ledger is damaged")
        chain = audit.verify(tx)
        if not chain.ok:
            found.append(f"audit: {chain}")
        for what, sql in _BROKEN:
            found += [f"{what}: {row}" for row in tx.execute(sql)]
        done = {turn for (turn,) in tx.execute("SELECT id FROM turn WHERE state = 'done'")}
    filed: Counter[str] = Counter()
    for database in state.glob("profiles/*/hermesd.db"):
        with closing(sqlite3.connect(database)) as tx:
            if tx.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                found.append(f"{database} is damaged")
            filed.update(turn for (turn,) in tx.execute("SELECT turn_id FROM message WHERE role = 'user'"))
    found += [f"turn {turn} stands {filed[turn]} times in its conversation" for turn in done if filed[turn] != 1]
    found += [f"turn {turn} stands in a conversation and never ended well" for turn in filed if turn not in done]
    return found


def states(state: Path) -> dict[str, int]:
    """How the turns ended, for the record."""
    with closing(sqlite3.connect(state / "ledger.db")) as tx:
        return dict(tx.execute("SELECT state, count(*) FROM turn GROUP BY state"))
