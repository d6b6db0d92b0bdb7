"""The life of the daemon, told in order: start-up, loop, drain with a deadline, end."""

import asyncio
import gc
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from hermesd import __version__, audit
from hermesd.agent.factory import EngineFactory
from hermesd.agent.settings import ModelSettings
from hermesd.api import HttpServer
from hermesd.clock import Clock
from hermesd.control import ControlServer
from hermesd.daemon import house as composition
from hermesd.daemon.binding import Binding
from hermesd.daemon.calls import Birth, Calls
from hermesd.daemon.drain import Drain
from hermesd.daemon.fleet import FleetChange
from hermesd.daemon.house import Ground, House
from hermesd.daemon.upkeep import Upkeep
from hermesd.database import Database, DatabaseHealth, Tx
from hermesd.errors import ConfigError, LedgerUnavailable
from hermesd.gateway.live import Live, Snapshot
from hermesd.ledger import boot, chat, pairing, pause, usage
from hermesd.ledger import turn as turns
from hermesd.ledger.schema import MIGRATIONS
from hermesd.logs import Logging
from hermesd.notify import LoopWatch, Notifier, Ready, Watchdog
from hermesd.ports import AdapterPlugin, BotState, Log, SecretRef
from hermesd.profile import ProfileDiff, ProfileRegistry, Survey
from hermesd.reload import Reloader, Report, differences
from hermesd.settings import Environment, Loaded, Settings, load
from hermesd.turn import history, recovery

#: seconds the start waits for bots before it says that it is ready without them
BOTS_SECONDS = 3.0
#: seconds the loop may stand still where systemd sets no watchdog
FROZEN_SECONDS = 60.0


