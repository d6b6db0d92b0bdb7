"""How requests reach a Bot API server: python-telegram-bot's own Bot on connections that many bots share.

A TLS context costs 1.6 MB; here all bots of one endpoint share one context and two stacks of connections, one for long
polls and one for everything else, so that waiting for messages never keeps an answer from leaving.
"""

import json
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from telegram import Bot
from telegram.error import NetworkError, TelegramError, TimedOut
from telegram.request import BaseRequest, RequestData

from hermesd_telegram.lines import Lines

#: requests at once to one endpoint, long polls not counted, and how many connections stay open for them
SENDS, KEPT = 64, 16
#: long polls at once: more bots than one machine has
POLLS = 10_000
#: seconds an idle connection is trusted
KEEPALIVE = 30.0
#: seconds; a read takes longer only for long polls, which say so
TIMEOUTS = {"connect": 10.0, "write": 20.0, "read": 30.0, "pool": 20.0}
#: failures before the first byte of a request left
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError, httpx.UnsupportedProtocol)


class NotSent(NetworkError):
    """The request never left this machine."""


class ServerTrouble(NetworkError):
    """The server answered 5xx: whether it did the work is not known."""


class TooMany(TelegramError):
    """The server answered 429; nothing was done."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"Too Many Requests: retry after {retry_after:g}")
        self.retry_after = retry_after


class InvalidAnswer(TelegramError):
    """The server answered something that is no Bot API answer."""


@dataclass(slots=True)
class Endpoint:
    """The connections to one Bot API server."""

    polls: Lines
    sends: Lines
    users: int = 0

    async def close(self) -> None:
        """Close every connection."""
        await self.polls.close()
        await self.sends.close()


@dataclass(slots=True)
class Endpoints:
    """The endpoints in use; the last user gone closes its connections. Owned by the plugin."""

    open: dict[tuple[str, str | None], Endpoint] = field(default_factory=dict)

    @asynccontextmanager
    async def lease(self, base_url: str, proxy: str | None) -> AsyncIterator[Endpoint]:
        """Use an endpoint for the length of the block."""
        endpoint = self.acquire(base_url, proxy)
        try:
            yield endpoint
        finally:
            await self.release(base_url, proxy)

    def acquire(self, base_url: str, proxy: str | None) -> Endpoint:
        """Start using an endpoint; `release` it as often."""
        key = (base_url, proxy)
        if key not in self.open:
            self.open[key] = _connect(base_url, proxy)
        self.open[key].users += 1
        return self.open[key]

    async def release(self, base_url: str, proxy: str | None) -> None:
        """Stop using it."""
        key = (base_url, proxy)
        self.open[key].users -= 1
        if not self.open[key].users:
            await self.open.pop(key).close()


def _connect(base_url: str, proxy: str | None) -> Endpoint:
    secure = base_url.startswith("https:")
    # certificates cost 1.6 MB and 20 ms to read: only where there is something to check
    context = httpx.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE)

    def connect() -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy)

    return Endpoint(Lines(connect, most=POLLS, kept=POLLS), Lines(connect, most=SENDS, kept=KEPT))


class SharedRequest(BaseRequest):
    """A `telegram.request` over shared connections, one per bot and pool.

    It speaks to the transport below httpx's client, which would log every address, and with it the token, at INFO.
    """

    __slots__ = ("_lines", "_urls")

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._urls: dict[str, httpx.URL] = {}

    @property
    def read_timeout(self) -> float:
        return TIMEOUTS["read"]

    async def initialize(self) -> None:
        """Nothing: lines connect when needed."""

    async def shutdown(self) -> None:
        """Nothing: the lines belong to the plugin."""

    async def do_request(
        self,
        url: str,
        method: str,
        request_data: RequestData | None = None,
        read_timeout: Any = BaseRequest.DEFAULT_NONE,
        write_timeout: Any = BaseRequest.DEFAULT_NONE,
        connect_timeout: Any = BaseRequest.DEFAULT_NONE,
        pool_timeout: Any = BaseRequest.DEFAULT_NONE,
    ) -> tuple[int, bytes]:
        """One request. Raises NotSent, ServerTrouble, TooMany, TimedOut or NetworkError by what is known about it."""
        timeout = {**TIMEOUTS, "read": read_timeout} if isinstance(read_timeout, int | float) else TIMEOUTS
        body = json.dumps(request_data.parameters, ensure_ascii=True).encode() if request_data else b""
        request = httpx.Request(
            method,
            self._urls.get(url) or self._urls.setdefault(url, httpx.URL(url)),
            headers={"User-Agent": self.USER_AGENT, "Content-Type": "application/json"},
            content=body,
            extensions={"timeout": timeout},
        )
        try:
            response, payload = await self._lines.fetch(request)
        except _NOT_SENT as error:
            raise NotSent(f"{type(error).__name__}: {error}") from None
        except httpx.TimeoutException as error:
            raise TimedOut(type(error).__name__) from None
        except httpx.HTTPError as error:
            raise NetworkError(f"{type(error).__name__}: {error}") from None
        return _judged(response, payload)

    @staticmethod
    def parse_json_payload(payload: bytes) -> dict[str, Any]:
        """Read an answer. Raises InvalidAnswer, which never repeats it."""
        try:
            answer = json.loads(payload)
        except (ValueError, RecursionError):
            raise InvalidAnswer(f"not JSON: {len(payload)} bytes") from None
        if not isinstance(answer, dict) or ("result" not in answer and answer.get("ok") is not False):
            raise InvalidAnswer("not a Bot API answer")
        return answer


def _judged(response: httpx.Response, payload: bytes) -> tuple[int, bytes]:
    """Pull out what the SDK would blur: 429 without its parameters, and 5xx."""
    status = response.status_code
    if status == 429:
        raise TooMany(_retry_after(response, payload))
    if status >= 500:
        raise ServerTrouble(f"HTTP {status}")
    return status, payload


def _retry_after(response: httpx.Response, payload: bytes) -> float:
    """Seconds to wait: the Bot API's parameter, the header, or one."""
    try:
        asked = json.loads(payload)["parameters"]["retry_after"]
    except (ValueError, LookupError, TypeError, RecursionError):
        asked = response.headers.get("retry-after")
    try:
        return max(0.0, float(asked))
    except (TypeError, ValueError):
        return 1.0


class RawBot(Bot):
    """The SDK's Bot, asked for raw results: reading each answer into its types costs more than sending."""

    #: the SDK logs its address, and with it the token, at DEBUG: only its warnings are let out
    _LOGGER = logging.Logger("hermesd_telegram.sdk", logging.WARNING)  # noqa: LOG001 - must not inherit a DEBUG level

    async def ask(self, method: str, *, read_timeout: float | None = None, **data: Any) -> Any:
        """Call a Bot API method; returns `result` as it came. Raises telegram.error.TelegramError."""
        try:
            if read_timeout is None:
                return await self._post(method, data)
            return await self._post(method, data, read_timeout=read_timeout)
        except (KeyError, TypeError, AttributeError) as odd:
            # the SDK indexes into answers it has not checked
            raise InvalidAnswer(f"an answer without the expected fields ({type(odd).__name__})") from None


def make_bot(token: str, base_url: str, endpoint: Endpoint) -> RawBot:
    """The bot behind a token on these connections. No I/O."""
    return RawBot(
        token,
        base_url=f"{base_url}/bot",
        base_file_url=f"{base_url}/file/bot",
        request=SharedRequest(endpoint.sends),
        get_updates_request=SharedRequest(endpoint.polls),
    )
