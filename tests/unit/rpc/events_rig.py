"""Events over unary calls, made, published, listed and waited for."""

from gateway.v1 import event_pb2, event_service_pb2, event_type_pb2
from rpc_rig import FakeCall

ALL = event_pb2.EventFilter(all_types=True)
CUSTOM = event_pb2.EventFilter(types=[event_type_pb2.EVENT_TYPE_CUSTOM])


def custom(name, topic="", **fields):
    event = event_pb2.Event(id=name, type=event_type_pb2.EVENT_TYPE_CUSTOM, custom_type="order", topic=topic, **fields)
    event.custom.json.update({"name": name})
    return event


async def publish(rig, *events, who="ann"):
    request = event_service_pb2.PublishRequest(events=events).SerializeToString()
    return await rig.events.Publish(request, FakeCall(who))


async def listed(rig, who="ann", **request):
    data = await rig.events.ListEvents(event_service_pb2.ListEventsRequest(**request), FakeCall(who))
    return event_service_pb2.ListEventsResponse.FromString(data)


async def wait(rig, who="ann", left=None, **request):
    return await rig.events.WaitForEvent(event_service_pb2.WaitForEventRequest(**request), FakeCall(who, left))
