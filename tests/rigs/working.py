"""Workers: a house whose agents they are, how many serve one, and the frames of one without the SDK."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from gateway.v1 import admin_service_pb2
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.plain import enum_name
from tests.rigs.house import House, eventually, house
from tests.rigs.stream import RawStream

SOON = "gateway: {reconnect_timeout: 300ms}\nagents: {lookup: {remote: true}}\n"
TOKEN = f"gw_robot_{'0' * 43}"
READER = f"gw_reader_{'1' * 43}"
CONFIG = """
gateway: {reconnect_timeout: 2m, http: {port: 0, websocket: true}}
agents:
  lookup: {remote: true, timeout: 30s}
  quick: {remote: true, timeout: 1s}
  other: {remote: true}
  echo: {model: offline/echo}
channels:
  shop: {platform: sim, server: "unix:@net", token: shop, routing: {default: lookup}}
clients:
  robot:
    token_sha256: DIGEST
    scopes: ["agents.register:other", "events.publish:*@*"]
  reader:
    token_sha256: READS
    scopes: ["agents.send:*"]
"""


@contextlib.asynccontextmanager
async def workers_house(folder: Path) -> AsyncIterator[House]:
    """A daemon whose agents are answered by workers, but for `echo`.

    The client `robot` may serve `other` alone, and `reader` none.
    """
    config = CONFIG.replace("DIGEST", hashlib.sha256(TOKEN.encode()).hexdigest())
    config = config.replace("READS", hashlib.sha256(READER.encode()).hexdigest())
    async with house(folder, config) as rig:
        yield rig


async def nobody_serves(rig: House) -> None:
    """Wait until the workers of the test before are gone."""

    async def nobody() -> bool:
        return [await workers_of(rig, name) for name in ("lookup", "quick", "other")] == [0, 0, 0]

    await eventually(nobody)


async def workers_of(rig: House, name: str) -> int:
    """How many serve the agent, which is of the kind that its configuration says."""
    answer = await rig.client.call(
        "AdminService/ListAgents", admin_service_pb2.ListAgentsRequest(), admin_service_pb2.ListAgentsResponse
    )
    agent = next(each for each in answer.agents if each.id == name)
    kind = enum_name(admin_service_pb2.AgentKind.DESCRIPTOR, agent.kind)
    assert kind == ("model" if name == "echo" else "remote")
    return agent.workers


def register(agent: str = "lookup", **more: object) -> pb.ConnectRequest:
    return pb.ConnectRequest(register_agent=pb.RegisterAgent(agent=agent, **more))  # type: ignore[arg-type]


def reply(call_id: str, content: str = "", **more: object) -> pb.ConnectRequest:
    return pb.ConnectRequest(call_reply=pb.CallReply(call_id=call_id, content=content, **more))  # type: ignore[arg-type]


async def worker(stream: RawStream, client_id: str = "raw", agent: str = "lookup", **more: object) -> pb.Welcome:
    """A raw stream that is welcomed and serves the agent."""
    welcome = await stream.hello(client_id)
    await stream.accepted(await stream.ask(register(agent, **more)))
    return welcome


def unregister(agent: str) -> pb.ConnectRequest:
    return pb.ConnectRequest(unregister_agent=pb.UnregisterAgent(agent=agent))


def save(call_id: str, state: str, **more: object) -> pb.ConnectRequest:
    put = pb.SaveCheckpoint(call_id=call_id, state=state, **more)  # type: ignore[arg-type]
    return pb.ConnectRequest(save_checkpoint=put)


def wait_for(call_id: str, prompt: str, state: str, **more: object) -> pb.ConnectRequest:
    wait = pb.WaitForInput(call_id=call_id, prompt=prompt, state=state, **more)  # type: ignore[arg-type]
    return pb.ConnectRequest(wait_for_input=wait)
