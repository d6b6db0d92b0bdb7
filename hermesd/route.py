"""Which profile answers a message: a frozen table and a pure, explainable lookup.

Rank, most specific first: user, thread, chat, parent chat, guild, bot, platform; compared in that order over the fields
a route names, so user + chat beats user alone, and at equal rank a route that names the bot wins. A lookup costs one
hash access per set of fields that occurs in the table, however many routes there are.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from hermesd.address import AdapterKey, Address, encode_part
from hermesd.errors import OperatorError
from hermesd.message import InboundMessage

#: the fields a route can match on, in the order of a probe
FIELDS = ("platform", "bot", "guild", "chat", "thread", "user")
_CHAT = FIELDS.index("chat")

_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})

#: chats that moved: (bot, old chat id) -> new chat id
Aliases = Mapping[tuple[AdapterKey, str], str]
#: what a route names or a message offers, in the order of FIELDS
Key = tuple[str | None, str | None, str | None, str | None, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table: the fields it names must all match; None matches anything."""

    platform: str | None
    bot: str | None
    guild: str | None
    #: also matches a message whose parent chat this is, one rank lower
    chat: str | None
    thread: str | None
    user: str | None
    profile: str
    role: str | None = None
    #: the operator's name for it; may be empty
    name: str = ""
    #: `file:line:column`
    where: str = ""

    @property
    def key(self) -> Key:
        """What it matches; two routes with one key are ambiguous."""
        return (self.platform, self.bot, self.guild, self.chat, self.thread, self.user)

    @property
    def label(self) -> str:
        """The name, or what it matches in words, for people."""
        return self.name or ", ".join(f"{f} {v}" for f, v in zip(FIELDS, self.key, strict=True) if v is not None)


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where a message goes, and why."""

    #: None when no route matches
    route: Route | None
    #: None: nobody answers, visibly
    profile: str | None
    role: str | None
    #: one line for people: `/profile`, logs and audit show it
    why: str


class AmbiguousRoutes(OperatorError):
    """Two routes match the same messages and lead to different places; `pairs` holds each pair, first one first."""

    def __init__(self, pairs: tuple[tuple[Route, Route], ...]) -> None:
        first, second = pairs[0]
        super().__init__(
            f"{second.where or second.label} and {first.where or first.label} match the same messages",
            hint="keep one of the two, or make one more specific",
        )
        self.pairs = pairs


@dataclass(frozen=True, slots=True)
class _Step:
    """One try of a lookup: the routes that name exactly these fields."""

    #: positions in FIELDS
    mask: tuple[int, ...]
    #: compares the chat with the message's parent chat
    parent: bool
    take: Callable[[Key], Any]
    #: key -> (profile, role, name, where); exact tuples of strings, which the garbage collector does not visit
    rows: Mapping[Any, tuple[str, str | None, str, str]]

    @property
    def rank(self) -> tuple[bool, ...]:
        names = {FIELDS[i] for i in self.mask}
        own, parent = "chat" in names and not self.parent, self.parent
        return ("user" in names, "thread" in names, own, parent, "guild" in names, "bot" in names, "platform" in names)

    @property
    def words(self) -> str:
        names = ["parent chat" if i == _CHAT and self.parent else FIELDS[i] for i in self.mask]
        return " + ".join(reversed(names)) or "everything"

    def route(self, key: Any) -> Route:
        values: list[str | None] = [None] * len(FIELDS)
        for position, value in zip(self.mask, key if len(self.mask) > 1 else (key,), strict=True):
            values[position] = value
        platform, bot, guild, chat, thread, user = values
        profile, role, name, where = self.rows[key]
        return Route(platform, bot, guild, chat, thread, user, profile, role, name, where)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RouteTable:
    """All routes, frozen."""

    #: answers where no route matches; None: nobody
    default_profile: str | None
    #: best rank first
    _steps: tuple[_Step, ...] = ()
    _size: int = 0

    @classmethod
    def build(cls, routes: Iterable[Route], default_profile: str | None) -> "RouteTable":
        """Index the routes. Raises AmbiguousRoutes; the same route written twice is one."""
        masks: dict[tuple[int, ...], dict[Any, tuple[str, str | None, str, str]]] = {}
        shared: dict[str, str] = {}
        pairs: list[tuple[Route, Route]] = []
        for route in routes:
            key = route.key
            mask = tuple(i for i, value in enumerate(key) if value is not None)
            if not mask:
                raise OperatorError(
                    f"the route at {route.where or route.label!r} names nothing to match",
                    hint="name a platform, or set default_profile",
                )
            named = tuple(shared.setdefault(key[i] or "", key[i] or "") for i in mask)
            row = (shared.setdefault(route.profile, route.profile), route.role, route.name, route.where)
            rows = masks.setdefault(mask, {})
            kept = rows.setdefault(named if len(mask) > 1 else named[0], row)
            if kept is not row and kept[:2] != row[:2]:
                pairs.append((Route(*key, kept[0], kept[1], kept[2], kept[3]), route))
        if pairs:
            raise AmbiguousRoutes(tuple(pairs))
        return cls(default_profile, _ordered(masks), sum(len(rows) for rows in masks.values()))

    def __eq__(self, other: object) -> bool:
        """Whether every message goes to the same profile and role; names and places of routes do not count."""
        if not isinstance(other, RouteTable):
            return NotImplemented
        mine, theirs = self._by_mask(), other._by_mask()
        return (self.default_profile, self._size, mine.keys()) == (
            other.default_profile,
            other._size,
            theirs.keys(),
        ) and all(
            key in theirs[mask] and row[:2] == theirs[mask][key][:2] for mask in mine for key, row in mine[mask].items()
        )

    def __hash__(self) -> int:
        return hash((self.default_profile, self._size))

    def _by_mask(self) -> dict[tuple[int, ...], Mapping[Any, tuple[str, str | None, str, str]]]:
        return {step.mask: step.rows for step in self._steps if not step.parent}

    def __repr__(self) -> str:
        return f"RouteTable({self._size} routes, default_profile={self.default_profile!r})"

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Route]:
        """Every route once, most specific first."""
        for step in self._steps:
            if not step.parent:
                for key in step.rows:
                    yield step.route(key)

    def chats(self, key: AdapterKey) -> tuple[str, ...]:
        """The chats that routes name for one bot, each once."""
        named = (route.chat for route in self if route.platform == key.platform and route.bot in (None, key.bot_id))
        return tuple(dict.fromkeys(chat for chat in named if chat is not None))

    def match(self, message: InboundMessage, aliases: Aliases | None = None) -> Resolution:
        """Where this message goes; `aliases` lets routes written for a chat's former id still match."""
        return self.resolve(message.address, user=message.sender.id, parent_chat=message.parent_chat, aliases=aliases)

    def resolve(
        self,
        address: Address,
        *,
        user: str | None = None,
        parent_chat: str | None = None,
        aliases: Aliases | None = None,
    ) -> Resolution:
        """Where a message of this user in this place would go."""
        own = _probes(address, user, address.chat_id, address.thread_id, aliases)
        parents = _parent_probes(address, user, parent_chat, aliases)
        for step in self._steps:
            for probe in parents if step.parent else own:
                key = step.take(probe)
                if key in step.rows:
                    return _routed(step.route(key), step)
        return self._unrouted()

    def explain(
        self,
        place: InboundMessage | Address,
        *,
        user: str | None = None,
        parent_chat: str | None = None,
        aliases: Aliases | None = None,
    ) -> list[str]:
        """Every candidate in rank order, what it compared, and what decided: one line each, for people."""
        address = place if isinstance(place, Address) else place.address
        if isinstance(place, InboundMessage):
            user, parent_chat = place.sender.id, place.parent_chat
        own = _probes(address, user, address.chat_id, address.thread_id, aliases)
        parents = _parent_probes(address, user, parent_chat, aliases)
        lines, decided = [f"{address}{f' user {user}' if user else ''}"], False
        for step in self._steps:
            probes = parents if step.parent else own
            hits = [step.take(probe) for probe in probes if step.take(probe) in step.rows]
            if not hits:
                lines.append(f"  {step.words}: {_missed(step, probes)}")
                continue
            route = step.route(hits[0])
            place_text = f" at {route.where}" if route.where else ""
            outcome = "a more specific route decided before" if decided else "decides"
            lines.append(f"  {step.words}: {route.label} → {route.profile}{place_text}: {outcome}")
            decided = True
        if not decided:
            lines.append(f"  {self._unrouted().why}")
        return lines

    def _unrouted(self) -> Resolution:
        if self.default_profile is None:
            return Resolution(None, None, None, "no route matches and default_profile is null")
        return Resolution(None, self.default_profile, None, "no route matches, so the default profile answers")


