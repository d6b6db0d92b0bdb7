"""Where a message comes from and a reply goes to, as values frozen at ingress.

Ids are opaque strings minted by adapters; nobody outside an adapter parses one.
The one text form is `platform[/bot]:chat[:thread]` with every part percent-encoded;
YAML, CLI, API and tools share it.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, Self
from urllib.parse import quote, unquote

from hermesd.errors import UserError

ConversationKind = Literal["dm", "group", "thread"]


def encode_part(text: str) -> str:
    """Percent-encode one part of an address so that no part can imitate a separator."""
    return quote(text, safe="-_.~@!+")


@dataclass(frozen=True, slots=True, order=True)
class AdapterKey:
    """One bot on one platform; two Telegram bots are two keys."""

    platform: str
    bot_id: str

    def __str__(self) -> str:
        return f"{encode_part(self.platform)}/{encode_part(self.bot_id)}"


@dataclass(frozen=True, slots=True)
class Address:
    """A place a reply can be sent to."""

    adapter: AdapterKey
    chat_id: str
    #: None is the chat itself; a forum topic or thread has its own id
    thread_id: str | None = None
    #: Discord guild or Slack workspace: for routing, not part of the identity
    guild: str | None = field(default=None, compare=False)

    def __str__(self) -> str:
        thread = f":{encode_part(self.thread_id)}" if self.thread_id is not None else ""
        return f"{self.adapter}:{encode_part(self.chat_id)}{thread}"

    @classmethod
    def parse(cls, text: str, *, default_bot: str | None = None) -> Self:
        """Read the text form; `default_bot` stands in where the bot is left out.

        Raises UserError naming what is missing.
        """
        head, colon, rest = text.partition(":")
        platform, slash, bot = head.partition("/")
        chat, colon2, thread = rest.partition(":")
        bot = unquote(bot) if slash else (default_bot or "")
        if not (platform and colon and chat) or (colon2 and not thread) or ":" in thread:
            raise UserError(
                f"{text!r} is not an address",
                hint="write platform[/bot]:chat[:thread], for example telegram/main:-1003961179976:6",
            )
        if not bot:
            raise UserError(f"the address {text!r} does not name a bot", hint=f"write {platform}/BOT:{rest}")
        return cls(AdapterKey(unquote(platform), bot), unquote(chat), unquote(thread) if colon2 else None)

    def in_chat(self, chat_id: str) -> Self:
        """The same place under the chat's new id (supergroup migration)."""
        return replace(self, chat_id=chat_id)


@dataclass(frozen=True, slots=True)
class ConversationKey:
    """What a lane and a session belong to. Two different tuples never share an encoding."""

    profile: str
    address: Address
    kind: ConversationKind
    #: set where each person has a session of their own
    user_id: str | None = None

    def encode(self) -> str:
        """Length-prefixed, so no crafted id can collide; `-` stands for an absent part."""
        parts = (
            self.profile,
            self.address.adapter.platform,
            self.address.adapter.bot_id,
            self.kind,
            self.address.chat_id,
            self.address.thread_id,
            self.user_id,
        )
        return "".join("-" if part is None else f"{len(part)}:{part}" for part in parts)
