"""What only the whole file can tell: names that must exist, values that must differ."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from hermesd.errors import Problem
from hermesd.ports import BotSettings, SecretRef
from hermesd.settings.document import ListNode, MapNode, Node, Scalar, key_path, shown
from hermesd.settings.model import FileSettings
from hermesd.settings.routes import FoundRoute
from hermesd.settings.validation import nearest

#: platforms hermesd knows of, installed or not: routes for them may stand in a file before their bots do
PLATFORMS = ("discord", "slack", "telegram", "web")
_EVERYONE = frozenset({"everyone", "all", "any", "*"})


@dataclass(slots=True)
class CrossCheck:
    """Holds the parts of one file against each other."""

    file: str
    root: MapNode
    problems: list[Problem]
    installed: Collection[str]
    #: settings, node and key path of each readable bot
    bots: list[tuple[BotSettings, MapNode, str]]

    def everything(
        self, found: list[FoundRoute], values: FileSettings, profiles: Collection[str] | None
    ) -> list[FoundRoute]:
        """Add every problem; returns the routes in use."""
        self._repeated_bots()
        self._shared_secrets()
        for index, node in enumerate(self._written_bots()):
            self.problems += self._access(node, f"bots[{index}]")
        self._routed_bots(found)
        if profiles is not None:
            self._profiles(found, values, profiles)
        self._roles(found, values)
        self._triggers(values)
        return [item for item in found if item.enabled]

    # --- bots ------------------------------------------------------------------------------------------------------

    def _repeated_bots(self) -> None:
        seen: dict[tuple[str, str], Node] = {}
        for settings, node, key in self.bots:
            bot_id = node.get("bot_id") or node
            first = seen.setdefault((settings.platform, settings.bot_id), bot_id)
            if first is not bot_id:
                message = f"{settings.platform} has a bot {settings.bot_id!r} already, at line {first.line}"
                self._add(bot_id, key_path(key, "bot_id"), message, "give each bot of a platform its own bot_id")

    def _shared_secrets(self) -> None:
        seen: dict[tuple[str, str, SecretRef], Node] = {}
        for settings, node, key in self.bots:
            for name, info in type(settings).model_fields.items():
                ref = getattr(settings, name)
                # a required secret is what makes the bot itself; an optional one may be shared
                if isinstance(ref, SecretRef) and info.is_required():
                    place = node.get(name) or node
                    first = seen.setdefault((settings.platform, name, ref), place)
                    if first is not place:
                        message = f"the bot at line {first.line} has the same {name} ({ref})"
                        self._add(place, key_path(key, name), message, "each bot has a token of its own")

    def _access(self, node: Node, key: str) -> Iterator[Problem]:
        access = node.get("access") if isinstance(node, MapNode) else None
        for name in ("allow", "admins"):
            block = access.get(name) if isinstance(access, MapNode) else None
            for index, item in enumerate(block if isinstance(block, ListNode) else ()):
                user = item.text.strip().lower() if isinstance(item, Scalar) else "other"
                path = f"{key}.access.{name}[{index}]"
                if user in _EVERYONE:
                    hint = "write `allow: everyone`, without a list" if name == "allow" else "name the people"
                    yield Problem(self.file, item.line, item.column, path, "not the id of a person", hint)
                elif user.startswith("@") or not user:
                    hint = "names change hands, ids do not; /whoami shows the id"
                    yield Problem(self.file, item.line, item.column, path, "not the id of a person", hint)

    # --- routes ----------------------------------------------------------------------------------------------------

    def _routed_bots(self, found: list[FoundRoute]) -> None:
        bots: dict[str, list[str]] = {}
        for settings, _, _ in self.bots:
            bots.setdefault(settings.platform, []).append(settings.bot_id)
        broken = {node.text for node in self._written_platforms()} - set(bots)
        told: set[str] = set()
        for item in found:
            platform, bot = item.route.platform or "", item.route.bot
            if platform not in bots:
                # a bot with problems of its own is no reason to complain about its routes
                if platform not in broken and platform not in told:
                    told.add(platform)
                    self._unused(item, platform)
            elif bot is not None and bot not in bots[platform]:
                if platform not in broken and not self._unreadable_bots():
                    hint = nearest(bot, bots[platform]) or f"bots of {platform}: {', '.join(bots[platform])}"
                    self.problems.append(item.problem(self.file, f"{platform} has no bot {shown(bot)!r}", hint))
            elif item.bot_omitted and len(bots[platform]) > 1:
                message = f"the address names no bot, and {platform} has {len(bots[platform])}"
                hint = f"write {platform}/{bots[platform][0]}:…"
                self.problems.append(item.problem(self.file, message, hint))

    def _unused(self, item: FoundRoute, platform: str) -> None:
        known = {*PLATFORMS, *self.installed}
        if platform not in known:
            hint = nearest(platform, known) or f"one of {', '.join(sorted(known))}"
            self.problems.append(item.problem(self.file, f"unknown platform {shown(platform)!r}", hint))
        else:
            message = f"no bot of platform {platform} is configured, so its routes are not used"
            self._add_at(item.line, item.column, item.key, message, level="warning")

    def _written_bots(self) -> list[Node]:
        bots = self.root.get("bots")
        return list(bots) if isinstance(bots, ListNode) else []

    def _written_platforms(self) -> Iterator[Scalar]:
        for item in self._written_bots():
            platform = item.get("platform") if isinstance(item, MapNode) else None
            if isinstance(platform, Scalar):
                yield platform

    def _unreadable_bots(self) -> bool:
        return len(self.bots) < len(self._written_bots())

    # --- names -----------------------------------------------------------------------------------------------------

    def _profiles(self, found: list[FoundRoute], values: FileSettings, profiles: Collection[str]) -> None:
        hints: dict[str, str] = {}

        def hint(name: str) -> str:
            if name not in hints:
                listed = ", ".join(sorted(profiles)[:12]) or "none"
                hints[name] = nearest(name, profiles) or f"create its folder in profiles_dir; there are: {listed}"
            return hints[name]

        for item in found:
            name, spot = item.route.profile, item.profile
            if name not in profiles:
                line, column = (spot.line, spot.column) if spot is not None else (item.line, item.column)
                self._add_at(line, column, item.key, f"there is no profile {shown(name)!r}", hint(name))
        if values.default_profile is not None and values.default_profile not in profiles:
            spot_ = self.root.get("default_profile")
            line, column = (spot_.line, spot_.column) if spot_ is not None else (self.root.line, self.root.column)
            message = f"there is no profile {shown(values.default_profile)!r}"
            self._add_at(line, column, "default_profile", message, hint(values.default_profile))
        for role, settings in values.roles.items():
            if settings.profile is not None and settings.profile not in profiles:
                place = self._node("roles", role, "profile")
                message = f"there is no profile {shown(settings.profile)!r}"
                self._add(place, f"roles.{role}.profile", message, hint(settings.profile))

    def _roles(self, found: list[FoundRoute], values: FileSettings) -> None:
        known = {*values.roles, *values.session_triggers.sources}
        known |= {alias for role in values.roles.values() for alias in role.aliases}
        known |= {target for source in values.session_triggers.sources.values() for target in source.allowed_targets}
        for item in found:
            if item.route.role is not None and item.route.role not in known:
                message = f"no role {item.route.role!r} is described under `roles`"
                hint = nearest(item.route.role, known)
                self._add_at(item.line, item.column, item.key, message, hint, level="warning")

    def _triggers(self, values: FileSettings) -> None:
        if values.session_triggers.enabled:
            place = self._node("session_triggers", "enabled")
            message = "handoffs between roles are not available yet: the block is kept, nothing is triggered"
            self._add_at(place.line, place.column, "session_triggers.enabled", message, level="warning")

    # --- places ----------------------------------------------------------------------------------------------------

    def _node(self, *path: str) -> Node:
        node: Node = self.root
        for part in path:
            inner = node.get(part) if isinstance(node, MapNode) else None
            node = inner if inner is not None else node
        return node

    def _add(self, node: Node, key: str, message: str, hint: str = "") -> None:
        self._add_at(node.line, node.column, key, message, hint)

    def _add_at(
        self,
        line: int,
        column: int,
        key: str,
        message: str,
        hint: str = "",
        *,
        level: Literal["error", "warning"] = "error",
    ) -> None:
        self.problems.append(Problem(self.file, line, column, key, message, hint, level))
