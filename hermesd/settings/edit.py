"""A route written into the configuration's text, with every comment and every other byte left as it is."""

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote

from yaml.events import (
    CollectionEndEvent,
    CollectionStartEvent,
    MappingEndEvent,
    ScalarEvent,
    SequenceEndEvent,
)

from hermesd.address import Address
from hermesd.errors import UserError
from hermesd.route import Key, name_text, part_text, platform_key, quoted, route_lines
from hermesd.settings.crosscheck import PLATFORMS
from hermesd.settings.document import ListNode, MapNode, Node, Scalar, events, parse
from hermesd.settings.routes import ANY, FoundRoute, RouteForms

_Place = tuple[int, int]


def bind(text: str, address: Address, profile: str, platform_bots: Collection[str] = ()) -> str:
    """The text with a route from this place to `profile`: an existing one changed, else a new one added.

    `platform_bots` are the ids of the platform's bots; with several the new route names its bot. The caller loads the
    result before using it. Raises UserError when the text cannot be edited safely.
    """
    mark, body = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    document = parse(body, "configuration")
    if document.problems or not isinstance(document.root, MapNode):
        raise _refusal(address, profile, platform_bots, "the configuration file has errors: run hermesd check")
    wish = _Wish(address, profile, frozenset(platform_bots))
    edited = _Edit(body, document.root, wish).result()
    if not _as_wished(body, edited, wish):
        raise _refusal(address, profile, platform_bots, "the file is written in a way that cannot be edited safely")
    return mark + edited


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is to be true afterwards."""

    address: Address
    profile: str
    bots: frozenset[str]

    @property
    def many(self) -> bool:
        """Whether a route must name its bot to leave the platform's other bots alone."""
        return self.bots != {self.address.adapter.bot_id}

    def same(self, found: FoundRoute) -> bool:
        """Whether this route is about exactly that place."""
        route, address = found.route, self.address
        bot = route.bot == address.adapter.bot_id or (route.bot is None and not self.many)
        guild = route.guild is None or route.guild == address.guild
        place = (route.platform, route.chat, route.thread) == (
            address.adapter.platform,
            address.chat_id,
            address.thread_id,
        )
        return found.enabled and route.user is None and bot and guild and place

    def entry(self) -> str:
        """Below a platform: `"chat": profile` or `"chat": {"thread": profile}`."""
        return f"{part_text(self.address.chat_id)}: {self.below_chat()}"

    def below_chat(self) -> str:
        thread = self.address.thread_id
        return name_text(self.profile) if thread is None else f"{{{self.leaf()}}}"

    def leaf(self) -> str:
        """Below a chat: `"thread": profile`, or `"*": profile`."""
        thread = self.address.thread_id
        return f"{quoted(ANY) if thread is None else part_text(thread)}: {name_text(self.profile)}"

    def list_entry(self) -> str:
        """An entry of the list form."""
        address = self.address
        bot = f"bot: {quoted(address.adapter.bot_id)}, " if self.many else ""
        thread = f"thread_id: {quoted(address.thread_id)}, " if address.thread_id is not None else ""
        return (
            f"{{platform: {name_text(address.adapter.platform)}, {bot}chat_id: {quoted(address.chat_id)}, "
            f"{thread}profile: {name_text(self.profile)}}}"
        )


@dataclass(frozen=True, slots=True)
class _Spans:
    """Where nodes begin and end in the text, in characters."""

    scalars: dict[_Place, tuple[int, int]]
    #: of flow collections only; a block has no end of its own
    flows: dict[_Place, tuple[int, int]]

    @classmethod
    def of(cls, text: str) -> "_Spans":
        spans, opened = cls({}, {}), list[tuple[_Place, int, bool]]()
        for event in events(text):
            start, end = event.start_mark, event.end_mark
            if start is None or end is None:
                continue
            if isinstance(event, ScalarEvent):
                if end.index > start.index:
                    spans.scalars[start.line + 1, start.column + 1] = (start.index, end.index)
            elif isinstance(event, CollectionStartEvent):
                opened.append(((start.line + 1, start.column + 1), start.index, bool(event.flow_style)))
            elif isinstance(event, CollectionEndEvent | MappingEndEvent | SequenceEndEvent):
                place, begin, flow = opened.pop()
                if flow:
                    spans.flows[place] = (begin, end.index)
        return spans


