"""The daemon: `run` is one life of it."""

from collections.abc import Callable
from pathlib import Path

from hermesd.adapter.loading import plugins
from hermesd.clock import Clock
from hermesd.daemon.life import Life
from hermesd.daemon.state import held
from hermesd.errors import HermesdError
from hermesd.logs import Logging
from hermesd.notify import Ready
from hermesd.process import harden
from hermesd.settings import Environment

__all__ = ["run"]


async def run(
    config: Path,
    state: Path,
    *,
    environment: Environment,
    clock: Clock,
    logging: Logging,
    on_ready: Callable[[Ready], None] = lambda ready: None,
    crash: Callable[[str], None] = lambda point: None,
    allow_null: bool = False,
) -> int:
    """Run until a signal ends it; the exit code. Raises OperatorError (ConfigError among them) when it cannot start.

    `crash` and `allow_null` are for tests and benches: see `Life`.
    """
    with held(state):
        harden()
        life = Life(config, state, environment, clock, logging, plugins(), on_ready, crash, allow_null)
        try:
            await life.run()
        except BaseExceptionGroup as group:
            raise _first(group) from group
    return 0


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What an operator can act on, where a task group wrapped it."""
    known, rest = group.split(HermesdError)
    found: BaseException = known if known is not None and rest is None else group
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    return found
