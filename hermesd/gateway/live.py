"""What the gateway goes by right now: swapped as one value by a reload, mirrored from the ledger otherwise."""

from dataclasses import dataclass, field

from hermesd.address import AdapterKey
from hermesd.ledger.pause import Pause
from hermesd.ports import AccessSettings
from hermesd.route import RouteTable
from hermesd.settings import Settings


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One applied configuration."""

    #: increases with each configuration that was applied
    epoch: int
    settings: Settings
    routes: RouteTable
    access: dict[AdapterKey, AccessSettings]
    #: Unix seconds
    applied_at: float

    @classmethod
    def of(cls, epoch: int, settings: Settings, at: float) -> "Snapshot":
        """Of the bots only those that are enabled."""
        access = {AdapterKey(bot.platform, bot.bot_id): bot.access for bot in settings.bots if bot.enabled}
        return cls(epoch, settings, settings.routes, access, at)


@dataclass(slots=True)
class Live:
    """The current snapshot, and the small tables of the ledger that every message is held against."""

    snapshot: Snapshot
    #: (bot, old chat id) -> new chat id
    aliases: dict[tuple[AdapterKey, str], str] = field(default_factory=dict)
    #: (bot, user id) let in by pairing
    permits: frozenset[tuple[AdapterKey, str]] = frozenset()
    #: by scope
    pauses: dict[str, Pause] = field(default_factory=dict)
    #: why no turn may run although nobody paused anything (crash loop); empty = normal
    safe_mode: str = ""

    def formerly(self, key: AdapterKey, chat_id: str) -> tuple[str, ...]:
        """Ids this chat had before it migrated."""
        return tuple(old for (bot, old), new in self.aliases.items() if bot == key and new == chat_id)
