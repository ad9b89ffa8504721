"""An agent that a model answers for: prompt → stream → tool calls → … → answer.

One *step* is one call of the model. Text is put out as it streams. Tool calls are run only when the model has finished
the step with them, one after the other, through the `Toolbox`; their results begin the next step. Steering is taken in
between steps. The last step that is allowed offers no tools, so that the turn ends in an answer.

A checkpoint stands before a step's first tool call and behind every result: a turn that comes back asks the model for
nothing again that it has said, and a call that was cut off is made with the same idempotency key.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from gatewayd.agents.base import (
    AgentContext,
    AgentFailed,
    Output,
    ReasoningOutput,
    TextOutput,
    ToolCompleted,
    ToolStarted,
    Turn,
)
from gatewayd.agents.progress import Progress
from gatewayd.agents.step import Step
from gatewayd.agents.tools.toolbox import Caller, Toolbox, ToolResult, read_arguments
from gatewayd.config.model import AgentSection
from gatewayd.providers.base import (
    ChatMessage,
    FinishReason,
    LLMProvider,
    ModelError,
    ModelRefused,
    ModelTruncated,
    Prompt,
    Reasoning,
    Role,
    Text,
    ToolCall,
)
from gatewayd.providers.bounds import closing

MAX_CALLS_PER_STEP: Final = 8
"""Tool calls that one step may make; the model is told of the ones beyond it."""
CUT_MARK: Final = "\n\n[cut: the answer reached its length limit]"
"""Put out after an answer that the model had to cut short."""
_MAX_SHOWN_NAME = 64


class LLMAgent:
    """See the module's docstring. One object serves all turns; a turn's state lives in its `run()`."""

    def __init__(
        self, name: str, section: AgentSection, *, provider: LLMProvider, model: str, tools: Toolbox, timeout: float
    ) -> None:
        """`provider` is the chain for `model` and its fallbacks; `timeout` is `Prompt.timeout`, in seconds."""
        self._name = name
        self._section = section
        self._provider = provider
        self._model = model
        self._tools = tools
        self._timeout = timeout
        self._system = section.system_prompt()

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        progress = Progress.of(ctx.resumed)
        messages = [*self._opening(turn, ctx.resumed), *progress.messages]
        caller = Caller(ctx.clock, ctx.execution_id, turn.principal, turn.call_scope)
        while True:
            for place, call in progress.open_calls():
                yield ToolStarted(call.id, call.name[:_MAX_SHOWN_NAME], _shown_input(call))
                result = await self._call(place, call, caller, progress.said)
                messages.append(ChatMessage(Role.TOOL, result.text, tool_call_id=call.id))
                progress.answers(messages[-1])
                yield ToolCompleted(call.id, call.name[:_MAX_SHOWN_NAME], result.text, result.is_error)
                await ctx.checkpoint(progress.state())
            if progress.step >= self._section.max_steps:
                raise AgentFailed(
                    f"I stopped after {self._section.max_steps} steps without an answer.",
                    cause=f"the model asked for tools in each of {self._section.max_steps} steps",
                )
            progress.step += 1
            messages.extend(ChatMessage(Role.USER, text) for text in ctx.take_steering())
            step = Step(progress.step)
            separator = "\n\n" if progress.has_text else ""
            prompt = self._prompt(progress.step, messages)
            with _FAILURES:
                async with closing(self._provider.stream(prompt)) as deltas:
                    async for delta in deltas:
                        step.add(delta)
                        if isinstance(delta, Text) and delta.content:
                            if separator:
                                yield TextOutput(separator)
                                separator = ""
                            yield TextOutput(delta.content)
                        elif isinstance(delta, Reasoning) and delta.content:
                            yield ReasoningOutput(delta.content)
            used = step.usage
            ctx.log_step(
                f"{progress.step}: {self._model} ({step.finish})",
                input_tokens=used.input_tokens,
                output_tokens=used.output_tokens,
            )
            if step.finish is not FinishReason.TOOL_CALLS:
                if tail := self._ending(step, progress.step):
                    yield TextOutput(tail)
                return
            calls = step.calls()
            messages.append(_asked(step.text, calls))
            progress.asks(messages[-1], calls, has_text=bool(step.text.strip()))
            await ctx.checkpoint(progress.state(), at="start")

    def tool_stats(self) -> dict[str, int]:
        """See `Toolbox.stats`."""
        return self._tools.stats()

    def _opening(self, turn: Turn, resumed: Mapping[str, Any] | None) -> list[ChatMessage]:
        """System prompt, history, what was known before the execution began, and what is asked now."""
        messages = [ChatMessage(Role.SYSTEM, self._system)] if self._system else []
        assistant, user = Role.ASSISTANT, Role.USER
        messages += [
            ChatMessage(assistant if entry.role == "assistant" else user, entry.content) for entry in turn.history
        ]
        if resumed is not None and resumed.get("memory"):
            known = json.dumps(resumed["memory"], ensure_ascii=False)
            messages.append(ChatMessage(Role.SYSTEM, f"What is known from earlier work, as JSON: {known}"))
        messages.append(ChatMessage(Role.USER, turn.text))
        return messages

    def _prompt(self, number: int, messages: Sequence[ChatMessage]) -> Prompt:
        tools = self._tools.schemas()
        choice = self._section.tool_choice
        if choice == "required" and number > 1:
            choice = "auto"  # required in every step would never let it answer
        if number == self._section.max_steps and number > 1:
            choice = "none"
        return Prompt(
            model=self._model,
            messages=tuple(messages),
            tools=tools,
            tool_choice=choice if tools else "auto",
            temperature=self._section.temperature,
            max_tokens=self._section.max_tokens,
            timeout=self._timeout,
        )

    def _ending(self, step: Step, number: int) -> str:
        """Text to put out after a step without tool calls; raises when it is no answer."""
        if step.finish is FinishReason.CONTENT_FILTER:
            raise AgentFailed("The model's provider withheld this answer.", cause="content_filter")
        if step.has_pieces:
            # Half a call, or one that the model did not stand by: never run.
            raise AgentFailed("The model broke off while calling a tool.", cause=f"finish reason {step.finish}")
        if step.finish is FinishReason.LENGTH:
            if not step.text.strip():
                raise AgentFailed("The model reached its length limit before it answered.", cause="length")
            return CUT_MARK
        # After a tool has done the work, silence can be meant; at first it is a defect, and the user waits.
        if not step.text.strip() and number == 1:
            raise AgentFailed("The model gave an empty answer.", cause="empty answer")
        return ""

    async def _call(self, place: int, call: ToolCall, caller: Caller, said: Counter[tuple[str, str]]) -> ToolResult:
        if place >= MAX_CALLS_PER_STEP:
            return ToolResult(f"Error: at most {MAX_CALLS_PER_STEP} tool calls are made at a time", is_error=True)
        key = (call.name, call.arguments)
        occurrence, said[key] = said[key], said[key] + 1
        return await self._tools.run(call, caller, occurrence)


class _Failures:
    """Makes of a model's verdict what the user is told."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, ModelError):
            return
        if isinstance(error, ModelTruncated):
            said = "The model's answer broke off."
        elif isinstance(error, ModelRefused):
            said = "The model refused this request."
        else:
            said = "The model is not available right now. Please try again later."
        raise AgentFailed(said, cause=str(error)) from error


_FAILURES: Final = _Failures()


def _asked(text: str, calls: Sequence[ToolCall]) -> ChatMessage:
    """The step as the model is reminded of it. Arguments that are no JSON become `{}`: some providers parse them."""
    shown = tuple(ToolCall(call.id, call.name, json.dumps(_shown_input(call))) for call in calls)
    return ChatMessage(Role.ASSISTANT, text, tool_calls=shown)


def _shown_input(call: ToolCall) -> dict[str, object]:
    try:
        return read_arguments(call.arguments)
    except ValueError:
        return {}
