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
from hermesd.daemon.applier import Applier, fingerprint
from hermesd.daemon.binding import Binding
from hermesd.daemon.calls import Birth, Calls
from hermesd.daemon.drain import Drain
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
from hermesd.profile import ProfileRegistry
from hermesd.reload import Reloader
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
        async with AsyncExitStack() as stack:
            stack.enter_context(self._signals())
            settings = await self._first_settings()
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
        gc.disable()  # a full collection over a hundred thousand young nodes would stop the loop for 60 ms
        try:
            return await to_thread.run_sync(read)
        finally:
            gc.enable()

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
                cache_kib=1000,
                on_health=self._disk,
                crash=self.crash,
            )
        )
        at = self.clock.now()
        this = await ledger.write(lambda tx: boot.start(tx, at=at, pid=os.getpid(), version=__version__))
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
        self._hide_secrets(profiles)
        for name, why in profiles.unavailable().items():
            self.log.warning("profile cannot run", action="profile.broken", profile=name, detail=why)
        whole = fingerprint(settings, profiles.digest)
        epoch = await ledger.write(lambda tx: boot.config_epoch(tx, whole, at=at))
        live = Live(Snapshot.of(epoch, settings, at))
        await engines.warm()
        http = await stack.enter_async_context(HttpServer(self.log).running())
        return Ground(
            ledger, this, profiles, live, http, self.plugins, self._secrets(), self.logging.redaction.text, self.clock,
            self.log,
        )  # fmt: skip

    def _build(self, ground: Ground) -> tuple[House, Reloader]:
        applier = Applier(ground, self.load, partial(self._took_up, ground), ground.live.snapshot.settings)
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
        filed = await history.file_left_over(ground.ledger, ground.profiles, self.log)
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
        live = ground.live
        notifier = Notifier(self.environment.notify_socket)
        watchdog = Watchdog(self._watchdog_seconds())
        upkeep = Upkeep(ground.ledger, notifier, watchdog, self.clock, self.log)
        calls = Calls(house.desk, Birth(os.getpid(), started, str(self.config), self.state))
        control = ControlServer(self.state / "control.sock", calls.table(), self.log)
        tasks.start_soon(LoopWatch(self.clock, watchdog.period or FROZEN_SECONDS).run, name="loop watch")
        tasks.start_soon(house.outbox.run, name="outbox")
        tasks.start_soon(house.intake.run, name="intake")
        tasks.start_soon(house.lanes.run, name="lanes")
        tasks.start_soon(house.fleet.run, name="fleet")
        tasks.start_soon(upkeep.prove_life, name="watchdog")
        tasks.start_soon(upkeep.forget, lambda: live.snapshot.settings.retention_days, name="retention")
        tasks.start_soon(self._serve_control, control, name="control")
        tasks.start_soon(self._reload_on_hangup, reloader, notifier, name="reload")
        await house.fleet.apply(live.snapshot.settings.bots)
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
        troubles = tuple(
            f"{bot.key} is {bot.state}: {bot.detail}" for bot in house.bots.values() if bot.state is not BotState.UP
        )
        self.on_ready(Ready(calls.open_links(), bots, tuple(ground.profiles), troubles))

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
        Notifier(self.environment.notify_socket).stopping("finishing what runs", within=budget)
        drain = Drain(house.fleet, house.intake, house.lanes, house.outbox, ground.ledger, self.clock, self.log)
        with self._giving_up:
            await drain.run(budget)
        if self._giving_up.cancelled_caught:
            await drain.give_up()
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

    def _took_up(self, ground: Ground, settings: Settings) -> None:
        self._hide_secrets(ground.profiles)
        self.logging.tune(settings.log.format, settings.log.level)

    def _hide_secrets(self, profiles: ProfileRegistry) -> None:
        """Whatever stands in a profile's .env never reaches a log, a row or a model."""
        for name in profiles:
            if name not in profiles.unavailable():
                for value in profiles[name].secrets.confidential():
                    self.logging.redaction.add(value)


async def _bots_settled(house: House) -> None:
    """Wait until no bot is still starting."""
    while any(bot.state is BotState.STARTING for bot in house.bots.values()):
        await house.fleet.changed.wait()
