"""A message with everything that was looked up for it."""

from dataclasses import dataclass

from hermesd.address import ConversationKey
from hermesd.errors import ProfileUnavailable
from hermesd.gateway import conversation
from hermesd.ledger.inbound import Stored
from hermesd.message import InboundMessage
from hermesd.profile import ProfileContext
from hermesd.route import Resolution


@dataclass(frozen=True, slots=True)
class Routed:
    """A message with its route and profile."""

    message: InboundMessage
    stored: Stored
    resolution: Resolution
    #: None when nothing is routed
    profile: ProfileContext | ProfileUnavailable | None

    @property
    def actor(self) -> str:
        """Who wrote it, as the audit log names people."""
        return f"{self.message.address.adapter}:{self.message.sender.id}"

    def key(self) -> ConversationKey | None:
        """The conversation it belongs to; None when nothing is routed."""
        if self.resolution.profile is None:
            return None
        settings = self.profile.settings if isinstance(self.profile, ProfileContext) else None
        return conversation.key_of(
            self.message,
            self.resolution.profile,
            group_sessions_per_user=settings.group_sessions_per_user if settings else True,
            thread_sessions_per_user=settings.thread_sessions_per_user if settings else False,
        )