@dataclass(slots=True)
class Life:
    """One run of the daemon, from a held state directory to its exit code."""

    config: Path
    state: Path
    environment: Environment
    clock: Clock
    logging: Logging
    plugins: Mapping[str, AdapterPlugin]
    on_ready: Callable[[Ready], None]
    #: named points at which tests end the process
    crash: Callable[[str], None] = lambda point: None
    #: for benches: profiles may use the provider `null`
    allow_null: bool = False
    log: Log = field(init=False)
    _stop: anyio.Event = field(default_factory=anyio.Event)
    _hangup: anyio.Event = field(default_factory=anyio.Event)
    _giving_up: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def __post_init__(self) -> None:
        self.log = self.logging.logger()

    async def run(self) -> None:
        """Start, work until a signal, drain, end. Raises OperatorError when it cannot start."""
        started = self.clock.monotonic()
        settings = await self._first_settings()
        async with AsyncExitStack() as stack:
            stack.enter_context(self._signals())
            ground = await self._ground(stack, settings)
            house, reloader = self._build(ground)
            await self._recover(ground, house)
            async with anyio.create_task_group() as tasks:
                await self._begin(tasks, ground, house, reloader, started)
                await self._stop.wait()
                await self._drain(ground, house)
                tasks.cancel_scope.cancel()
            await self._sign_off(ground)
        self.log.info("stopped", action="daemon.stop")

    async def _sign_off(self, ground: Ground) -> None:
        try:
            await ground.ledger.write(partial(boot.end, boot=ground.boot, at=self.clock.now()), give_up=2.0)
        except LedgerUnavailable as error:
            # a full disk must not keep the daemon from ending; this epoch then counts as a crash
            self.log.warning("the orderly end is not on record", action="daemon.stop", detail=error.message)

    # --- start-up --------------------------------------------------------------------------------------------------

    async def load(self, profiles: frozenset[str] | None = None) -> Loaded:
        # off the loop: a file with ten thousand routes takes a while
        read = partial(load, self.config, env=self.environment, plugins=self.plugins, profiles=profiles)
        return await to_thread.run_sync(read)

    async def _first_settings(self) -> Settings:
        loaded = await self.load()
        for problem in loaded.problems:
            if problem.level == "warning":
                self.log.warning(str(problem), action="config.warning")
        if loaded.settings is None:
            raise ConfigError(loaded.problems)
        self.logging.tune(loaded.settings.log.format, loaded.settings.log.level)
        return loaded.settings

    async def _ground(self, stack: AsyncExitStack, settings: Settings) -> Ground:
        ledger = await stack.enter_async_context(
            Database.opened(
                self.state / "ledger.db",
                MIGRATIONS,
                log=self.log,
                clock=self.clock,
                on_health=self._disk,
                crash=self.crash,
            )
        )
        at = self.clock.now()
        this = await ledger.write(lambda tx: boot.start(tx, at=at, pid=os.getpid(), version=__version__))
        epoch = await ledger.write(lambda tx: boot.config_epoch(tx, settings.digest, at=at))
        live = Live(Snapshot.of(epoch, settings))
        engines = EngineFactory(log=self.log, clock=self.clock, allow_null=self.allow_null)
        stack.push_async_callback(engines.close)
        profiles = ProfileRegistry(
            self.state / settings.profiles_dir,
            engines=engines.build,
            read_model=ModelSettings.model_validate,
            log=self.log,
            clock=self.clock,
            log_for=lambda name, file: self.logging.logger(file=file, profile=name),
            crash=self.crash,
        )
        await stack.enter_async_context(profiles.running())
        self.hide_secrets(profiles)
        await engines.warm()
        http = await stack.enter_async_context(HttpServer(self.log).running())
        return Ground(
            ledger, this, profiles, live, http, self.plugins, self._secrets(), self.logging.redaction.text, self.clock,
            self.log,
        )  # fmt: skip

    def _build(self, ground: Ground) -> tuple[House, Reloader]:
        applier = _Applier(self, ground)
        reloader = Reloader(
            load=applier.load, apply=applier.apply, epoch=lambda: ground.live.snapshot.epoch, clock=self.clock,
            log=self.log,
        )  # fmt: skip
        binding = Binding(
            self.config,
            partial(load, env=self.environment, plugins=self.plugins, profiles=None),
            lambda platform: tuple(
                bot.bot_id for bot in ground.live.snapshot.settings.bots if bot.platform == platform
            ),
            lambda: frozenset(ground.profiles),
            reloader.reload,
        )

        async def reload() -> Mapping[str, Any]:
            return (await reloader.reload()).plain()

        house = composition.build(
            ground, reload=reload, last_reload=lambda: reloader.last.plain() if reloader.last else None,
            bind=binding.write,
        )  # fmt: skip
        applier.house = house
        return house, reloader

    async def _recover(self, ground: Ground, house: House) -> None:
        """Take up by boot epoch what earlier boots left: turns, deliveries, reservations, unfiled exchanges."""
        epoch, at = ground.boot.epoch, self.clock.now()

        def take_up(tx: Tx) -> int:
            left = recovery.recover(tx, boot=epoch, at=at)
            usage.settle_dead(tx, boot=epoch)
            audit.append(tx, at=at, kind="daemon.start", subject=f"boot {epoch}", detail={"version": __version__})
            return left

        left = await ground.ledger.write(take_up)
        await self._mirror(ground)
        waiting = await ground.ledger.read(turns.queued)
        filed = await history.file_left_over(ground.ledger, ground.profiles)
        sending = await house.outbox.recover()
        for turn in waiting:
            house.lanes.offer(turn)
        self.log.info(
            "taken up", action="daemon.recover", boot=epoch, interrupted=left, queued=len(waiting), filed=filed,
            deliveries=sending,
        )  # fmt: skip
        if ground.live.safe_mode:
            self.log.error(ground.live.safe_mode, action="daemon.safe_mode", hint="`hermesd resume all` goes on")

    async def _mirror(self, ground: Ground) -> None:
        """Read the small tables every message is held against."""
        since, live = self.clock.now() - recovery.CRASH_WINDOW, ground.live

        def read(tx: Tx) -> int:
            return boot.unclean_since(tx, ground.boot, since)

        live.pauses = await ground.ledger.read(pause.active)
        live.permits = await ground.ledger.read(pairing.permits)
        live.aliases = await ground.ledger.read(chat.aliases)
        live.safe_mode = recovery.safe_mode(await ground.ledger.read(read), live.snapshot.settings.crash_limit)

    async def _begin(self, tasks: TaskGroup, ground: Ground, house: House, reloader: Reloader, started: float) -> None:
        settings = ground.live.snapshot.settings
        notifier = Notifier(self.environment.notify_socket)
        watchdog = Watchdog(self._watchdog_seconds())
        upkeep = Upkeep(ground.ledger, notifier, watchdog, self.clock, self.log)
        birth = Birth(os.getpid(), started, str(self.config), str(self.state), self.clock.now())
        control = ControlServer(self.state / "control.sock", Calls(house.desk, house.intake, birth).table(), self.log)
        tasks.start_soon(LoopWatch(self.clock, watchdog.period or FROZEN_SECONDS).run, name="loop watch")
        tasks.start_soon(house.outbox.run, name="outbox")
        tasks.start_soon(house.intake.run, name="intake")
        tasks.start_soon(house.lanes.run, name="lanes")
        tasks.start_soon(house.fleet.run, name="fleet")
        tasks.start_soon(upkeep.prove_life, name="watchdog")
        tasks.start_soon(upkeep.forget, settings.retention_days, name="retention")
        tasks.start_soon(self._serve_control, control, name="control")
        tasks.start_soon(self._reload_on_hangup, reloader, notifier, name="reload")
        await house.fleet.apply(settings.bots)
        with anyio.move_on_after(BOTS_SECONDS):
            await _bots_settled(house)
        gc.collect()
        gc.freeze()  # a full collection over everything loaded so far would stop the loop for 200 ms, again and again
        bots = tuple(str(key) for key in house.bots)
        notifier.ready(f"{len(bots)} bots, {len(ground.profiles)} profiles")
        self.log.info(
            "ready", action="daemon.ready", seconds=round(self.clock.monotonic() - started, 3), bots=bots,
            profiles=len(ground.profiles), epoch=ground.live.snapshot.epoch,
        )  # fmt: skip
        self.on_ready(Ready(Calls(house.desk, house.intake, birth).open_links(), bots, tuple(ground.profiles)))

    # --- loop ------------------------------------------------------------------------------------------------------

    async def _serve_control(self, control: ControlServer) -> None:
        async with control.running():
            await anyio.sleep_forever()

    async def _reload_on_hangup(self, reloader: Reloader, notifier: Notifier) -> None:
        while True:
            await self._hangup.wait()
            self._hangup = anyio.Event()
            notifier.reloading(self.clock.monotonic())
            report = await reloader.reload()
            notifier.ready(f"reload {report.result}, config epoch {report.epoch}")

    # --- end -------------------------------------------------------------------------------------------------------

    async def _drain(self, ground: Ground, house: House) -> None:
        budget = ground.live.snapshot.settings.drain_seconds
        self.log.info("draining", action="daemon.drain", budget=budget, running=house.lanes.total)
        Notifier(self.environment.notify_socket).stopping("finishing what runs")
        drain = Drain(house.fleet, house.intake, house.lanes, house.outbox, ground.ledger, self.clock, self.log)
        with self._giving_up:
            await drain.run(budget)
            await house.runner.flush()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C drain, a second one gives up the drain; SIGHUP reloads."""
        loop = asyncio.get_running_loop()
        kinds = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        loop.add_signal_handler(signal.SIGHUP, self._asked_to_reload)
        for kind in kinds[:2]:
            loop.add_signal_handler(kind, self._asked_to_stop)
        try:
            yield
        finally:
            for kind in kinds:
                loop.remove_signal_handler(kind)

    def _asked_to_reload(self) -> None:
        self._hangup.set()

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            self._giving_up.cancel()
        self._stop.set()

    # --- small parts -----------------------------------------------------------------------------------------------

    def _watchdog_seconds(self) -> float:
        """systemd's WatchdogSec, if it is about this process."""
        environment = self.environment
        if environment.watchdog_usec is None or environment.watchdog_pid not in (None, os.getpid()):
            return 0.0
        return environment.watchdog_usec / 1_000_000

    def _disk(self, health: DatabaseHealth) -> None:
        say = self.log.info if health.state == "ok" else self.log.error
        say("ledger", action="database.health", state=health.state, detail=health.detail)

    def _secrets(self) -> Callable[[SecretRef], str]:
        source = self.environment.secrets(self.config)

        def read(ref: SecretRef) -> str:
            secret = str(source.read(ref))
            self.logging.redaction.add(secret)
            return secret

        return read

    def hide_secrets(self, profiles: ProfileRegistry) -> None:
        """Whatever stands in a profile's .env never reaches a log, a row or a model."""
        for name in profiles:
            for value in profiles[name].secrets.values():
                self.logging.redaction.add(value)