def route_lines(address: Address, profile: str, bots: Iterable[str] = ()) -> str:
    """YAML that routes this place, ready to paste into the configuration.

    The bot is named unless `bots`, the ids of the platform's bots, shows that there is no other.
    """
    name = name_text(profile)
    value = name if address.thread_id is None else f"{{{part_text(address.thread_id)}: {name}}}"
    return f"routes:\n  {platform_key(address, bots)}:\n    {part_text(address.chat_id)}: {value}"


def platform_key(address: Address, bots: Iterable[str]) -> str:
    """The first key of the mapping form: `platform`, or `platform/bot` where the platform has several bots."""
    only = set(bots) == {address.adapter.bot_id}
    return encode_part(address.adapter.platform) if only else str(address.adapter)


def part_text(text: str) -> str:
    """A chat or thread id as a key of the mapping form: quoted, with `%`, `:` and a lone `*` percent-encoded."""
    return quoted("%2A" if text == "*" else text.replace("%", "%25").replace(":", "%3A"))


def name_text(text: str) -> str:
    """A name as YAML: plain where every reader takes it for text."""
    return text if _PLAIN_NAME.fullmatch(text) and text.lower() not in _WORDS else quoted(text)


def quoted(text: str) -> str:
    """A YAML double-quoted scalar on one line."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else _escape(ord(c)) for c in escaped) + '"'


def _escape(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _ordered(masks: Mapping[tuple[int, ...], Mapping[Any, tuple[str, str | None, str, str]]]) -> tuple[_Step, ...]:
    steps = [
        _Step(mask, parent, itemgetter(*mask), rows)
        for mask, rows in masks.items()
        for parent in ((False, True) if _CHAT in mask else (False,))
    ]
    return tuple(sorted(steps, key=lambda step: step.rank, reverse=True))


def _probes(
    address: Address, user: str | None, chat: str, thread: str | None, aliases: Aliases | None
) -> tuple[Key, ...]:
    platform, bot, guild = address.adapter.platform, address.adapter.bot_id, address.guild
    first = (platform, bot, guild, chat, thread, user)
    if not aliases:
        return (first,)
    # few chats ever migrate, so looking through all of them costs less than a second index
    others = [old for (key, old), new in aliases.items() if new == chat and key == address.adapter]
    if (moved := aliases.get((address.adapter, chat))) is not None:
        others.insert(0, moved)
    return (first, *((platform, bot, guild, other, thread, user) for other in others if other != chat))


def _parent_probes(address: Address, user: str | None, parent: str | None, aliases: Aliases | None) -> tuple[Key, ...]:
    if parent is None or parent == address.chat_id:
        return ()
    # where a thread is a chat of its own, `parent: {thread: …}` names that chat as the thread
    thread = address.thread_id if address.thread_id is not None else address.chat_id
    return _probes(address, user, parent, thread, aliases)


def _routed(route: Route, step: _Step) -> Resolution:
    where = f" at {route.where}" if route.where else ""
    return Resolution(route, route.profile, route.role, f"route {route.label}{where}, by {step.words}")


def _missed(step: _Step, probes: tuple[Key, ...]) -> str:
    if not probes:
        return "the place has no parent chat"
    absent = [FIELDS[i] for i in step.mask if probes[0][i] is None]
    if absent:
        return f"the message has no {' and no '.join(absent)}"
    values = ", ".join(str(probes[0][i]) for i in step.mask)
    return f"no route for {values}"
