"""The composition root: the only place that builds things and hands them to each other."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hermesd.adapter.host import Host
from hermesd.adapter.registry import AdapterRegistry, Bot
from hermesd.address import Address
from hermesd.api import HttpServer
from hermesd.clock import Clock
from hermesd.daemon.fleet import Fleet
from hermesd.daemon.wiring import Wiring
from hermesd.database import Database
from hermesd.delivery.outbox import Outbox
from hermesd.gateway.commands.table import menu
from hermesd.gateway.desk import Desk
from hermesd.gateway.intake import Intake
from hermesd.gateway.lanes import Bounds, Lanes
from hermesd.gateway.live import Live
from hermesd.ledger.boot import Boot
from hermesd.ports import AdapterPlugin, Log, SecretRef
from hermesd.process import Launcher
from hermesd.profile import ProfileRegistry
from hermesd.tool.builtin import builtin_tools
from hermesd.turn.runner import TurnRunner
from hermesd.turn.spend import allowances
from hermesd.turn.tools import Toolbox


@dataclass(frozen=True, slots=True)
class House:
    """Everything that runs."""

    bots: AdapterRegistry
    fleet: Fleet
    outbox: Outbox
    runner: TurnRunner
    lanes: Lanes
    desk: Desk
    intake: Intake


@dataclass(frozen=True, slots=True)
class Ground:
    """What the house stands on: opened before it, closed after it."""

    ledger: Database
    boot: Boot
    profiles: ProfileRegistry
    live: Live
    http: HttpServer
    plugins: Mapping[str, AdapterPlugin]
    read_secret: Callable[[SecretRef], str]
    #: takes known secrets out of a text
    redact: Callable[[str], str]
    clock: Clock
    log: Log


def build(
    ground: Ground,
    *,
    reload: Callable[[], Awaitable[Mapping[str, Any]]],
    last_reload: Callable[[], Mapping[str, Any] | None],
    bind: Callable[[Address, str], Awaitable[str]],
) -> House:
    """Build every part once."""
    live, clock, log, ledger = ground.live, ground.clock, ground.log, ground.ledger
    wiring = Wiring(live)
    bots = AdapterRegistry()
    outbox = Outbox(ledger, bots, boot=ground.boot.epoch, clock=clock, log=log, on_migrated=wiring.migrated)
    toolbox = Toolbox(
        builtin_tools(),
        ledger,
        outbox,
        Launcher(),
        clock,
        ground.boot.epoch,
        may_write=wiring.may_write,
        redact=ground.redact,
    )
    runner = TurnRunner(
        ledger, bots, outbox, toolbox, ground.boot.epoch, clock, log,
        allowances=lambda: allowances(live.snapshot.settings.limits),
        formerly=lambda turn: live.formerly(turn.address.adapter, turn.address.chat_id),
    )  # fmt: skip
    lanes = Lanes(
        wiring.run_turn,
        held=wiring.held,
        on_hold=wiring.tell_held,
        bounds=lambda: _bounds(live),
        log=log,
    )
    desk = Desk(
        ledger, bots, outbox, lanes, ground.profiles, live, ground.boot.epoch, clock, log, reload, last_reload, bind
    )
    intake = Intake(desk)
    wiring.connect(desk, intake, runner)
    fleet = Fleet(
        bots, ground.plugins, lambda bot: _host(ground, intake, bot), ground.read_secret, menu(),
        take_up=wiring.take_up, part=wiring.part, clock=clock, log=log,
    )  # fmt: skip
    return House(bots, fleet, outbox, runner, lanes, desk, intake)


def _bounds(live: Live) -> Bounds:
    limits = live.snapshot.settings.limits
    return Bounds(limits.turns, limits.turns_per_profile, limits.lane_queue)


def _host(ground: Ground, intake: Intake, bot: Bot) -> Host:
    return Host(
        bot, ledger=ground.ledger, ingest=intake.ingest, read_secret=ground.read_secret, http=ground.http,
        clock=ground.clock, log=ground.log.bind(bot=str(bot.key)),
    )  # fmt: skip
