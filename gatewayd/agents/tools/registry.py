"""All tools that agents may be granted, by name; imported when the first agent asks for one."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gatewayd.agents.tools.base import Tool
from gatewayd.agents.tools.functions import FunctionTool


class ToolRegistry:
    """Made of the plugins of the group `gatewayd.tools`: name → function that imports it."""

    def __init__(self, plugins: Mapping[str, Callable[[], Any]]) -> None:
        self._plugins = dict(plugins)
        self._tools: dict[str, Tool] = {}

    def names(self) -> Sequence[str]:
        return sorted(self._plugins)

    def get(self, name: str) -> Tool:
        """The tool; `KeyError` when there is none, `PluginError` or `TypeError` when it cannot be used."""
        if name not in self._tools:
            found = self._plugins[name]()
            self._tools[name] = FunctionTool(found, name) if inspect.isroutine(found) else found
        return self._tools[name]
