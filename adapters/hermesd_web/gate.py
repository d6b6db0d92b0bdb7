"""Who may ask the page's API: the holder of the token, from the page itself."""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from hermesd.clock import Clock
from hermesd.ports import Listen

Verdict = Literal["ok", "host", "origin", "token", "throttled"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
#: wrong tokens one client may try at once
_BURST = 10
#: seconds until one more try is allowed
_REFILL = 3.0
#: clients remembered
_CLIENTS = 1024


def allowed_hosts(listen: Listen, extra: Collection[str]) -> frozenset[str]:
    """Host names under which the page answers: loopback, the address it listens on, and what the operator wrote."""
    own = frozenset() if listen.wildcard else frozenset({listen.host})
    return _LOOPBACK | own | frozenset(extra)


def host_name(header: str) -> str:
    """The name in a Host header without its port, lower case."""
    if header.startswith("["):
        return header[1:].partition("]")[0].lower()
    return header.partition(":")[0].lower()


def host_allowed(headers: Mapping[str, str], hosts: Collection[str]) -> bool:
    """Whether the browser believes to talk to us: a foreign name pointed at this machine is refused."""
    return host_name(headers.get("host", "")) in hosts


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from our own page, or from no page at all."""
    origin = headers.get("origin")
    if origin is not None and origin not in (f"http://{headers.get('host')}", f"https://{headers.get('host')}"):
        return False
    return headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


@dataclass(slots=True)
class _Tries:
    """What is left of one client's wrong tries; refills with time."""

    left: float
    at: float


class Gate:
    """Checks one bot's requests. Keeps a hash of the token, not the token."""

    def __init__(self, token: str, hosts: Collection[str], clock: Clock) -> None:
        self._digest = _digest(token)
        self._hosts = frozenset(hosts)
        self._clock = clock
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def judge_page(self, headers: Mapping[str, str]) -> Verdict:
        """Whether the page itself, which holds nothing, may be shown."""
        return "ok" if host_allowed(headers, self._hosts) else "host"

    def judge(self, headers: Mapping[str, str], client: str) -> Verdict:
        """Whether an API request may pass. A client with too many wrong tokens is not even compared."""
        if not host_allowed(headers, self._hosts):
            return "host"
        if not same_origin(headers):
            return "origin"
        tries = self._refilled(client)
        if tries.left < 1:
            return "throttled"
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(_digest(token.strip()), self._digest):
            return "ok"
        tries.left -= 1
        self._remember(client, tries)
        return "token"

    def _refilled(self, client: str) -> _Tries:
        now = self._clock.monotonic()
        known = self._tries.get(client)
        if known is None:
            return _Tries(_BURST, now)
        known.left = min(_BURST, known.left + (now - known.at) / _REFILL)
        known.at = now
        return known

    def _remember(self, client: str, tries: _Tries) -> None:
        self._tries[client] = tries
        self._tries.move_to_end(client)
        while len(self._tries) > _CLIENTS:
            self._tries.popitem(last=False)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
