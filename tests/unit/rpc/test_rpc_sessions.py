"""Sessions and executions over unary calls: whose they are, their pages, and their end."""

import grpc
import pytest
from gateway.v1 import execution_pb2, session_pb2
from gateway.v1 import runtime_service_pb2 as runtime_pb
from gateway.v1 import session_service_pb2 as pb
from rpc_rig import Aborted, FakeCall

from gatewayd.storage.records import HistoryEntry
from gatewayd.testing.store_cases import samples


async def list_sessions(rig, who="root", **request):
    return await rig.session_service.ListSessions(pb.ListSessionsRequest(**request), FakeCall(who))


async def list_executions(rig, who="root", **request):
    return await rig.runtime_service.ListExecutions(runtime_pb.ListExecutionsRequest(**request), FakeCall(who))


async def not_found(call):
    with pytest.raises(Aborted) as caught:
        await call
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    return caught.value.message


async def test_sessions_are_listed_by_their_last_activity_and_paged_so(rig):
    for number, name in enumerate(("s1", "s2", "s3", "s1"), start=1):
        await rig.work(number, session=name)
    names, token = [], ""
    while True:
        page = await list_sessions(rig, page_size=2, page_token=token)
        names += [session.id for session in page.sessions]
        token = page.next_page_token
        if not token:
            break
    assert names == ["s1", "s3", "s2"]


async def test_a_session_tells_whom_it_is_with(rig):
    await rig.work(1)
    answer = await rig.session_service.GetSession(pb.GetSessionRequest(session_id="s1"), FakeCall("ann"))
    session = answer.session
    assert (session.channel, session.account, session.chat, session.peer) == ("tg", "bot", "room-s1", "ann")
    assert (session.agent, session.principal, session.rule, session.client_id) == ("helper", "ann", "tg.dm", "")
    assert (session.message_count, session.history_bytes) == (2, 12)
    assert session.create_time.ToNanoseconds() == int(samples.NOW * 1e9)
    assert session.active_time.seconds > session.create_time.seconds
    assert [(line.role, line.message_id, line.execution_id) for line in answer.history] == [
        (session_pb2.SESSION_ROLE_USER, "m0001", "x0001"),
        (session_pb2.SESSION_ROLE_AGENT, "m0001", "x0001"),
    ]


async def test_a_strangers_session_is_like_none(rig):
    await rig.work(1, owner="bob")
    service, asked = rig.session_service, "s1"
    assert not (await list_sessions(rig, "ann")).sessions
    assert not (await list_sessions(rig, "ann", principal="bob")).sessions
    for request, method in (
        (pb.GetSessionRequest, service.GetSession),
        (pb.ResetSessionRequest, service.ResetSession),
        (pb.ExportSessionRequest, service.ExportSession),
    ):
        theirs = await not_found(method(request(session_id=asked), FakeCall("ann")))
        none = await not_found(method(request(session_id="zz"), FakeCall("ann")))
        assert theirs.replace(asked, "zz") == none
    assert len((await list_sessions(rig, "bob")).sessions) == 1


@pytest.mark.parametrize(("size", "expected"), [(-1, 0), (0, 4), (1, 1), (3, 3), (5000, 4)])
async def test_the_end_of_a_history(rig, size, expected):
    await rig.work(1)
    await rig.work(2)
    request = pb.GetSessionRequest(session_id="s1", history_size=size)
    answer = await rig.session_service.GetSession(request, FakeCall("ann"))
    assert len(answer.history) == expected
    if expected:
        assert answer.history[-1].content.startswith("a2")


async def export(rig, **request):
    pages, token = [], ""
    while True:
        asked = pb.ExportSessionRequest(session_id="s1", page_token=token, **request)
        page = await rig.session_service.ExportSession(asked, FakeCall("ann"))
        assert page.session.id == "s1"
        pages.append([line.content for line in page.messages])
        token = page.next_page_token
        if not token:
            return pages


async def test_an_export_is_the_whole_history_oldest_first(rig):
    for number in range(1, 3):
        await rig.work(number)
    assert [len(page) for page in await export(rig, page_size=3)] == [3, 1]
    assert [len(page) for page in await export(rig, page_size=4)] == [4]
    assert [text[:2] for page in await export(rig, page_size=1) for text in page] == ["q1", "a1", "q2", "a2"]


async def test_a_page_of_an_export_ends_at_a_mebibyte(rig):
    await rig.work(1, finished=False)
    finish = samples.finish(1, turn=tuple(HistoryEntry("user", "x" * 400_000, samples.NOW) for _ in range(4)))
    await rig.store.finish(finish)
    assert [len(page) for page in await export(rig)] == [2, 2]


