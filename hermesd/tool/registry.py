"""The tools there are, and which of them a profile chose."""

from collections.abc import Iterable, Sequence

from hermesd.ports import Tool


class ToolRegistry:
    """Tools by name, grouped in toolsets; an object of the composition root, never a global."""

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}
        self._sets: dict[str, list[str]] = {}

    def register(self, toolset: str, *tools: Tool) -> None:
        """Add tools to a toolset. Raises ValueError for a name that is taken: tools never shadow each other."""
        for tool in tools:
            name = tool.spec.name
            if name in self._tools:
                raise ValueError(f"a tool named {name!r} is already registered")
            self._tools[name] = tool
            self._sets.setdefault(toolset, []).append(name)

    def select(self, toolsets: Sequence[str] | None) -> tuple[Tool, ...]:
        """The tools of these toolsets or tool names, in the order of registration; None and `all` are every one.

        Names nobody registered choose nothing; `unknown` lists them for a warning.
        """
        if toolsets is None or any(_is_all(name) for name in toolsets):
            return tuple(self._tools.values())
        chosen = {tool for name in toolsets for tool in self._sets.get(name, [name])}
        return tuple(tool for name, tool in self._tools.items() if name in chosen)

    def unknown(self, toolsets: Iterable[str]) -> tuple[str, ...]:
        """Those of the names that are neither a toolset nor a tool."""
        return tuple(name for name in toolsets if not _is_all(name) and name not in {*self._sets, *self._tools})


def _is_all(name: str) -> bool:
    # Hermes homes name whole bundles `hermes-cli`, `hermes-telegram` …
    return name == "all" or name.startswith("hermes-")
