"""Routes in every form people write them, each with its place.

The mapping form (`routes.<platform>[/bot].<chat>[.<thread>]: profile`), the same below `gateway.profile_routes`, the
flat form (`<platform>.topic_profiles."<chat>:<thread>": profile`) and the list form. Keys of mappings are parts of
the address text form, percent-encoded where an id holds `:` or `%`; `*` stands for the whole platform or chat.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote

from pydantic import Field

from hermesd.errors import Problem
from hermesd.route import Route
from hermesd.settings.document import ListNode, MapNode, Node, Scalar, key_path
from hermesd.settings.model import RoleName, Section
from hermesd.settings.name import is_profile_name
from hermesd.settings.validation import unclear, unknown_key, validate
from hermesd.settings.value import Unclear, identifier

#: matches the whole platform, bot or chat
ANY = "*"
#: where a pair of the mapping form may be guild → channel as well as channel → thread
GUILD_PAIRS = frozenset({"discord"})

Id = Annotated[str, Field(min_length=1, max_length=256)]


class RouteEntry(Section):
    """One entry of the list form; ids are the platform's own, as text."""

    name: Annotated[str, Field(max_length=120, description="your name for it")] = ""
    platform: Annotated[Id | None, Field(description="needed unless `address` is given")] = None
    bot: Annotated[Id | None, Field(description="bot_id; any bot of the platform where absent")] = None
    guild_id: Annotated[Id | None, Field(description="Discord guild or Slack workspace")] = None
    chat_id: Annotated[Id | None, Field(description="chat, channel or room")] = None
    thread_id: Annotated[Id | None, Field(description="topic or thread; needs chat_id")] = None
    user_id: Annotated[Id | None, Field(description="the person's immutable id")] = None
    address: Annotated[Id | None, Field(description="platform[/bot]:chat[:thread], instead of the four keys")] = None
    profile: Annotated[str, Field(description="the profile that answers")]
    role: Annotated[RoleName | None, Field(description="the role a turn has here")] = None
    enabled: Annotated[bool, Field(description="false: checked, not used")] = True


@dataclass(frozen=True, slots=True)
class FoundRoute:
    """A route and where it stands."""

    route: Route
    line: int
    column: int
    #: path of the entry
    key: str
    #: the scalar that names the profile
    profile: Scalar | None
    enabled: bool = True
    #: written as an address without a bot: it must be the platform's only one
    bot_omitted: bool = False

    def problem(self, file: str, message: str, hint: str = "") -> Problem:
        """A problem of this route, at its place."""
        return Problem(file, self.line, self.column, self.key, message, hint)