async def test_reset_ends_the_session_and_what_runs_in_it(rig):
    await rig.work(1)
    await rig.work(2, finished=False)
    await rig.work(3, finished=False)
    answer = await rig.session_service.ResetSession(pb.ResetSessionRequest(session_id="s1"), FakeCall("ann"))
    assert (answer.session_id, answer.cancelled_executions) == ("s1", 2)
    assert {reason for _, reason in rig.runtime.cancelled} == {"reset by ann"}
    assert not (await list_sessions(rig)).sessions
    await not_found(rig.session_service.ResetSession(pb.ResetSessionRequest(session_id="s1"), FakeCall("ann")))


async def test_erasing_needs_the_right_to_administer(rig):
    await rig.work(1)
    with pytest.raises(Aborted) as caught:
        await rig.session_service.EraseSession(pb.EraseSessionRequest(session_id="s1"), FakeCall("ann"))
    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED


async def test_an_erased_session_is_counted_audited_and_gone(rig):
    await rig.work(1)
    await rig.work(2, finished=False)
    answer = await rig.session_service.EraseSession(pb.EraseSessionRequest(session_id="s1"), FakeCall("root"))
    # Each unit of work has one event; ending the session adds one of its own.
    assert (answer.sessions, answer.messages, answer.executions, answer.events) == (1, 4, 2, 3)
    shown = await rig.session_service.GetSession(pb.GetSessionRequest(session_id="s1"), FakeCall("root"))
    assert not shown.history
    execution = await rig.store.get_execution("x0001")
    assert (execution.text, execution.output) == ("", "")
    await rig.store.revoke_token("0" * 64, 0.0)  # units keep their order: the audit came before
    (entry,) = [one for one in await rig.store.list_audit(limit=10) if one.action == "erase_session"]
    assert (entry.principal, entry.subject, entry.decision) == ("root", "s1", "erased")


async def test_a_person_is_erased_in_all_their_sessions_and_nobody_else(rig):
    await rig.work(1, owner="chat:tg/7", session="s1")
    await rig.work(2, owner="chat:tg/7", session="s2")
    await rig.work(3, owner="chat:tg/77", session="s3")
    peer = pb.PeerRef(channel="tg", peer="7")
    answer = await rig.session_service.EraseSession(pb.EraseSessionRequest(peer=peer), FakeCall("root"))
    assert (answer.sessions, answer.executions) == (2, 2)
    assert (await rig.store.get_execution("x0003")).text


async def test_executions_are_listed_without_what_belongs_to_others(rig):
    for number in range(1, 8):
        owner = "bob" if number % 2 else "ann"
        await rig.work(number, owner=owner, session=f"s-{owner}", finished=number < 5)
    assert [one.id for one in (await list_executions(rig, "ann")).executions] == ["x0006", "x0004", "x0002"]
    done = [execution_pb2.EXECUTION_STATE_SUCCEEDED]
    assert [one.id for one in (await list_executions(rig, states=done)).executions] == [
        "x0004",
        "x0003",
        "x0002",
        "x0001",
    ]
    page = await list_executions(rig, "ann", page_size=2)
    rest = await list_executions(rig, "ann", page_size=2, page_token=page.next_page_token)
    assert [one.id for one in (*page.executions, *rest.executions)] == ["x0006", "x0004", "x0002"]
    assert not rest.next_page_token
    assert not any(one.output for one in page.executions)


async def test_one_execution_has_its_answer(rig):
    await rig.work(1)
    request = runtime_pb.GetExecutionRequest(execution_id="x0001")
    one = (await rig.runtime_service.GetExecution(request, FakeCall("ann"))).execution
    assert (one.state, one.output, one.session_id, one.message_id) == (
        execution_pb2.EXECUTION_STATE_SUCCEEDED,
        "answer",
        "s1",
        "m0001",
    )
    assert one.origin == execution_pb2.ORIGIN_CHAT
    assert one.HasField("create_time")
    assert one.HasField("end_time")
    await not_found(rig.runtime_service.GetExecution(request, FakeCall("bob")))


async def test_cancelling_gives_the_reason_and_the_end(rig):
    await rig.work(1, finished=False)
    request = runtime_pb.CancelExecutionRequest(execution_id="x0001", reason="too slow")
    await not_found(rig.runtime_service.CancelExecution(request, FakeCall("bob")))
    one = (await rig.runtime_service.CancelExecution(request, FakeCall("ann"))).execution
    assert one.state == execution_pb2.EXECUTION_STATE_CANCELLED
    assert one.reason == "cancelled by ann: too slow"
    with pytest.raises(Aborted) as caught:
        await rig.runtime_service.CancelExecution(request, FakeCall("ann"))
    assert caught.value.reason == "EXECUTION_FINISHED"
    long = runtime_pb.CancelExecutionRequest(execution_id="x0001", reason="x" * 257)
    with pytest.raises(Aborted) as caught:
        await rig.runtime_service.CancelExecution(long, FakeCall("ann"))
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_state_is_refused(rig):
    with pytest.raises(Aborted) as caught:
        await list_executions(rig, states=[99])
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
