"""Where an HTTP socket is opened, as a value."""

import ipaddress
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Listen:
    """An IP address and a TCP port of this machine."""

    #: IP literal without brackets
    host: str
    #: 0 lets the system pick one
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `IP:PORT`, `[IPv6]:PORT` or `localhost:PORT`. Raises ValueError that says what was expected."""
        host, colon, port = text.strip().rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            host = ""
        try:
            address = str(ipaddress.ip_address("127.0.0.1" if host == "localhost" else host))
            number = int(port) if port.isascii() and port.isdigit() else -1
        except ValueError:
            address, number = "", -1
        if not (colon and address and 0 <= number <= 65535):
            raise ValueError(f"{text!r} is not an address to listen on: expected IP:PORT, for example 127.0.0.1:8600")
        return cls(address, number)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def wildcard(self) -> bool:
        """Whether it stands for every address of this machine."""
        return ipaddress.ip_address(self.host).is_unspecified

    @property
    def v6(self) -> bool:
        return ipaddress.ip_address(self.host).version == 6

    def at(self, port: int) -> "Listen":
        """The same address with the port the system picked."""
        return Listen(self.host, port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.v6 else f"{self.host}:{self.port}"