class _Edit:
    """One change to one text."""

    def __init__(self, text: str, root: MapNode, wish: _Wish) -> None:
        self._text = text
        self._root = root
        self._wish = wish
        self._spans = _Spans.of(text)
        self._break = "\r\n" if "\r\n" in text else "\n"

    def result(self) -> str:
        existing = [found for found in _found(self._root) if self._wish.same(found) and found.profile is not None]
        if existing:
            decides = max(existing, key=lambda found: (found.route.guild is not None, found.route.bot is not None))
            return self._replaced(decides.profile, name_text(self._wish.profile))
        routes = self._root.get("routes")
        gateway = self._root.get("gateway")
        older = gateway.get("profile_routes") if isinstance(gateway, MapNode) else None
        if (routes is None or _empty(routes)) and isinstance(older, MapNode | ListNode) and len(older):
            return self._into(older)
        if routes is None:
            return self._new_section()
        if _empty(routes):
            return self._filled(self._root, "routes", routes, [f"{self._platform()}:", f"  {self._wish.entry()}"])
        return self._into(routes)

    def _into(self, container: Node) -> str:
        if isinstance(container, ListNode):
            return self._appended(container)
        if not isinstance(container, MapNode):
            raise self._no("`routes` is neither a mapping nor a list")
        name = self._platform_in(container)
        if name is None:
            return self._added(container, f"{self._platform()}: {{{self._wish.entry()}}}", nested=True)
        chats = container.get(name)
        if chats is None or _empty(chats):
            return self._filled(container, name, chats, [self._wish.entry()])
        if not isinstance(chats, MapNode):
            raise self._no("the platform's routes are not a mapping")
        return self._into_platform(chats)

    def _into_platform(self, chats: MapNode) -> str:
        wish = self._wish
        chat = next((key for key in chats if ":" not in key and unquote(key) == wish.address.chat_id), None)
        if chat is None:
            return self._added(chats, wish.entry())
        value = chats.get(chat)
        if isinstance(value, MapNode):
            return self._added(value, wish.leaf())
        if isinstance(value, Scalar) and not _empty(value):
            start, end = self._span(value)
            both = f"{{{quoted(ANY)}: {self._text[start:end]}, {wish.leaf()}}}"
            return self._replaced(value, both)
        raise self._no("the chat has no profile")

    # --- names -----------------------------------------------------------------------------------------------------

    def _platform(self) -> str:
        return platform_key(self._wish.address, self._wish.bots)

    def _platform_in(self, container: MapNode) -> str | None:
        key = self._wish.address.adapter
        exact, whole = (key.platform, key.bot_id), (key.platform, None)
        names = {_named(name): name for name in container}
        return names.get(exact) or (None if self._wish.many else names.get(whole))

    # --- text ------------------------------------------------------------------------------------------------------

    def _replaced(self, node: Scalar | None, new: str) -> str:
        if node is None:
            raise self._no("the route has no profile")
        start, end = self._span(node)
        return self._text[:start] + new + self._text[end:]

    def _span(self, node: Scalar) -> tuple[int, int]:
        span = self._spans.scalars.get((node.line, node.column))
        if span is None:
            raise self._no("a value cannot be found again")
        return span

    def _new_section(self) -> str:
        flow = self._spans.flows.get((self._root.line, self._root.column))
        if flow is not None:
            return self._added(self._root, f"routes: {{{self._platform()}: {{{self._wish.entry()}}}}}")
        gap = "" if not self._text or self._text.endswith(("\n", "\r")) else self._break
        lines = ["", "routes:", f"  {self._platform()}:", f"    {self._wish.entry()}", ""]
        return self._text + gap + self._break.join(lines)

    def _filled(self, parent: MapNode, key: str, value: Node | None, lines: list[str]) -> str:
        """Give an empty key a value: below it where nothing is written, else in its place."""
        inline = lines[0] if len(lines) == 1 else f"{lines[0]} {{{lines[1].strip()}}}"
        if isinstance(value, Scalar) and value.text:
            return self._replaced(value, f"{{{inline}}}")
        name = parent.key(key)
        _, end = self._span(name)
        stop = self._line_end(end)
        rest = self._text[end:stop].strip()
        if not rest.startswith(":") or (rest[1:].strip() and not rest[1:].strip().startswith("#")):
            raise self._no("an empty value stands inside a line")
        indent = " " * (name.column + 1)
        return self._line(stop, self._break.join(indent + line for line in lines))

    def _added(self, node: MapNode, entry: str, *, nested: bool = False) -> str:
        """Add an entry to a mapping; `nested` puts its value on lines of its own in a block."""
        flow = self._spans.flows.get((node.line, node.column))
        if flow is not None:
            return self._in_flow(node, flow, entry)
        first = node.key(next(iter(node)))
        indent = " " * (first.column - 1)
        if nested:
            head, value = entry.split(": ", 1)
            entry = f"{head}:{self._break}{indent}  {value[1:-1]}"
        return self._line(self._after(node), indent + entry)

    def _appended(self, node: ListNode) -> str:
        flow = self._spans.flows.get((node.line, node.column))
        if flow is not None:
            return self._in_flow(node, flow, self._wish.list_entry())
        return self._line(self._after(node), " " * (node.column - 1) + f"- {self._wish.list_entry()}")

    def _in_flow(self, node: MapNode | ListNode, flow: tuple[int, int], entry: str) -> str:
        if not len(node):
            at = flow[0] + 1
            return self._text[:at] + entry + self._text[at:]
        at = self._end(node)
        return f"{self._text[:at]}, {entry}{self._text[at:]}"

    def _line(self, at: int, line: str) -> str:
        """A line of its own behind the line that ends at `at`."""
        head, tail = self._text[:at], self._text[at:]
        if head and not head.endswith(("\n", "\r")):
            head += self._break
        return head + line + self._break + tail

    def _after(self, node: Node) -> int:
        return self._line_end(self._end(node))

    def _line_end(self, at: int) -> int:
        """Just behind the line break of the line that `at` is in."""
        if at and self._text[at - 1] == "\n":
            return at
        found = self._text.find("\n", at)
        return len(self._text) if found < 0 else found + 1

    def _end(self, node: Node) -> int:
        """Where the last thing in a node ends; in a block, comments behind it are not part of it."""
        if isinstance(node, Scalar):
            return self._span(node)[1]
        flow = self._spans.flows.get((node.line, node.column))
        last: Node | None = None
        if isinstance(node, ListNode):
            last = node[len(node) - 1] if len(node) else None
        else:
            for key, value in node.pairs():
                last = key if isinstance(value, Scalar) and not value.text and value.plain else value
        if last is None:
            raise self._no("a value cannot be found again")
        # in a flow the entry goes behind the last one; seen from outside the bracket ends it
        inner = self._spans.flows.get((last.line, last.column)) if not isinstance(last, Scalar) else None
        if inner is not None:
            return inner[1]
        return self._end(last) if flow is None or isinstance(last, Scalar) else flow[1]

    def _no(self, why: str) -> UserError:
        return _refusal(self._wish.address, self._wish.profile, self._wish.bots, why)


