"""One web bot: a page on the one HTTP server, the ledger's transcript behind it."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import anyio

from hermesd.address import Address
from hermesd.errors import OperatorError, Rejected, Unauthorized, Unreachable
from hermesd.markup import split
from hermesd.message import InboundMessage, Outgoing, RawEvent, Receipt
from hermesd.ports import AdapterHost, BotState, Capabilities, Finding, Listen, Whereabouts
from hermesd_web.app import WebApp
from hermesd_web.event import TEXT_LIMIT, Said
from hermesd_web.feed import Feed
from hermesd_web.gate import Gate, allowed_hosts
from hermesd_web.guard import Guard
from hermesd_web.place import Place
from hermesd_web.settings import WebSettings

#: characters of one part of a reply
_PART = 16_000
#: pages open at once on one bot
_PAGES = 64
#: places remembered for the side bar besides the configured ones
_RECENT = 100
#: a token people choose themselves must not be guessable
_SHORTEST = 16


class WebAdapter:
    """Implements `ports.Adapter` and `ports.OffersLinks`."""

    capabilities = Capabilities(max_text=_PART, idempotent_send=True, typing=True, threads=True)

    def __init__(self, settings: WebSettings, host: AdapterHost) -> None:
        self.key = host.key
        #: the page's address without its secret; empty until the bot is up
        self.url = ""
        self._settings = settings
        self._host = host
        self._feed = Feed(_PAGES)
        self._menu: tuple[tuple[str, str], ...] = ()
        self._recent: OrderedDict[Place, None] = OrderedDict()
        self._token = ""

    async def run(self) -> None:
        """Serve the page until cancelled; streams end with it. Raises Unauthorized (short token) or Unreachable."""
        token = await self._secret()
        settings, http = self._settings, self._host.http
        gate = Gate(token, allowed_hosts(Listen.parse(settings.listen), settings.allowed_hosts), self._host.clock)
        app = WebApp(self._host, self._feed, self.state, self._heard)
        path = f"/{self.key.bot_id}"
        guarded = settings.token is not None
        try:
            base = await http.mount(settings.listen, path, Guard(app.starlette(), gate), guarded=guarded)
        except OperatorError as error:
            raise Unreachable(error.message, hint=error.hint) from error
        try:
            self._token, self.url = token, f"{base}/"
            self._host.report(BotState.UP, self.url)
            await anyio.sleep_forever()
        finally:
            self._token, self.url = "", ""
            with anyio.CancelScope(shield=True):
                await http.unmount(settings.listen, path)

    def links(self) -> Sequence[str]:
        """The page's address with its token behind `#`, which browsers never send; empty until the bot is up."""
        return (f"{self.url}#token={self._token}",) if self.url else ()

    def parse(self, event: RawEvent) -> Sequence[InboundMessage]:
        """Read one stored message. Raises ValueError for one the page would not have stored."""
        said = Said.read(event.raw)
        if said.id != event.event_id:
            raise ValueError("the event's id is not the message's")
        return (said.message(self.key),)

    def place(self, event: RawEvent) -> Whereabouts | None:
        """The room of a message that is not read: it was known when it was stored."""
        return None if event.place is None else Whereabouts(event.place, event.event_id)

    def split(self, text: str) -> Sequence[str]:
        return split(text, _PART)

    async def send(self, message: Outgoing) -> Receipt:
        """Show a stored delivery to whoever looks; the transcript is the history, so a repeat shows nothing twice."""
        if len(message.text) > _PART:
            raise Rejected(f"a part has {len(message.text)} characters, at most {_PART} are shown", reason="too_long")
        place = self._place(message.address)
        self._heard(place)
        return Receipt(message.delivery_id)

    async def typing(self, address: Address) -> None:
        self._feed.typing(self._place(address))

    async def commands(self, menu: Sequence[tuple[str, str]]) -> None:
        """Offer the commands while somebody types `/`."""
        self._menu = tuple(menu)
        self._feed.menu()

    async def probe(self, chats: Sequence[str] = ()) -> Sequence[Finding]:
        """Say how the page is guarded and where it is."""
        settings = self._settings
        if settings.token is not None and len(self._host.secret(settings.token)) < _SHORTEST:
            return (
                Finding("error", f"the token {settings.token} is too short", f"use {_SHORTEST} or more characters"),
            )
        if not Listen.parse(settings.listen).loopback:
            return (
                Finding(
                    "warning",
                    f"the web chat listens on {settings.listen} without encryption",
                    "put a reverse proxy with TLS before it, or listen on 127.0.0.1 and forward the port with ssh",
                ),
            )
        return (Finding("ok", f"the web chat is for this machine only, at http://{settings.listen}/"),)

    async def close(self) -> None:
        """Nothing is left open: `run` ends with its mount."""

    def state(self) -> dict[str, Any]:
        """What the page shows around a conversation."""
        places = dict.fromkeys((*self._settings.places, *reversed(self._recent)))
        return {
            "bot": {"id": self.key.bot_id, "title": self._settings.title},
            "rooms": [{"room": place.room, "thread": place.thread} for place in places],
            "commands": [{"name": name, "help": words} for name, words in self._menu],
            "text_limit": TEXT_LIMIT,
        }

    def _heard(self, place: Place) -> None:
        """Remember where something was said and wake who looks there."""
        self._recent[place] = None
        self._recent.move_to_end(place)
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        self._feed.grew(place)

    def _place(self, address: Address) -> Place:
        try:
            return Place.of(address)
        except ValueError as error:
            raise Rejected(f"{address} is not a room of the web chat: {error}", reason="chat_gone") from error

    async def _secret(self) -> str:
        ref = self._settings.token
        if ref is None:
            return await self._host.durable_token()
        token = self._host.secret(ref)
        if len(token) < _SHORTEST:
            raise Unauthorized(
                f"the token {ref} is too short: {len(token)} characters",
                hint=f"use {_SHORTEST} or more, for example from `openssl rand -base64 32`",
            )
        return token