@dataclass(slots=True)
class _Applier:
    """Takes up a validated configuration as a whole."""

    life: Life
    ground: Ground
    house: House | None = None
    _survey: Survey | None = None

    async def load(self) -> Loaded:
        """Read the configuration and every profile; nothing changes yet."""
        self._survey = await self.ground.profiles.survey()
        return await self.life.load(frozenset(self._survey.blueprints))

    async def apply(self, new: Settings) -> Report:
        """Swap in one step, then restart only the bots that need it."""
        if self.house is None or self._survey is None:
            raise RuntimeError("a reload before the house stood")
        live, at = self.ground.live, self.life.clock.now()
        old = live.snapshot
        changed, fixed = differences(old.settings, new)
        diff = self.ground.profiles.adopt(self._survey)
        digest = f"{new.digest}:{self.ground.profiles.generation}" if diff.changed or diff.added else new.digest
        epoch = old.epoch
        if changed or diff.added or diff.changed or diff.removed:
            epoch = await self.ground.ledger.write(lambda tx: self._record(tx, digest, changed, at))
        live.snapshot = Snapshot.of(epoch, new)
        self.life.hide_secrets(self.ground.profiles)
        self.life.logging.tune(new.log.format, new.log.level)
        fleet = await self.house.fleet.apply(new.bots)
        self.house.lanes.refresh()
        applied = (*(f"{name} changed" for name in changed), *_profiles(diff), *_bots(fleet))
        return Report(
            "applied" if applied or fixed else "unchanged", epoch, at, applied,
            tuple(f"{name}: takes effect at the next start" for name in fixed),
            tuple(str(problem) for problem in diff.problems if problem.level == "error"),
        )  # fmt: skip

    def _record(self, tx: Tx, digest: str, changed: tuple[str, ...], at: float) -> int:
        audit.append(tx, at=at, kind="config.applied", actor="operator", detail={"changed": list(changed)})
        pause.forget_notices(tx, "unavailable|")
        return boot.config_epoch(tx, digest, at=at)


def _profiles(diff: ProfileDiff) -> tuple[str, ...]:
    return (
        *(f"profile {name} added" for name in diff.added),
        *(f"profile {name} changed" for name in diff.changed),
        *(f"profile {name} removed" for name in diff.removed),
        *(f"profile {name} kept as it was: its files have errors" for name in diff.kept),
    )


def _bots(change: FleetChange) -> tuple[str, ...]:
    return (
        *(f"bot {key} started" for key in change.started),
        *(f"bot {key} stopped" for key in change.stopped),
        *(f"bot {key} restarted" for key in change.restarted),
    )


async def _bots_settled(house: House) -> None:
    """Wait until no bot is still starting."""
    while any(bot.state is BotState.STARTING for bot in house.bots.values()):
        await house.fleet.changed.wait()
