"""What an operator asks, and what they see of it."""

from dataclasses import replace

import grpc
import pytest
from gateway.v1 import admin_service_pb2 as pb
from gateway.v1 import channel_pb2, message_pb2, status_pb2
from rpc_rig import Aborted, FakeCall

from gatewayd.agents.registry import AgentKind
from gatewayd.channels.base import ChannelState, ChannelStatus
from gatewayd.config.checking import read
from gatewayd.config.model import ChannelSection
from gatewayd.core.frames import Overflow
from gatewayd.core.queues import QueueReport, QueueState
from gatewayd.core.work import LedgerState
from gatewayd.operations import (
    AgentReport,
    ClientReport,
    DaemonState,
    LastReload,
    ReloadReport,
    StatusReport,
    WebhookReport,
)
from gatewayd.routing.table import explain
from gatewayd.storage.records import DeadLetter, DeadLetterKind, LedgerChange, Step
from gatewayd.testing.store_cases import samples

ROOT = FakeCall("root")


def channel(name, state=ChannelState.READY, **fields):
    status = ChannelStatus(name, "sim", state, "", "bot", 10.0, 0.0, 11.0, 12.0, 13.0, 0, 4, 5, 6)
    return replace(status, **fields)


def status_report(**fields):
    report = StatusReport(
        pid=7,
        version="1",
        state=DaemonState.DEGRADED,
        start_time=5.0,
        uptime=2.0,
        config_digest="d",
        config_path="/etc/gateway.yaml",
        last_reload=LastReload(6.0, False, "no"),
        connections=1,
        max_connections=2,
        subscriptions=3,
        agents_available=4,
        agents_unavailable=5,
        sessions=6,
        busy_sessions=7,
        executions={"queued": 8, "failed": 9},
        channels=(channel("b"), channel("a", ChannelState.FAILED, reason="token")),
        degraded=("a is FAILED",),
        webhooks=(
            WebhookReport("repo", "/hooks/repo", 1, 2, 3, 4, ""),
            WebhookReport("b", "/b", 0, 0, 0, 5, "no secret"),
        ),
    )
    return replace(report, **fields)


def set_fields(message):
    return {field.name for field, _ in message.ListFields()}


async def test_the_status_in_full(rig):
    asked = []
    rig.operations.status = lambda *, daemon_only: asked.append(daemon_only) or status_report()
    status = await rig.admin.GetStatus(status_pb2.GetStatusRequest(), ROOT)
    assert set_fields(status) == {field.name for field in status.DESCRIPTOR.fields}
    assert asked == [False]
    assert (status.executions.queued, status.executions.failed, status.executions.running) == (8, 9, 0)
    assert [(one.name, one.state) for one in status.channels] == [
        ("a", status_pb2.CHANNEL_STATE_FAILED),
        ("b", status_pb2.CHANNEL_STATE_READY),
    ]
    assert [(one.source_id, one.path, one.put_off, one.reason) for one in status.webhooks] == [
        ("b", "/b", 5, "no secret"),
        ("repo", "/hooks/repo", 4, ""),
    ]
    assert [(one.accepted, one.duplicates, one.refused) for one in status.webhooks] == [(0, 0, 0), (1, 2, 3)]
    assert (status.last_reload.ok, status.last_reload.error) == (False, "no")


async def test_the_status_of_the_daemon_alone_ends_with_the_last_reload(rig):
    asked = []
    rig.operations.status = lambda *, daemon_only: asked.append(daemon_only) or status_report()
    status = await rig.admin.GetStatus(status_pb2.GetStatusRequest(daemon_only=True), ROOT)
    assert asked == [True]
    last = status.DESCRIPTOR.fields_by_name["last_reload"].number
    assert all(field.number <= last for field, _ in status.ListFields())


async def test_channels_have_three_clocks_and_their_counts(rig):
    retrying = channel("b", ChannelState.RETRYING, retry_time=99.0, last_message=0.0)
    rig.operations.channels = lambda: [retrying, channel("tg", retry_time=99.0)]
    rig.operations.routing = lambda name: {"default": f"agent of {name}"}
    await rig.work(1)
    await kill(rig, 1, "rejected: too long")
    page = await rig.admin.ListChannels(pb.ListChannelsRequest(), ROOT)
    first, second = page.channels
    assert first.retry_time.seconds == 99
    assert not first.HasField("last_message_time")
    assert not second.HasField("retry_time")
    assert (second.last_transport_time.seconds, second.last_heartbeat_time.seconds) == (11, 12)
    assert (second.outbox_pending, second.messages_in, second.messages_out, second.dead_letters) == (4, 5, 6, 1)
    assert dict(second.routing) == {"default": "agent of tg"}


