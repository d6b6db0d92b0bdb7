"""SIGKILL, hundreds of times: nothing is lost, nothing is done twice, and what may be a copy says so."""

import os
import sys
from pathlib import Path

import pytest
import verdict
from trial import Trial, answers, questions
from zygote import zygote

pytestmark = [pytest.mark.kill, pytest.mark.timeout(7200)]

#: SIGKILLs in all; `make soak` sets a thousand
KILLS = int(os.environ.get("HERMESD_KILLS", "208"))
#: one state directory each
SEEDS = (1, 2, 3, 4)


def record(*lines: str) -> None:
    """Shown by `pytest -s`, and when a test fails."""
    sys.stdout.write("\n".join(lines) + "\n")


@pytest.mark.parametrize("seed", SEEDS)
async def test_kills_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    """After each share of the kills every message has one visible end, in order, and no side effect ran twice."""
    count = KILLS // len(SEEDS)
    async with zygote() as lives:
        trial = Trial(tmp_path, lives, seed)
        platform = await trial.run(count)
    asked, answered = questions(platform), answers(platform)
    record(
        f"seed {seed}: {trial.kills.total()} kills {dict(trial.kills)}, {len(asked)} messages",
        f"turns {verdict.states(trial.state)}, {sum(answer.marked for answer in answered)} marked copies",
    )
    assert trial.odd == [], (tmp_path / "log").read_text()[-4000:]
    assert trial.kills.total() == count
    assert verdict.seen(asked, answered) == []
    assert verdict.stored(trial.state) == []
    assert verdict.effects(trial.effects) == []


async def test_the_naive_loop_loses_under_the_same_kills(tmp_path: Path) -> None:
    """The same schedule against a loop without a ledger loses messages: these tests can fail."""
    async with zygote() as lives:
        trial = Trial(tmp_path, lives, SEEDS[0], naive=True)
        platform = await trial.run(52)
    gone = verdict.lost(questions(platform), answers(platform))
    record(f"control: {trial.kills.total()} kills, {len(platform.said)} messages, {len(gone)} lost")
    assert len(gone) > 0
