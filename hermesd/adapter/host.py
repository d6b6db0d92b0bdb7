"""What one adapter gets from the gateway: it speaks for exactly one bot."""

import secrets
from collections.abc import Awaitable, Callable, Sequence

from hermesd.adapter.registry import Bot
from hermesd.address import AdapterKey, Address
from hermesd.clock import Clock
from hermesd.database import Database, Tx
from hermesd.ledger import inbound
from hermesd.message import RawEvent
from hermesd.ports import BotState, HttpMount, Log, SecretRef, TranscriptEntry

_TOKEN_GET = "SELECT token FROM bot_token WHERE platform = ? AND bot_id = ?"  # noqa: S105  # a statement, not a token
_TOKEN_SET = "INSERT OR IGNORE INTO bot_token(platform, bot_id, token) VALUES (?, ?, ?)"  # noqa: S105  # likewise

Ingest = Callable[[AdapterKey, Sequence[RawEvent], str | None], Awaitable[int]]


class Host:
    """Implements `ports.AdapterHost`."""

    def __init__(
        self,
        bot: Bot,
        *,
        ledger: Database,
        ingest: Ingest,
        read_secret: Callable[[SecretRef], str],
        http: HttpMount,
        clock: Clock,
        log: Log,
    ) -> None:
        self.key = bot.key
        self.clock = clock
        self.log = log
        self.http = http
        self._bot = bot
        self._ledger = ledger
        self._ingest = ingest
        self._read_secret = read_secret

    async def ingest(self, events: Sequence[RawEvent], cursor: str | None = None) -> int:
        return await self._ingest(self.key, events, cursor)

    async def cursor(self) -> str | None:
        return await self._ledger.read(lambda tx: inbound.cursor(tx, self.key))

    async def transcript(
        self, address: Address, *, after: str | None = None, limit: int = 200
    ) -> list[TranscriptEntry]:
        return await self._ledger.read(lambda tx: inbound.transcript(tx, address, after=after, limit=limit))

    async def durable_token(self) -> str:
        place = (self.key.platform, self.key.bot_id)
        fresh = secrets.token_urlsafe(32)

        def get_or_make(tx: Tx) -> str:
            tx.execute(_TOKEN_SET, (*place, fresh))
            return str(tx.execute(_TOKEN_GET, place).fetchone()[0])

        return await self._ledger.write(get_or_make)

    def secret(self, ref: SecretRef) -> str:
        return self._read_secret(ref)

    def report(self, state: BotState, detail: str = "", *, fix: str = "") -> None:
        self._bot.report(state, detail, fix)