@dataclass(slots=True)
class RouteForms:
    """Reads every form of one file."""

    file: str
    problems: list[Problem]

    def routes(self, root: MapNode, platforms: Collection[str]) -> Iterator[FoundRoute]:
        """Every route of the file, in no order; `platforms` may have a block of their own with `topic_profiles`."""
        yield from self._either(root.get("routes"), "routes")
        gateway = root.get("gateway")
        if isinstance(gateway, MapNode):
            self._only(gateway, "gateway", "profile_routes")
            yield from self._either(gateway.get("profile_routes"), "gateway.profile_routes")
        elif gateway is not None and not _empty(gateway):
            self._expected(gateway, "gateway", "a mapping with `profile_routes`")
        for platform in platforms:
            block = root.get(platform)
            if isinstance(block, MapNode):
                self._only(block, platform, "topic_profiles")
                yield from self._flat(block.get("topic_profiles"), platform)
            elif block is not None and not _empty(block):
                self._expected(block, platform, "a mapping with `topic_profiles`")

    # --- mapping form ----------------------------------------------------------------------------------------------

    def _either(self, node: Node | None, key: str) -> Iterator[FoundRoute]:
        if isinstance(node, MapNode):
            for name, value in node.pairs():
                yield from self._platform(name, value, key)
        elif isinstance(node, ListNode):
            for index, item in enumerate(node):
                yield from self._entry(item, f"{key}[{index}]")
        elif node is not None and not _empty(node):
            self._expected(node, key, "a mapping (platform, chat, thread: profile) or a list of routes")

    def _platform(self, name: Scalar, value: Node, parent: str) -> Iterator[FoundRoute]:
        key = key_path(parent, name.text)
        platform, slash, bot = name.text.partition("/")
        if not platform or (slash and not bot) or "/" in bot:
            self._add(name, key, "expected a platform, or platform/bot")
            return
        base = _Place(unquote(platform), unquote(bot) if slash else None)
        if isinstance(value, MapNode):
            for chat, inner in value.pairs():
                yield from self._chat(base, chat, inner, key)
        elif not _empty(value):
            self._expected(value, key, "chats: profiles")

    def _chat(self, base: "_Place", name: Scalar, value: Node, parent: str) -> Iterator[FoundRoute]:
        key = key_path(parent, name.text)
        if isinstance(value, MapNode) and (chat := self._id(name, key)) is not None:
            if chat == ANY or ":" in chat:
                self._add(name, key, "threads need one chat", "name the chat")
                return
            for thread, inner in value.pairs():
                yield from self._thread(base, unquote(chat), thread, inner, key)
        elif not isinstance(value, MapNode):
            yield from self._leaf(base, name, value, key)

    def _thread(self, base: "_Place", chat: str, name: Scalar, value: Node, parent: str) -> Iterator[FoundRoute]:
        key = key_path(parent, name.text)
        thread, profile = self._id(name, key), self._profile(value, key)
        if thread is not None and profile is not None:
            inner = unquote(thread) if thread != ANY else None
            yield from self._made(base, chat, inner, profile, name, value, key)

    def _leaf(self, base: "_Place", name: Scalar, value: Node, key: str) -> Iterator[FoundRoute]:
        place, profile = self._id(name, key), self._profile(value, key)
        if place is None or profile is None:
            return
        if place == ANY:
            yield from self._made(base, None, None, profile, name, value, key)
            return
        chat, colon, thread = place.partition(":")
        if not chat or (colon and not thread) or ":" in thread:
            self._add(name, key, "expected CHAT or CHAT:THREAD", "write %3A for a colon inside an id")
            return
        yield from self._made(
            base, unquote(chat), unquote(thread) if colon and thread != ANY else None, profile, name, value, key
        )

    def _flat(self, node: Node | None, platform: str) -> Iterator[FoundRoute]:
        key = key_path(platform, "topic_profiles")
        if isinstance(node, MapNode):
            for name, value in node.pairs():
                path = key_path(key, name.text)
                if isinstance(value, MapNode):
                    self._expected(value, path, "a profile")
                else:
                    yield from self._leaf(_Place(platform, None), name, value, path)
        elif node is not None and not _empty(node):
            self._expected(node, key, '"CHAT:THREAD": profile')

    def _made(
        self,
        base: "_Place",
        chat: str | None,
        thread: str | None,
        profile: str,
        name: Scalar,
        value: Node,
        key: str,
    ) -> Iterator[FoundRoute]:
        where = f"{self.file}:{name.line}:{name.column}"
        written = value if isinstance(value, Scalar) else None
        route = Route(base.platform, base.bot, None, chat, thread, None, profile, where=where)
        yield FoundRoute(route, name.line, name.column, key, written)
        if thread is not None and base.platform in GUILD_PAIRS:
            pair = Route(base.platform, base.bot, chat, thread, None, None, profile, where=where)
            yield FoundRoute(pair, name.line, name.column, key, written)

    # --- list form -------------------------------------------------------------------------------------------------

    def _entry(self, node: Node, key: str) -> Iterator[FoundRoute]:
        if not isinstance(node, MapNode):
            self._expected(node, key, "a mapping: {platform, bot, chat_id, thread_id, profile, …}")
            return
        entry, problems = validate(RouteEntry, node, file=self.file, key=key)
        self.problems += problems
        if entry is None:
            return
        place = self._addressed(entry, node, key) if entry.address is not None else self._named(entry, node, key)
        if place is None or not self._checked(entry.profile, node.get("profile") or node, key_path(key, "profile")):
            return
        where = f"{self.file}:{node.line}:{node.column}"
        route = Route(
            place.platform, place.bot, entry.guild_id, place.chat, place.thread, entry.user_id, entry.profile,
            entry.role, entry.name, where,
        )  # fmt: skip
        profile = node.get("profile")
        yield FoundRoute(
            route,
            node.line,
            node.column,
            key,
            profile if isinstance(profile, Scalar) else None,
            entry.enabled,
            bot_omitted=entry.address is not None and place.bot is None,
        )

    def _named(self, entry: RouteEntry, node: MapNode, key: str) -> "_Place | None":
        if entry.platform is None:
            self._add(node, key, "this route names no platform", "add platform: telegram, or an address")
            return None
        if entry.thread_id is not None and entry.chat_id is None:
            name = node.key("thread_id")
            self._add(name, key_path(key, "thread_id"), "a thread needs its chat", "add chat_id")
            return None
        return _Place(entry.platform, entry.bot, entry.chat_id, entry.thread_id)

    def _addressed(self, entry: RouteEntry, node: MapNode, key: str) -> "_Place | None":
        for other in ("platform", "bot", "chat_id", "thread_id"):
            if other in node:
                name = node.key(other)
                self._add(name, key_path(key, other), "the address says this already", "keep one of the two")
                return None
        place = _Place.parse(entry.address or "")
        if place is None:
            self._add(
                node.get("address") or node,
                key_path(key, "address"),
                "expected platform[/bot]:chat[:thread]",
                "for example telegram/main:-1003961179976:6",
            )
        return place

    # --- scalars ---------------------------------------------------------------------------------------------------

    def _id(self, name: Scalar, key: str) -> str | None:
        try:
            return identifier(name)
        except Unclear as error:
            self.problems.append(unclear(self.file, name, key, error))
            return None

    def _profile(self, value: Node, key: str) -> str | None:
        if not isinstance(value, Scalar):
            self._expected(value, key, "a profile")
            return None
        name = self._id(value, key)
        return name if name is not None and self._checked(name, value, key) else None

    def _checked(self, profile: str, node: Node, key: str) -> bool:
        if not is_profile_name(profile):
            self._add(node, key, "expected the name of a profile: 1 to 64 of a-z 0-9 _ -")
            return False
        return True

    def _only(self, node: MapNode, key: str, known: str) -> None:
        for name, _ in node.pairs():
            if name.text != known:
                self.problems.append(unknown_key(self.file, name, key, (known,)))

    def _expected(self, node: Node, key: str, what: str) -> None:
        self._add(node, key, f"expected {what}")

    def _add(self, node: Node, key: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(self.file, node.line, node.column, key, message, hint))


@dataclass(frozen=True, slots=True)
class _Place:
    """What an address names, as far as it does."""

    platform: str
    bot: str | None
    chat: str | None = None
    thread: str | None = None

    @classmethod
    def parse(cls, text: str) -> "_Place | None":
        head, colon, rest = text.partition(":")
        platform, slash, bot = head.partition("/")
        chat, colon2, thread = rest.partition(":")
        if not (platform and colon and chat) or (slash and not bot) or (colon2 and not thread) or ":" in thread:
            return None
        return cls(
            unquote(platform), unquote(bot) if slash else None, unquote(chat), unquote(thread) if colon2 else None
        )


def _empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.empty
