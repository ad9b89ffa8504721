"""The handlers behind a real server: the bytes of each call, and what cannot be read."""

import grpc
import pytest
from gateway.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc, event_type_pb2, session_service_pb2
from gateway.v1 import session_service_pb2_grpc as session_grpc
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from gatewayd.rpc.services import SERVICES, handlers

ANN = (("authorization", "Bearer ann"),)


@pytest.fixture
async def channel(rig, tmp_path):
    server = aio.server()
    served = handlers(
        guard=rig.guard,
        hub=None,
        router=rig.router,
        runtime=rig.runtime,
        closing=rig.closing,
        store=rig.store,
        bus=rig.bus,
        publishing=rig.publishing,
        sends=rig.sends,
        speaking=None,
        rates=rig.rates,
        push=None,
        entry_points=None,
        operations=rig.operations,
        state=rig.state,
        watches=rig.watches,
        goals=rig.goals,
        works_on=lambda _principal, _execution: False,
        messaging=rig.messaging,
        clock=rig.clock,
    )
    assert len(served) == len(SERVICES)
    server.add_generic_rpc_handlers(served)
    server.add_insecure_port(f"unix:{tmp_path}/s")
    await server.start()
    async with aio.insecure_channel(f"unix:{tmp_path}/s") as channel:
        yield channel
    await server.stop(None)


async def test_events_pass_as_bytes_and_arrive_as_events(channel):
    stub = event_service_pb2_grpc.EventServiceStub(channel)
    event = event_pb2.Event(id="a", type=event_type_pb2.EVENT_TYPE_CUSTOM, custom_type="order")
    event.custom.json.update({"n": 1})
    published = await stub.Publish(event_service_pb2.PublishRequest(events=[event]), metadata=ANN)
    page = await stub.ListEvents(event_service_pb2.ListEventsRequest(), metadata=ANN)
    assert [(one.id, one.custom.json["n"]) for one in page.events] == [("a", 1)]
    assert published.cursor.endswith(":1")


async def test_an_ordinary_call(channel, rig):
    await rig.work(1)
    stub = session_grpc.SessionServiceStub(channel)
    answer = await stub.ListSessions(session_service_pb2.ListSessionsRequest(), metadata=ANN)
    assert [one.id for one in answer.sessions] == ["s1"]


@pytest.mark.parametrize(
    "method",
    ["EventService/Publish", "EventService/ListEvents", "SessionService/GetSession", "AgentService/SendMessage"],
)
async def test_what_cannot_be_read_is_the_callers_fault_and_asked_after_who_calls(channel, method):
    call = channel.unary_unary(f"/gateway.v1.{method}")
    for metadata, code, reason in (
        (ANN, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ((("authorization", "Bearer nobody"),), grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"),
    ):
        with pytest.raises(aio.AioRpcError) as caught:
            await call(b"\xff\xff\xff", metadata=metadata)
        assert caught.value.code() is code
        details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
        info = error_details_pb2.ErrorInfo()
        status_pb2.Status.FromString(details).details[0].Unpack(info)
        assert (info.reason, info.domain) == (reason, "gatewayd")


async def test_what_nobody_serves_is_unimplemented(channel):
    with pytest.raises(aio.AioRpcError) as caught:
        await channel.unary_unary("/gateway.v1.SessionService/Nothing")(b"", metadata=ANN)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