def _found(root: MapNode) -> list[FoundRoute]:
    return list(RouteForms("configuration", []).routes(root, PLATFORMS))


def _named(name: str) -> tuple[str, str | None]:
    platform, slash, bot = name.partition("/")
    return unquote(platform), unquote(bot) if slash else None


def _as_wished(before: str, after: str, wish: _Wish) -> bool:
    """The place leads to the profile now, and no other route changed."""
    old, new = parse(before, "").root, parse(after, "")
    if new.problems or not isinstance(new.root, MapNode) or not isinstance(old, MapNode):
        return False
    was = {(found.route.key, found.enabled): (found.route.profile, found.route.role) for found in _found(old)}
    now = {(found.route.key, found.enabled): (found.route.profile, found.route.role) for found in _found(new.root)}
    if any(place not in now for place in was):
        return False
    changed = {key for key in now if was.get(key) != now[key]}
    there = {(found.route.key, found.enabled) for found in _found(new.root) if wish.same(found)}
    # a discord pair stands for two routes: guild and channel, channel and thread
    twins = {(_twin(key), enabled) for key, enabled in there}
    return changed <= there | twins and any(now[key][0] == wish.profile for key in there)


def _twin(key: Key) -> Key | None:
    platform, bot, guild, chat, thread, user = key
    if guild is None:
        return (platform, bot, chat, thread, None, user)
    return (platform, bot, None, guild, chat, user) if thread is None else None


def _empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.empty


def _refusal(address: Address, profile: str, bots: Collection[str], why: str) -> UserError:
    return UserError(why, hint=f"add it by hand:\n{route_lines(address, profile, bots)}")