async def test_agents_and_clients_come_in_pages(rig):
    agent = AgentReport("", "m", ("n",), ("t",), "role", "hi", "", 1, 2, AgentKind.REMOTE, 3)
    rig.operations.agents = lambda: (
        [replace(agent, id=name) for name in "cab"] + [replace(agent, id="d", reason="no key")]
    )
    page = await rig.admin.ListAgents(pb.ListAgentsRequest(page_size=3), ROOT)
    assert [one.id for one in page.agents] == ["a", "b", "c"]
    (last,) = (await rig.admin.ListAgents(pb.ListAgentsRequest(page_token=page.next_page_token), ROOT)).agents
    assert set_fields(last) == {field.name for field in last.DESCRIPTOR.fields}
    assert last.state == pb.AGENT_STATE_UNAVAILABLE

    queue = QueueReport("s", QueueState.SLOW, Overflow.DROP_OLDEST, 10, 7, 2, 3.0, 5, 1)
    client = ClientReport("cli", "ann", "ipv4:1", "v", 1.0, 2.0, 3, 5, 6, (queue, replace(queue, oldest=2.0)))
    rig.operations.clients = lambda: [client, replace(client, client_id="b", away=True)]
    away, here = (await rig.admin.ListClients(pb.ListClientsRequest(), ROOT)).clients
    assert (away.state, here.state) == (pb.CLIENT_STATE_AWAY, pb.CLIENT_STATE_CONNECTED)
    assert set_fields(here) == {field.name for field in here.DESCRIPTOR.fields}
    assert set_fields(here.queues[0]) == {field.name for field in here.queues[0].DESCRIPTOR.fields}
    assert (here.queued_bytes, here.queued_events, here.dropped, here.oldest_queued_time.seconds) == (14, 4, 2, 2)


async def test_a_route_is_explained_rule_by_rule(rig):
    section = read(ChannelSection, {"platform": "sim", "routing": {"channel": "a", "default": "b"}})
    rig.operations.explain_route = lambda name, context, peer: explain({"tg": section}, name, context, peer)
    request = pb.ExplainRouteRequest(channel="tg", context=channel_pb2.CHAT_CONTEXT_GROUP)
    answer = await rig.admin.ExplainRoute(request, ROOT)
    assert (answer.agent, answer.rule) == ("a", "channels.tg.routing.channel")
    assert [(step.rule, step.matched) for step in answer.steps] == [
        ("channels.tg.routing.group", False),
        ("channels.tg.routing.channel", True),
    ]
    assert all(step.detail for step in answer.steps)
    with pytest.raises(Aborted) as caught:
        await rig.admin.ExplainRoute(pb.ExplainRouteRequest(channel="none"), ROOT)
    assert caught.value.reason == "CHANNEL_NOT_FOUND"


async def kill(rig, number, reason):
    letter = DeadLetter(f"l{number}", DeadLetterKind.OUTBOUND, f"m{number:04}", f"o{number:04}-0", "tg", reason, 50.0)
    step = LedgerChange(letter.message_id, LedgerState.DEAD_LETTERED, Step("dead_lettered", 50.0, reason))
    await rig.store.mark_sending([letter.reference])
    await rig.store.mark_dead(letter.reference, letter, step)


async def test_the_ledger_newest_first_with_the_reason_of_each_end(rig):
    for number in range(1, 4):
        await rig.work(number)
    await kill(rig, 2, "rejected: too long")
    page = await rig.admin.ListMessages(pb.ListMessagesRequest(page_size=2), ROOT)
    rest = await rig.admin.ListMessages(pb.ListMessagesRequest(page_size=2, page_token=page.next_page_token), ROOT)
    assert [one.id for one in (*page.messages, *rest.messages)] == ["m0003", "m0002", "m0001"]
    dead = page.messages[1]
    assert set_fields(dead) == {field.name for field in dead.DESCRIPTOR.fields}
    assert (dead.state, dead.reason) == (message_pb2.LEDGER_STATE_DEAD_LETTERED, "rejected: too long")
    assert not page.messages[0].HasField("end_time")
    request = pb.ListMessagesRequest(state=message_pb2.LEDGER_STATE_DEAD_LETTERED)
    assert [one.id for one in (await rig.admin.ListMessages(request, ROOT)).messages] == ["m0002"]


async def trace(rig, message_id, channel=""):
    return await rig.admin.TraceMessage(pb.TraceMessageRequest(message_id=message_id, channel=channel), ROOT)


