"""`PushService`: push topics and polling, a call for each."""

from gateway.v1 import push_service_pb2 as pb
from gateway.v1 import push_service_pb2_grpc

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Action
from gatewayd.core.topic import TopicPattern
from gatewayd.push.members import Member
from gatewayd.push.service import Push, may_see
from gatewayd.push.topics import Wish
from gatewayd.rpc.convert_push import letter_message, member_message, poll_message, topic_message
from gatewayd.rpc.guard import Context, Guard
from gatewayd.rpc.paging import cut, page_of
from gatewayd.rpc.patience import Rates, time_left
from gatewayd.wire.names import MAX_ID, name, required
from gatewayd.wire.push import data_bytes, delivery_ids, metadata_of, status_of, topic_of
from gatewayd.wire.values import refuse, span, span_from

MAX_SCANNED = 20_000
"""Topics that one call looks through; then its page ends early, with a token to go on."""
_NAME = "/gateway.v1.PushService/"


class PushService(push_service_pb2_grpc.PushServiceServicer):
    """Serves the whole service."""

    def __init__(self, *, guard: Guard, push: Push, rates: Rates) -> None:
        self._guard = guard
        self._push = push
        self._rates = rates

    async def CreateTopic(self, request: pb.CreateTopicRequest, context: Context) -> pb.CreateTopicResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.CreateTopicResponse:
            topic = topic_of(request.topic, "topic")
            metadata = metadata_of(request, "metadata")
            return pb.CreateTopicResponse(
                topic=topic_message(await self._push.create_topic(principal, topic, metadata))
            )

        return await self._guard.unary(f"{_NAME}CreateTopic", context, run)

    async def DeleteTopic(self, request: pb.DeleteTopicRequest, context: Context) -> pb.DeleteTopicResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.DeleteTopicResponse:
            members, letters = await self._push.delete_topic(principal, topic_of(request.topic, "topic"))
            return pb.DeleteTopicResponse(member_count=members, dead_letter_count=letters)

        return await self._guard.unary(f"{_NAME}DeleteTopic", context, run)

    async def GetTopic(self, request: pb.GetTopicRequest, context: Context) -> pb.GetTopicResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.GetTopicResponse:
            found = self._push.topic(principal, topic_of(request.topic, "topic"))
            return pb.GetTopicResponse(topic=topic_message(found))

        return await self._guard.unary(f"{_NAME}GetTopic", context, run)

    async def ListTopics(self, request: pb.ListTopicsRequest, context: Context) -> pb.ListTopicsResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.ListTopicsResponse:
            topics = self._push.house.topics
            pattern = TopicPattern.parse(request.pattern) if request.pattern else None
            page = page_of(request.page_size, request.page_token, "ListTopics", request.pattern)
            found: list[str] = []
            last = page.place
            for number, one in enumerate(topics.names(page.place)):
                if len(found) == page.size or number == MAX_SCANNED:
                    break
                last = one
                if (pattern is None or pattern.matches(one)) and may_see(principal, one):
                    found.append(one)
            more = next(topics.names(last), None) is not None
            return pb.ListTopicsResponse(
                topics=[topic_message(topics.need(one)) for one in found],
                next_page_token=page.next(last) if more else "",
            )

        return await self._guard.unary(f"{_NAME}ListTopics", context, run)

    async def PublishToTopic(  # noqa: N802
        self, request: pb.PublishToTopicRequest, context: Context
    ) -> pb.PublishToTopicResponse:
        async def run(principal: Principal) -> pb.PublishToTopicResponse:
            topic, data = topic_of(request.topic, "topic"), data_bytes(request.data, "data")
            client_id = name(request.client_id, "client_id", MAX_ID)
            key = name(request.idempotency_key, "idempotency_key", MAX_ID)
            self._rates.publish(principal.id, 1)
            done = await self._push.publish(
                principal, client_id, topic, data, acknowledged=request.acknowledged, key=key
            )
            return pb.PublishToTopicResponse(message_id=done.message_id, recipient_count=done.recipients)

        return await self._guard.unary(f"{_NAME}PublishToTopic", context, run)

    async def GetPresence(self, request: pb.GetPresenceRequest, context: Context) -> pb.GetPresenceResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.GetPresenceResponse:
            topic = topic_of(request.topic, "topic")
            found = self._push.topic_to_join(principal, topic)
            if request.include_away:
                principal.require(Action.ADMIN_READ)
            page = page_of(request.page_size, request.page_token, "GetPresence", topic, request.include_away)
            members = [one for one in found.members.values() if one.client.present or request.include_away]
            taken, token = cut(members, _place, page)
            return pb.GetPresenceResponse(members=[member_message(one) for one in taken], next_page_token=token)

        return await self._guard.unary(f"{_NAME}GetPresence", context, run)

    async def ListTopicDeadLetters(  # noqa: N802
        self, request: pb.ListTopicDeadLettersRequest, context: Context
    ) -> pb.ListTopicDeadLettersResponse:
        async def run(principal: Principal) -> pb.ListTopicDeadLettersResponse:
            topic = topic_of(request.topic, "topic") if request.topic else ""
            page = page_of(request.page_size, request.page_token, "ListTopicDeadLetters", topic)
            rows = await self._push.dead_letters(principal, topic, page.number, page.size + 1)
            taken = rows[: page.size]
            more = len(rows) > page.size
            return pb.ListTopicDeadLettersResponse(
                dead_letters=[letter_message(one) for one in taken],
                next_page_token=page.next(str(taken[-1].number)) if more else "",
            )

        return await self._guard.unary(f"{_NAME}ListTopicDeadLetters", context, run)

    # Polling

    async def Register(self, request: pb.RegisterRequest, context: Context) -> pb.RegisterResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.RegisterResponse:
            client_id = name(request.client_id, "client_id", MAX_ID)
            done = self._push.house.pollers.register(principal, client_id)
            return pb.RegisterResponse(
                client_id=done.client_id,
                poll_token=done.token,
                wait=span(done.wait),
                heartbeat_interval=span(done.heartbeat_interval),
                expire_after=span(done.expire_after),
            )

        return await self._guard.unary(f"{_NAME}Register", context, run)

    async def Poll(self, request: pb.PollRequest, context: Context) -> pb.PollResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.PollResponse:
            pollers = self._push.house.pollers
            if request.max_messages < 0:
                raise refuse("max_messages", "is negative")
            wait = span_from(request.wait, "wait") if request.HasField("wait") else None
            poller = pollers.find(principal, required(request.poll_token, "poll_token"))
            left = time_left(context)
            if left is not None:
                wait = left if wait is None else min(wait, left)
            return poll_message(await pollers.poll(poller, wait, request.max_messages))

        return await self._guard.unary(f"{_NAME}Poll", context, run)

    async def Ack(self, request: pb.AckRequest, context: Context) -> pb.AckResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.AckResponse:
            peer = self._push.house.pollers.find(principal, required(request.poll_token, "poll_token")).client.peer
            delivery_ids([*request.ack_ids, *request.nack_ids], "ack_ids")
            done = await self._push.ack(peer, list(dict.fromkeys(request.ack_ids))) if request.ack_ids else 0
            again = await self._push.nack(peer, list(dict.fromkeys(request.nack_ids))) if request.nack_ids else 0
            return pb.AckResponse(ack_count=done, nack_count=again)

        return await self._guard.unary(f"{_NAME}Ack", context, run)

    async def JoinTopic(self, request: pb.JoinTopicRequest, context: Context) -> pb.JoinTopicResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.JoinTopicResponse:
            topic = topic_of(request.topic, "topic")
            status = status_of(request.status, "status")
            wish = Wish(request.acknowledged, status, metadata_of(request, "metadata"), request.watch_presence)
            poller = self._push.house.pollers.find(principal, required(request.poll_token, "poll_token"))
            waiting = await self._push.join(
                principal, poller.client, topic, wish, create_if_missing=request.create_if_missing
            )
            return pb.JoinTopicResponse(pending_count=waiting)

        return await self._guard.unary(f"{_NAME}JoinTopic", context, run)

    async def LeaveTopic(self, request: pb.LeaveTopicRequest, context: Context) -> pb.LeaveTopicResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.LeaveTopicResponse:
            topic = topic_of(request.topic, "topic")
            poller = self._push.house.pollers.find(principal, required(request.poll_token, "poll_token"))
            return pb.LeaveTopicResponse(existed=await self._push.leave(poller.client.peer, topic))

        return await self._guard.unary(f"{_NAME}LeaveTopic", context, run)

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Context) -> pb.HeartbeatResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.HeartbeatResponse:
            status, metadata = status_of(request.status, "status"), metadata_of(request, "metadata")
            house = self._push.house
            poller = house.pollers.find(principal, required(request.poll_token, "poll_token"))
            self._push.update_presence(poller.client.peer, "", status, metadata, keep=True)
            return pb.HeartbeatResponse(present_for=span(house.clients.offline_timeout))

        return await self._guard.unary(f"{_NAME}Heartbeat", context, run)


def _place(member: Member) -> str:
    return f"{member.client.peer.principal} {member.client.peer.client_id}"
