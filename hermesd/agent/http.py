"""The HTTP clients all profiles share: one per endpoint, with no memory of who used it."""

import ssl
from collections.abc import AsyncIterator
from functools import cached_property
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2

#: a provider's answer never needs more; beyond it the answer is given up
BODY_CAP = 32 * 1024 * 1024


class BodyTooLarge(httpx2.TransportError):
    """The provider sent more than a model answer can be."""


class _Capped(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for piece in self._stream:
            total += len(piece)
            if total > BODY_CAP:
                raise BodyTooLarge(f"the answer is larger than {BODY_CAP} bytes")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _CappedTransport(httpx2.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Capped(response.stream)
        return response


class HttpPool:
    """One client per base URL, one SSLContext for all; keys travel in each request's own headers.

    Clients read no environment (no proxies, no netrc), keep no cookies and follow no redirects, so nothing of one
    profile can reach another through them.
    """

    def __init__(self) -> None:
        self._clients: dict[str, httpx2.AsyncClient] = {}

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx2.create_ssl_context(trust_env=False)

    def client(self, base_url: str) -> httpx2.AsyncClient:
        """The client of this endpoint, made on first use."""
        if (client := self._clients.get(base_url)) is None:
            client = self._clients[base_url] = self._make(base_url)
        return client

    def _make(self, base_url: str) -> httpx2.AsyncClient:
        limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=50, keepalive_expiry=60)
        verify = self._tls if base_url.startswith("https:") else False
        return httpx2.AsyncClient(
            transport=_CappedTransport(verify=verify, trust_env=False, limits=limits),
            trust_env=False,
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"accept-encoding": "identity"},
        )

    def __len__(self) -> int:
        return len(self._clients)

    async def close(self) -> None:
        """Close every connection; the pool is empty afterwards."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.aclose()
