"""Messages between agents, as a client sees them: publishing on a topic, instances and their states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gateway.v1 import agent_service_pb2 as pb
from gateway.v1 import event_service_pb2
from google.protobuf.message import Message

from gatewayctl.sdk.objects import fill

__all__ = ["Calls", "Loaded", "Messages", "Published", "publish_request"]

_Answer = TypeVar("_Answer", bound=Message)
PAGE = 500
FOREVER = 86_400.0
"""Seconds that an agent may take at most."""
GRACE = 5.0
"""Seconds that the call may take longer than the agent."""


class Calls(Protocol):
    """Makes unary calls; the client."""

    async def call(
        self, method: str, request: Message, answer: type[_Answer], *, timeout: float | None = None
    ) -> _Answer: ...


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a message on a topic."""

    executions: Mapping[str, str]
    """The execution in which each agent handles it, by agent."""
    duplicates: frozenset[str]
    """Agents that had it already, by the idempotency key."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a saved state."""

    loaded: tuple[str, ...]
    """Instances, as `AGENT/KEY`."""
    unknown: tuple[str, ...]
    """Agents that are not configured; they were left out."""
    subscriptions: int
    """How many were added."""


class Messages:
    """A part of `Client`."""

    async def publish_message(
        self: Calls,
        topic: str,
        message: str | Mapping[str, Any],
        *,
        data_type: str = "",
        idempotency_key: str = "",
        correlation_id: str = "",
    ) -> Published:
        """Publish on a topic (`TYPE` or `TYPE/SOURCE`); returns once every agent that hears it has it on disk.

        `message` is text, or a JSON object of the type `data_type`. The same key brings it to nobody twice; with other
        content it is Conflict. PermissionDenied unless you may send to all that hear the topic.
        """
        request = publish_request(topic, message, data_type)
        request.idempotency_key, request.correlation_id = idempotency_key, correlation_id
        answer = await self.call("AgentService/PublishMessage", request, pb.PublishMessageResponse)
        executions = {one.agent: one.execution_id for one in answer.executions}
        return Published(executions, frozenset(one.agent for one in answer.executions if one.duplicate))

    async def agent_instances(self: Calls, agent: str = "") -> list[str]:
        """The instances that the message engine has now, as `AGENT/KEY`; those of one agent, or all."""
        found: list[str] = []
        token = ""
        while True:
            request = pb.ListAgentInstancesRequest(agent=agent, page_size=PAGE, page_token=token)
            answer = await self.call("AgentService/ListAgentInstances", request, pb.ListAgentInstancesResponse)
            found += [f"{one.agent}/{one.key}" for one in answer.instances]
            token = answer.next_page_token
            if not token:
                return found

    async def save_state(self: Calls, name: str = "", agents: Sequence[str] = ()) -> list[str]:
        """Save the state of these instances (`AGENT/KEY`), or of all, under a name; the instances that were saved."""
        request = pb.SaveStateRequest(name=name, agents=agents)
        return list((await self.call("AgentService/SaveState", request, pb.SaveStateResponse)).saved)

    async def load_state(self: Calls, name: str = "", agents: Sequence[str] = ()) -> Loaded:
        """Take up what was saved under a name; NotFound if nothing was."""
        request = pb.LoadStateRequest(name=name, agents=agents)
        answer = await self.call("AgentService/LoadState", request, pb.LoadStateResponse)
        return Loaded(tuple(answer.loaded), tuple(answer.unknown), answer.subscriptions)


def publish_request(topic: str, message: str | Mapping[str, Any], data_type: str = "") -> pb.PublishMessageRequest:
    """The request that publishes it."""
    request = pb.PublishMessageRequest(topic=topic, data_type=data_type)
    fill_content(request, message)
    return request


def fill_content(
    request: pb.PublishMessageRequest | event_service_pb2.PublishMessage, message: str | Mapping[str, Any]
) -> None:
    """What is published: text, or a JSON object."""
    if isinstance(message, str):
        request.text = message
    else:
        fill(request.json, message, "json")
