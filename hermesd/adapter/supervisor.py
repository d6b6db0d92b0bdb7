"""One task per bot that keeps it running and never disturbs another."""

import math
import random
from collections.abc import Callable

import anyio

from hermesd.adapter.registry import Bot
from hermesd.clock import Clock
from hermesd.errors import Conflict, HermesdError, PlatformError, RateLimited, SecretUnavailable, Unauthorized
from hermesd.ports import Adapter, BotState, Log

#: seconds an adapter may take from start to its first sign of life
CONNECT_SECONDS = 90.0
#: seconds an adapter gets to let go of its connections
CLOSE_SECONDS = 5.0
#: seconds up after which a failure counts as the first one again
STEADY_SECONDS = 60.0
#: seconds: first wait and longest wait after each kind of end
WAITS: dict[BotState, tuple[float, float]] = {
    BotState.DEGRADED: (1.0, 60.0),
    BotState.CONFLICT: (5.0, 60.0),
    BotState.UNAUTHORIZED: (60.0, 900.0),
}


def verdict(error: Exception) -> tuple[BotState, str, str]:
    """What an adapter's end means: the visible state, the detail and the fix. Pure."""
    if isinstance(error, Unauthorized | SecretUnavailable):
        return BotState.UNAUTHORIZED, error.message, error.hint
    if isinstance(error, Conflict):
        return BotState.CONFLICT, error.message, error.hint
    if isinstance(error, HermesdError):
        return BotState.DEGRADED, error.message, error.hint
    return BotState.DEGRADED, f"the adapter failed: {type(error).__name__}", "see the log; it will be started again"


def pause_before(state: BotState, failures: int, *, jitter: float) -> float:
    """Seconds to wait after the n-th failure in a row (1-based); `jitter` is 0..1. Pure."""
    first, most = WAITS[state]
    return float(min(most, first * 2 ** min(failures - 1, 10))) * (0.75 + jitter / 4)


async def supervise(bot: Bot, build: Callable[[], Adapter], clock: Clock, log: Log) -> None:
    """Run a bot until cancelled: build, run, look at how it ended, wait, again."""
    failures = 0
    while True:
        began = clock.monotonic()
        state, wait = await _once(bot, build, log)
        failures = 1 if clock.monotonic() - began > STEADY_SECONDS else failures + 1
        bot.restarts += 1
        await clock.sleep(max(wait, pause_before(state, failures, jitter=random.random())))  # noqa: S311  # spreads load


async def _once(bot: Bot, build: Callable[[], Adapter], log: Log) -> tuple[BotState, float]:
    wait = 0.0
    try:
        if bot.state is not BotState.UNAUTHORIZED:
            bot.report(BotState.STARTING)
        bot.adapter = build()
        await _run(bot, bot.adapter)
        state, detail, fix = BotState.DEGRADED, "the adapter ended by itself", "it will be started again"
    except Exception as error:  # the wall between bots: whatever one does, the others go on
        state, detail, fix = verdict(error)
        wait = error.retry_after if isinstance(error, RateLimited) else 0.0
        if not isinstance(error, PlatformError | SecretUnavailable):
            log.error("adapter failed", action="bot.crash", bot=str(bot.key), exc_info=error)
    log.warning("bot is not up", action="bot.down", bot=str(bot.key), state=str(state), detail=detail)
    bot.report(state, detail, fix)
    await close(bot, log)
    return state, wait


async def close(bot: Bot, log: Log) -> None:
    """Let go of a bot's adapter; one that will not close is left behind after a few seconds."""
    adapter = bot.detach()
    if adapter is None:
        return
    try:
        with anyio.CancelScope(shield=True), anyio.fail_after(CLOSE_SECONDS):
            await adapter.close()
    except Exception as error:  # noqa: BLE001  # an adapter that fails to close must not keep its bot from a new one
        log.warning("adapter not closed", action="bot.close", bot=str(bot.key), error=type(error).__name__)


async def _run(bot: Bot, adapter: Adapter) -> None:
    with anyio.CancelScope() as connecting:
        connecting.deadline = anyio.current_time() + CONNECT_SECONDS

        def alive(changed: Bot) -> None:
            if changed.state is BotState.UP:
                connecting.deadline = math.inf

        forward = bot.on_change

        def both(changed: Bot) -> None:
            alive(changed)
            forward(changed)

        bot.on_change = both
        try:
            await adapter.run()
        finally:
            bot.on_change = forward
    if connecting.cancelled_caught:
        raise PlatformError(f"no connection within {CONNECT_SECONDS:.0f} s", hint="it will be tried again")
