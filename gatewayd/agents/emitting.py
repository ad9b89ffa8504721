"""One helper for each type of event that an agent may emit about its own execution."""

from collections.abc import Mapping
from typing import Any, Protocol

from gatewayd.core.event import EventType


class Emits(Protocol):
    """A part of `AgentContext`.

    An event belongs to the execution, its session and its correlation; it is on its way when the helper returns, behind
    what was emitted before. Raises `InvalidArgument` for data that does not fit the type.
    """

    def emit(
        self,
        kind: EventType,
        data: Mapping[str, Any],
        *,
        node_id: str = "",
        topic: str = "",
        custom_type: str = "",
        ephemeral: bool = False,
    ) -> None:
        """Any type that a worker or a client may emit; `InvalidArgument` for one that is the gateway's own.

        `custom_type` and `ephemeral` are for `custom` alone.
        """
        ...

    def log_step(self, text: str, *, input_tokens: int = 0, output_tokens: int = 0, node_id: str = "") -> None:
        """A line of the execution's log: what was called, never what was said; no event. Cut after 200 characters."""
        del text, input_tokens, output_tokens, node_id  # who keeps no log has nothing to do

    def emit_node_loop_started(self, node_id: str, max_iterations: int) -> None:
        """A node begins its loop, of at most so many rounds."""
        self.emit(EventType.NODE_LOOP_STARTED, {"max_iterations": max_iterations}, node_id=node_id)

    def emit_node_loop_iteration(self, node_id: str, iteration: int) -> None:
        """A node begins a round, counted from 1."""
        self.emit(EventType.NODE_LOOP_ITERATION, {"iteration": iteration}, node_id=node_id)

    def emit_node_loop_completed(self, node_id: str, iterations: int) -> None:
        """A node has ended its loop after so many rounds."""
        self.emit(EventType.NODE_LOOP_COMPLETED, {"iterations": iterations}, node_id=node_id)

    def emit_node_internal_output(self, node_id: str, content: str) -> None:
        """Text of a node that does not face the client. Ephemeral."""
        self.emit(EventType.NODE_INTERNAL_OUTPUT, {"content": content}, node_id=node_id)

    def emit_node_input_blocked(self, node_id: str, prompt: str = "") -> None:
        """A node that does not face the client waits for input."""
        self.emit(EventType.NODE_INPUT_BLOCKED, {"prompt": prompt}, node_id=node_id)

    def emit_node_stalled(self, node_id: str, reason: str = "") -> None:
        """A node has made no progress for too long."""
        self.emit(EventType.NODE_STALLED, {"reason": reason}, node_id=node_id)

    def emit_llm_text_delta(self, content: str, offset: int, *, node_id: str = "") -> None:
        """New text of a model behind `offset` characters. Ephemeral. For the answer itself put out a `TextOutput`."""
        self.emit(EventType.LLM_TEXT_DELTA, {"content": content, "offset": offset}, node_id=node_id)

    def emit_llm_reasoning_delta(self, content: str, *, node_id: str = "") -> None:
        """New text of a model's reasoning. Ephemeral."""
        self.emit(EventType.LLM_REASONING_DELTA, {"content": content}, node_id=node_id)

    def emit_tool_call_started(
        self, tool_use_id: str, tool_name: str, tool_input: Mapping[str, Any] | None = None, *, node_id: str = ""
    ) -> None:
        """A tool is called; `tool_use_id` tells the calls of an execution apart."""
        data = {"tool_use_id": tool_use_id, "tool_name": tool_name, "tool_input": dict(tool_input or {})}
        self.emit(EventType.TOOL_CALL_STARTED, data, node_id=node_id)

    def emit_tool_call_completed(
        self, tool_use_id: str, tool_name: str, result: str = "", *, is_error: bool = False, node_id: str = ""
    ) -> None:
        """A tool has answered."""
        data = {"tool_use_id": tool_use_id, "tool_name": tool_name, "result": result, "is_error": is_error}
        self.emit(EventType.TOOL_CALL_COMPLETED, data, node_id=node_id)

    def emit_client_output_delta(self, content: str, offset: int, *, node_id: str = "") -> None:
        """New text for the client behind `offset` characters, of a node that faces it. Ephemeral."""
        self.emit(EventType.CLIENT_OUTPUT_DELTA, {"content": content, "offset": offset}, node_id=node_id)

    def emit_client_input_requested(self, prompt: str = "", *, node_id: str = "") -> None:
        """A node that faces the client waits for its input."""
        self.emit(EventType.CLIENT_INPUT_REQUESTED, {"prompt": prompt}, node_id=node_id)

    def emit_message(
        self,
        content: str,
        *,
        parts: Mapping[str, Any] | None = None,
        sender: str = "",
        reply_to: str = "",
        topic: str = "",
    ) -> None:
        """Something was said: `sender` names who, `reply_to` the message that it answers."""
        data = {"content": content, "parts": dict(parts or {}), "sender": sender, "reply_to": reply_to}
        self.emit(EventType.MESSAGE, data, topic=topic)

    def emit_error(self, reason: str, message: str = "", *, topic: str = "") -> None:
        """Something went wrong: `reason` is for programs, `message` for people."""
        self.emit(EventType.ERROR, {"reason": reason, "message": message}, topic=topic)

    def emit_broadcast(self, content: str, *, topic: str = "") -> None:
        """For every client that is connected and may see the session. Ephemeral."""
        self.emit(EventType.BROADCAST, {"content": content}, topic=topic)

    def emit_custom(
        self, custom_type: str, data: Mapping[str, Any] | None = None, *, topic: str = "", ephemeral: bool = False
    ) -> None:
        """An event of a type of the agent's own."""
        self.emit(EventType.CUSTOM, dict(data or {}), topic=topic, custom_type=custom_type, ephemeral=ephemeral)
