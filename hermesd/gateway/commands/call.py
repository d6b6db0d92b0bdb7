"""One command as its handler sees it, and what it answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hermesd.address import ConversationKey
from hermesd.errors import ProfileUnavailable, UserError
from hermesd.gateway.access import NO_RIGHTS, Rights
from hermesd.gateway.desk import Desk
from hermesd.ledger.turn import Request
from hermesd.message import InboundMessage
from hermesd.profile import ProfileContext
from hermesd.route import Resolution


@dataclass(frozen=True, slots=True)
class Call:
    """Somebody wrote a command."""

    message: InboundMessage
    #: what stands behind the command's name, stripped
    args: str
    rights: Rights
    resolution: Resolution
    #: the routed profile, or why it cannot be had
    profile: ProfileContext | ProfileUnavailable
    desk: Desk
    #: the conversation, where a profile is routed
    key: ConversationKey | None

    @property
    def actor(self) -> str:
        """Who wrote it, as the audit log names people."""
        return f"{self.message.address.adapter}:{self.message.sender.id}"

    def ctx(self) -> ProfileContext:
        """The routed profile. Raises ProfileUnavailable, which is shown to the person."""
        if isinstance(self.profile, ProfileUnavailable):
            raise self.profile
        return self.profile

    def conversation(self) -> ConversationKey:
        """Raises UserError where no profile is routed."""
        if self.key is None:
            raise UserError("No profile is routed here.", hint="/whereami shows the line that routes this place.")
        return self.key


@dataclass(frozen=True, slots=True)
class Answer:
    """What the person sees, and the turn that follows from the command, stored together."""

    text: str
    #: queued in the same transaction as the answer
    turn: Request | None = None


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Command:
    """One entry of the one command table."""

    name: str
    #: one line, shown in menus and /help
    help: str
    handler: Handler
    aliases: tuple[str, ...] = ()
    needs: Rights = NO_RIGHTS
    #: doing it twice is worse than not doing it: after a crash in the middle the person is asked
    once: bool = False
    #: how its arguments are written, for /help
    usage: str = ""
