"""Every model that LiteLLM knows, and every OpenAI-compatible server by `base_url`.

LiteLLM is a guest: it is imported in `load()` and nowhere else (seconds and 150 MB), told to keep quiet and to stay off
the network but for the calls themselves, and used through `acompletion` only. Its retries and fallbacks are off:
`providers.fallback` has ours. Its proxy is never used (CVE-2026-42208 and others).
"""

import asyncio
import importlib
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any

from gatewayd.core.clock import Clock
from gatewayd.providers import openai_form as form
from gatewayd.providers.base import (
    ChatMessage,
    Delta,
    Finished,
    ModelError,
    ModelRefused,
    ModelTruncated,
    ModelUnavailable,
    Prompt,
    Role,
    Text,
    ToolSchema,
    Usage,
)
from gatewayd.providers.bounds import bounded

_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")
_TRANSIENT = frozenset({408, 409, 425, 429})
_NO_KEY = "none"
_WARM_UP_URL = "http://127.0.0.1:0/v1"

_log = logging.getLogger(__name__)


class LiteLLMProvider:
    """See the module's docstring. One per process: what LiteLLM keeps is global to it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._litellm: Any = None

    async def load(self) -> None:
        """Import LiteLLM and make it do what it puts off until its first call.

        Takes seconds. A reload does it while others are served: in a thread the import makes the loop up to 0.2 s
        late instead of 5 s. What it puts off belongs to the loop, and blocks it for about half a second.
        """
        if self._litellm is None:
            self._litellm = await asyncio.to_thread(_import)
            # Two calls that reach no server: it imports its clients and its tokenizer when they are first used.
            await self._warm_up(mock_response="ready")
            await self._warm_up()

    def stream(self, prompt: Prompt) -> AsyncIterator[Delta]:
        return bounded(self._answer(prompt), clock=self._clock, timeout=prompt.timeout)

    async def close(self) -> None:
        if self._litellm is not None:
            await self._litellm.close_litellm_async_clients()
            # The closed clients stay in its cache, where a provider of a later reload would find them.
            self._litellm.in_memory_llm_clients_cache.flush_cache()

    async def _answer(self, prompt: Prompt, **extra: str) -> AsyncGenerator[Delta, None]:
        if self._litellm is None:
            raise RuntimeError("stream() before load()")
        shown = False
        usage = Usage()
        finish: str | None = None
        try:
            stream = await self._litellm.acompletion(**self._arguments(prompt), **extra)
            async with aclosing(stream):
                async for chunk in stream:
                    usage = form.usage(chunk) or usage
                    finish = form.finish_reason(chunk) or finish
                    for delta in form.deltas(chunk):
                        shown = shown or isinstance(delta, Text)
                        yield delta
        except Exception as error:  # the boundary to LiteLLM, whose exceptions are not all its own
            raise self._verdict(error, shown) from error
        # A stream without a finish reason was cut off, but LiteLLM makes up a "stop" for it. What the server itself
        # said is kept here and nowhere else (1.106).
        if not (stream.received_finish_reason or stream.intermittent_finish_reason):
            raise _broken_off(shown)
        yield Finished(form.read_finish(finish), usage)

    async def _warm_up(self, **extra: str) -> None:
        tools = [ToolSchema("ready", "Say so.", {"type": "object", "properties": {}})]
        prompt = Prompt("openai/warm-up", [ChatMessage(Role.USER, "ready?")], tools, base_url=_WARM_UP_URL)
        with suppress(ModelError):
            async with aclosing(self._answer(prompt, **extra)) as deltas:
                async for _ in deltas:
                    pass

    def _arguments(self, prompt: Prompt) -> dict[str, Any]:
        arguments = form.request(prompt)
        if prompt.base_url:
            arguments["base_url"] = prompt.base_url
            # Without a key of ours LiteLLM would send the one that it finds in the environment to this server.
            arguments["api_key"] = _NO_KEY
        if prompt.api_key is not None:
            arguments["api_key"] = prompt.api_key.reveal()
        return arguments | {
            "stream": True,
            "stream_options": {"include_usage": True},
            "drop_params": True,
            "num_retries": 0,
            "max_retries": 0,
            # Only in case ours fails: the deadlines are kept by `bounded`, by our clock.
            "timeout": prompt.timeout * 2 + 60,
        }

    def _verdict(self, error: Exception, shown: bool) -> ModelError:
        """What an exception means. Its text may quote the prompt or the key, so it goes to the debug log only."""
        status = getattr(error, "status_code", None)
        _log.debug("litellm_error", exc_info=error)
        if not isinstance(status, int):
            if not isinstance(error, self._litellm.Timeout | self._litellm.APIConnectionError):
                _log.warning("litellm_crashed", extra={"error": type(error).__name__})
            status = 0
        name = type(getattr(error, "original_exception", None) or error).__name__
        what = f"{name} {status}" if status else name
        if 400 <= status < 500 and status not in _TRANSIENT:
            return ModelRefused(what)
        if shown:
            return ModelTruncated(what)
        return ModelUnavailable(what, retry_after=form.retry_after(error, self._clock.now()))


def _broken_off(shown: bool) -> ModelError:
    text = "the stream ended without a finish reason"
    return ModelTruncated(text) if shown else ModelUnavailable(text)


def _import() -> Any:
    """LiteLLM, quiet."""
    # Else it fetches its price list from the network while it is imported, and reads a `.env` it happens to find.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    # Nobody else's package takes part in its models; pydantic would read all that is installed to look for such.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    litellm: Any = importlib.import_module("litellm")
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        # Its handlers write past our own, and what it logs may quote prompts.
        logger.handlers.clear()
        logger.setLevel(logging.CRITICAL)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    litellm.disable_hf_tokenizer_download = True
    for callbacks in ("callbacks", "input_callback", "success_callback", "failure_callback", "service_callback"):
        setattr(litellm, callbacks, [])
    return litellm
