"""The tools every installation has."""

from hermesd.tool.file import ListFilesTool, ReadFileTool, SearchFilesTool, WriteFileTool
from hermesd.tool.memory import MemoryTool
from hermesd.tool.message import SendMessageTool
from hermesd.tool.registry import ToolRegistry


def builtin_tools() -> ToolRegistry:
    """A new registry holding the toolsets `memory`, `messaging` and `file`."""
    registry = ToolRegistry()
    registry.register("memory", MemoryTool())
    registry.register("messaging", SendMessageTool())
    registry.register("file", ReadFileTool(), WriteFileTool(), ListFilesTool(), SearchFilesTool())
    return registry
