"""How much one client may ask of the HTTP server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds for one listen address."""

    #: bytes of one request body; more is answered 413
    body: int = 256 * 1024
    #: bytes of request line and headers; more is answered 400 or 431
    head: int = 32 * 1024
    #: open connections, streams included; more are closed unanswered
    connections: int = 256
    #: seconds from a connection's first byte, or its opening, to a whole request
    request_seconds: float = 15.0
    #: whole seconds an idle connection is kept between two requests
    keep_alive_seconds: int = 20
    #: seconds that running requests get when their mount goes away
    grace_seconds: float = 2.0
