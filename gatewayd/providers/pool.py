"""The providers of the daemon by name, made when the first model needs them and closed when the last one is done.

Generations overlap: a reload builds new agents beside the old ones, and running turns finish on what they began with.
So a provider is shared by both, and one that is no longer needed closes at the end of its last stream, not before.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Final

from gatewayd.core.clock import Clock
from gatewayd.providers.base import Delta, LLMProvider, Prompt
from gatewayd.providers.bounds import closing

DEFAULT: Final = "litellm"
"""The provider of every model whose name does not begin with another provider's."""


class SharedProvider:
    """An `LLMProvider` that several agents use and nobody but its pool ends."""

    def __init__(self, provider: LLMProvider) -> None:
        self._provider = provider
        self._streams = 0
        self._retired = False

    async def load(self) -> None:
        await self._provider.load()

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta]:
        self._streams += 1
        try:
            async with closing(self._provider.stream(prompt)) as deltas:
                async for delta in deltas:
                    yield delta
        finally:
            self._streams -= 1
            if self._retired and not self._streams:
                await self._provider.close()

    async def close(self) -> None:
        """Close now, or at the end of the last stream."""
        if not self._retired:
            self._retired = True
            if not self._streams:
                await self._provider.close()

    def revive(self) -> bool:
        """Take `close` back, where it has not happened yet; whether this one can still be used."""
        alive = not self._retired or self._streams > 0
        self._retired = self._retired and not alive
        return alive


class ProviderPool:
    """Made of the plugins of the group `gatewayd.providers`: name → function that imports a class taking a `Clock`."""

    def __init__(self, plugins: Mapping[str, Callable[[], Any]], clock: Clock) -> None:
        self._plugins = dict(plugins)
        self._clock = clock
        self._providers: dict[str, SharedProvider] = {}
        self._leaving: dict[str, SharedProvider] = {}

    def name_for(self, model: str) -> str:
        """Which provider answers for a model: the part before the first slash if it names one, else `litellm`."""
        prefix, slash, _ = model.partition("/")
        return prefix if slash and prefix in self._plugins else DEFAULT

    def has(self, name: str) -> bool:
        """Whether there is a provider of this name."""
        return name in self._plugins

    async def open(self, names: Iterable[str]) -> dict[str, LLMProvider]:
        """The providers of these names, loaded. What fails leaves those that were open before as they are."""
        wanted = sorted(set(names))
        opened: dict[str, SharedProvider] = {}
        try:
            for name in wanted:
                provider = self._providers.get(name)
                if provider is None:
                    # Not a second one beside one that is leaving: what LiteLLM closes, it closes for both.
                    leaving = self._leaving.get(name)
                    provider = leaving if leaving is not None and leaving.revive() else self._make(name)
                    opened[name] = provider
                    await provider.load()
        except BaseException:
            for provider in opened.values():
                await provider.close()
            raise
        self._providers.update(opened)
        return {name: self._providers[name] for name in wanted}

    async def keep(self, names: Iterable[str]) -> None:
        """Close all others, each at the end of its last stream."""
        wanted = set(names)
        leaving = [name for name in self._providers if name not in wanted]
        for name in leaving:
            provider = self._leaving[name] = self._providers.pop(name)
            await provider.close()

    def _make(self, name: str) -> SharedProvider:
        return SharedProvider(self._plugins[name]()(self._clock))