async def test_a_story_is_told_to_its_end_with_the_pieces_of_the_answer(rig):
    await rig.work(1, pieces=2)
    for part in range(2):
        await rig.store.mark_sending([f"o0001-{part}"])
        await rig.store.mark_sent(f"o0001-{part}", f"p{part}", samples.NOW + 10 + part)
    story = await trace(rig, "x0001")
    stages = [message_pb2.MessageStage.Name(step.stage).removeprefix("MESSAGE_STAGE_") for step in story.steps]
    assert stages == ["RECEIVED", "ROUTED", "QUEUED", "EXECUTED", "SENT", "SENT", "ENDED"]
    assert [step.HasField("time") for step in story.steps] == [True, False, False, False, True, True, False]
    assert story.steps[-1].detail == "answered"
    assert [(one.state, one.platform_id, one.attempts) for one in story.parts] == [
        (message_pb2.OUTBOUND_STATE_SENT, "p0", 1),
        (message_pb2.OUTBOUND_STATE_SENT, "p1", 1),
    ]
    assert story.parts[1].update_time.ToNanoseconds() == int((samples.NOW + 11) * 1e9)
    assert (await trace(rig, "tg-1", "tg")).message.id == "m0001"
    assert (await trace(rig, "p1", "tg")).message.id == "m0001"
    with pytest.raises(Aborted) as caught:
        await trace(rig, "tg-1", "slack")
    assert caught.value.code is grpc.StatusCode.NOT_FOUND


async def test_dead_letters_oldest_first_with_what_was_not_said(rig):
    for number in range(1, 4):
        await rig.work(number)
        await kill(rig, number, ["ambiguous", "undeliverable: timeout", "rejected: too long"][number - 1])
    page = await rig.admin.ListDeadLetters(pb.ListDeadLettersRequest(page_size=2), ROOT)
    rest = await rig.admin.ListDeadLetters(
        pb.ListDeadLettersRequest(page_token=page.next_page_token, page_size=2), ROOT
    )
    letters = [*page.dead_letters, *rest.dead_letters]
    assert [(one.id, one.reason, one.error) for one in letters] == [
        ("l1", "ambiguous", ""),
        ("l2", "exhausted", "timeout"),
        ("l3", "refused", "too long"),
    ]
    assert set_fields(letters[1]) == {field.name for field in letters[1].DESCRIPTOR.fields}
    assert (letters[1].chat, letters[1].attempts, letters[1].preview) == ("chat", 1, "answer")
    assert not (await rig.admin.ListDeadLetters(pb.ListDeadLettersRequest(channel="slack"), ROOT)).dead_letters


async def test_changes_carry_who_asked_for_them(rig):
    asked = []

    async def retry(letter_id, actor):
        asked.append((letter_id, actor))
        return "m1"

    async def revoke(subject, actor):
        asked.append((subject, actor))
        return ("a" * 64,), 3

    async def reload(*, validate_only, expected_digest, actor):
        asked.append((validate_only, expected_digest, actor))
        paths = (("a",), ("b",), ("c",), ("d",), ("e",))
        return ReloadReport(True, "new", "old", *paths, time=9.0)

    rig.operations.retry_dead_letter, rig.operations.revoke_token, rig.operations.reload = retry, revoke, reload
    assert (await rig.admin.RetryDeadLetter(pb.RetryDeadLetterRequest(dead_letter_id="l1"), ROOT)).message_id == "m1"
    revoked = await rig.admin.RevokeToken(pb.RevokeTokenRequest(token_sha256="AB" * 32), ROOT)
    assert (list(revoked.token_sha256), revoked.connections_closed) == (["a" * 64], 3)
    done = await rig.admin.ReloadConfig(pb.ReloadConfigRequest(expected_digest="x"), ROOT)
    assert set_fields(done) == {field.name for field in done.DESCRIPTOR.fields}
    assert asked == [("l1", "root"), ("ab" * 32, "root"), (False, "x", "root")]


@pytest.mark.parametrize("subject", [{}, {"client_id": ""}, {"token_sha256": "ab"}, {"token_sha256": "z" * 64}])
async def test_a_revocation_says_of_what(rig, subject):
    rig.operations.revoke_token = None  # it is not asked
    with pytest.raises(Aborted) as caught:
        await rig.admin.RevokeToken(pb.RevokeTokenRequest(**subject), ROOT)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_operators_only(rig):
    with pytest.raises(Aborted) as caught:
        await rig.admin.ListAgents(pb.ListAgentsRequest(), FakeCall("ann"))
    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED
