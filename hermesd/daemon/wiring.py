"""The few calls that run upwards: parts below are given these, and they are connected once everything stands."""

from functools import partial

from hermesd.address import AdapterKey, Address
from hermesd.errors import ProfileUnavailable
from hermesd.gateway.desk import Desk
from hermesd.gateway.hold import Hold, unavailable
from hermesd.gateway.intake import Intake
from hermesd.gateway.live import Live
from hermesd.ledger.turn import Turn
from hermesd.turn.runner import TurnRunner

#: seconds after which a turn whose profile could not be used is tried again; a reload tries at once
RETRY_SECONDS = 10.0


class Wiring:
    """Late-bound callbacks between the rooms."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._desk: Desk
        self._intake: Intake
        self._runner: TurnRunner

    def connect(self, desk: Desk, intake: Intake, runner: TurnRunner) -> None:
        """Called once, before anything runs."""
        self._desk, self._intake, self._runner = desk, intake, runner

    async def run_turn(self, turn: Turn) -> None:
        """Open the turn's profile by name and run it; one that cannot be had keeps its turn waiting."""
        found = self._desk.open(turn.profile)
        try:
            if isinstance(found, ProfileUnavailable):
                raise found
            if not self._desk.still_admitted(turn, found):
                await self._runner.refuse(turn, "no longer allowed", "Sorry, I may not talk to you here any more.")
                return
            await self._runner.run(turn, found)
        except ProfileUnavailable as error:
            self._desk.log.warning(
                "turn waits", action="turn.wait", turn=turn.id, profile=turn.profile, detail=error.message
            )
            self._desk.lanes.put_back(turn, partial(self._desk.clock.sleep, RETRY_SECONDS))
            await self._desk.tell_held(turn, unavailable(turn.profile, error))

    def held(self, turn: Turn) -> Hold | None:
        return self._desk.held(turn)

    async def tell_held(self, turn: Turn, reason: Hold) -> None:
        await self._desk.tell_held(turn, reason)

    def migrated(self, key: AdapterKey, old_chat: str, new_chat: str) -> None:
        self._intake.migrated(key, old_chat, new_chat)

    def may_write(self, profile: str, address: Address) -> bool:
        """A profile may write to a chat that a route names and gives to it; one for a whole platform is too wide."""
        found = self._live.snapshot.routes.resolve(address, aliases=self._live.aliases)
        return found.route is not None and found.route.chat is not None and found.profile == profile

    async def take_up(self, key: AdapterKey) -> None:
        """A bot has an adapter: decide what waits to be decided, send what was parked."""
        await self._intake.recover(key)
        await self._desk.outbox.take_up(key)

    async def part(self, key: AdapterKey) -> None:
        """A bot left the configuration."""
        parked = await self._desk.outbox.park(key, "the bot was taken out of the configuration")
        self._desk.log.warning("bot removed", action="bot.removed", bot=str(key), parked_deliveries=parked)
