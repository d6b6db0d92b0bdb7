"""One entry of `bots:` with `platform: web`."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from hermesd.ports import AccessSettings, BotSettings, Listen, SecretRef
from hermesd_web.place import Place

#: the one person there is: whoever holds the token
PERSON = "local"

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,45}")


class WebSettings(BotSettings):
    """A chat page. Loopback only, unless a token is set."""

    platform: Literal["web"]
    #: whoever holds the token may talk and administer, unless written otherwise
    access: AccessSettings = AccessSettings(allow=(PERSON,), admins=(PERSON,), pairing=False)
    listen: Annotated[str, Field(description="IP:PORT of the page; several web bots may share one")] = "127.0.0.1:8600"
    token: Annotated[
        SecretRef | None, Field(description="the page's token; without one hermesd makes and keeps a random one")
    ] = None
    title: Annotated[str, Field(min_length=1, max_length=60, description="name of this bot on the page")] = "hermesd"
    allowed_hosts: Annotated[
        tuple[str, ...], Field(description="further host names, without port, by which the page may be opened")
    ] = ()
    rooms: Annotated[
        tuple[str, ...], Field(description="rooms shown in the side bar; `room:thread` shows a thread", max_length=100)
    ] = ("home",)

    @field_validator("listen")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(Listen.parse(value))

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if not _HOST.fullmatch(host):
                raise ValueError(f"{host!r} is not a host name: expected a name without scheme, port or path")
        return tuple(host.lower() for host in value)

    @field_validator("rooms")
    @classmethod
    def _are_rooms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for room in value:
            Place.parse(room)
        return value

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not Listen.parse(self.listen).loopback and self.token is None:
            raise ValueError(
                f"{self.listen} can be reached from other machines, so `token` must be set, "
                'for example token: "${env:HERMESD_WEB_TOKEN}"; or listen on 127.0.0.1'
            )
        return self

    @property
    def places(self) -> tuple[Place, ...]:
        """`rooms`, read."""
        return tuple(Place.parse(room) for room in self.rooms)
