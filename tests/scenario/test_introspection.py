"""What the daemon serves of grpc's own: it is loaded when somebody asks, and answers as any other service does."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from gatewayd.rpc.neighbours import SERVICES
from tests.rigs.house import House, house
from tests.rigs.unary import call

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = f"gw_operator_{'0' * 43}"
CONFIG = f"""
agents: {{echo: {{model: offline/echo}}}}
clients:
  operator: {{token_sha256: {hashlib.sha256(TOKEN.encode()).hexdigest()}, scopes: [admin.read]}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("introspection"), CONFIG) as rig:
        yield rig


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_names_every_service_and_knows_its_file(rig: House, version: str) -> None:
    asked = reflection_pb2.ServerReflectionRequest
    async with grpc.aio.insecure_channel(rig.daemon.address) as channel:
        stream: Any = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=asked.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )(timeout=60)
        await stream.write(asked(list_services=""))
        listed = {one.name for one in (await stream.read()).list_services_response.service}
        await stream.write(asked(file_containing_symbol="gateway.v1.AdminService"))
        files = (await stream.read()).file_descriptor_response.file_descriptor_proto
        await stream.done_writing()

    assert set(SERVICES) | {"grpc.health.v1.Health", "grpc.channelz.v1.Channelz"} <= listed
    assert "gateway/v1/admin_service.proto" in {FileDescriptorProto.FromString(one).name for one in files}


async def test_channelz_tells_who_comes_by_the_socket_and_nobody_else(rig: House) -> None:
    async with grpc.aio.insecure_channel(rig.daemon.address) as channel:
        stub = channelz_pb2_grpc.ChannelzStub(channel)
        found = await stub.GetServers(channelz_pb2.GetServersRequest(), timeout=60)

    error = await call(f"127.0.0.1:{rig.daemon.port}", "/grpc.channelz.v1.Channelz/GetServers", TOKEN)

    assert found.server
    assert error is not None
    assert (error.code, error.message) == (
        grpc.StatusCode.PERMISSION_DENIED.value[0],
        "channelz is served on the unix socket only",
    )


@pytest.mark.parametrize("method", ["/grpc.channelz.v1.Channelz/GetNothing", "/grpc.reflection.v2.Nothing/Get", "/"])
async def test_what_nobody_serves_is_unimplemented(rig: House, method: str) -> None:
    error = await call(rig.daemon.address, method)

    assert error is not None
    assert error.code == grpc.StatusCode.UNIMPLEMENTED.value[0]
