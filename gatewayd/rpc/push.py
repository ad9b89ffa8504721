"""`PushService`: push topics and polling, a call for each."""

from gateway.v1 import push_service_pb2 as pb

from gatewayd.access.audit import Audit
from gatewayd.access.principals import Principal
from gatewayd.core.errors import NotFound
from gatewayd.core.topic import TopicPattern
from gatewayd.push.calls import PollCalls
from gatewayd.push.service import Push, may_see, place_of
from gatewayd.rpc.contract import PushServiceServicer
from gatewayd.rpc.convert_push import letter_message, topic_message
from gatewayd.rpc.guard import Context, Guard
from gatewayd.rpc.paging import cut, page_of
from gatewayd.rpc.patience import Rates, time_left
from gatewayd.wire.names import MAX_ID, name, required
from gatewayd.wire.push import data_bytes, metadata_of, topic_of
from gatewayd.wire.push_calls import (
    ack_call,
    ack_response,
    heartbeat_call,
    heartbeat_response,
    join_call,
    join_response,
    leave_call,
    leave_response,
    poll_call,
    poll_response,
    presence_response,
    register_call,
    register_response,
)

MAX_SCANNED = 20_000
"""Topics that one call looks through; then its page ends early, with a token to go on."""
MAX_DIGITS = 18
"""Of a dead letter's number."""
_NAME = "/gateway.v1.PushService/"


class PushService(PushServiceServicer):
    """Serves the whole service."""

    def __init__(self, *, guard: Guard, push: Push, rates: Rates, audit: Audit) -> None:
        self._guard = guard
        self._push = push
        self._rates = rates
        self._audit = audit
        self._calls = PollCalls(push)

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
            topic = topic_of(request.topic, "topic")
            members, letters = await self._push.delete_topic(principal, topic)
            self._audit.record(
                principal=principal.id,
                action="delete_topic",
                subject=topic,
                decision="deleted",
                detail=f"{members} members, {letters} dead letters",
            )
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
            members = self._push.presence(principal, topic, include_away=request.include_away)
            page = page_of(request.page_size, request.page_token, "GetPresence", topic, request.include_away)
            taken, token = cut(members, place_of, page)
            return presence_response([one.info() for one in taken], token)

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

    async def RetryTopicDeadLetter(  # noqa: N802
        self, request: pb.RetryTopicDeadLetterRequest, context: Context
    ) -> pb.RetryTopicDeadLetterResponse:
        async def run(principal: Principal) -> pb.RetryTopicDeadLetterResponse:
            wanted = required(request.dead_letter_id, "dead_letter_id")
            if not (wanted.isascii() and wanted.isdigit() and len(wanted) <= MAX_DIGITS):
                raise NotFound(f"there is no dead letter {wanted!r}")
            letter, done = await self._push.retry_letter(principal, int(wanted))
            self._audit.record(
                principal=principal.id,
                action="retry_topic_dead_letter",
                subject=letter.topic,
                decision="retried",
                detail=f"{letter.peer.principal}/{letter.peer.client_id}: {letter.message_id} as {done.message_id}",
            )
            return pb.RetryTopicDeadLetterResponse(message_id=done.message_id)

        return await self._guard.unary(f"{_NAME}RetryTopicDeadLetter", context, run)

    # Polling

    async def Register(self, request: pb.RegisterRequest, context: Context) -> pb.RegisterResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.RegisterResponse:
            return register_response(self._calls.register(principal, register_call(request)))

        return await self._guard.unary(f"{_NAME}Register", context, run)

    async def Poll(self, request: pb.PollRequest, context: Context) -> pb.PollResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.PollResponse:
            return poll_response(await self._calls.poll(principal, poll_call(request), at_most=time_left(context)))

        return await self._guard.unary(f"{_NAME}Poll", context, run)

    async def Ack(self, request: pb.AckRequest, context: Context) -> pb.AckResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.AckResponse:
            return ack_response(*await self._calls.ack(principal, ack_call(request)))

        return await self._guard.unary(f"{_NAME}Ack", context, run)

    async def JoinTopic(self, request: pb.JoinTopicRequest, context: Context) -> pb.JoinTopicResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.JoinTopicResponse:
            return join_response(await self._calls.join(principal, join_call(request)))

        return await self._guard.unary(f"{_NAME}JoinTopic", context, run)

    async def LeaveTopic(self, request: pb.LeaveTopicRequest, context: Context) -> pb.LeaveTopicResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.LeaveTopicResponse:
            return leave_response(existed=await self._calls.leave(principal, leave_call(request)))

        return await self._guard.unary(f"{_NAME}LeaveTopic", context, run)

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Context) -> pb.HeartbeatResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.HeartbeatResponse:
            return heartbeat_response(self._calls.heartbeat(principal, heartbeat_call(request)))

        return await self._guard.unary(f"{_NAME}Heartbeat", context, run)
