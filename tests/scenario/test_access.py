"""Who gets in, and what each may do: tokens, scopes, revocation; the unix socket and the TCP port."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import pytest
import pytest_asyncio
from gateway.v1 import admin_service_pb2, agent_service_pb2, channel_pb2, runtime_service_pb2, session_service_pb2
from gateway.v1 import event_service_pb2 as pb
from gateway.v1.event_service_pb2_grpc import EventServiceStub
from grpc import aio

from gatewayctl.client import Client, NotFound, PermissionDenied, Unauthenticated, event_filter, new_event
from gatewayd.access.rules import METHODS
from tests.rigs.house import House, eventually, house
from tests.rigs.stream import RawStream, reason_of
from tests.rigs.unary import call

pytestmark = pytest.mark.asyncio(loop_scope="module")

NAMES = (
    "talker",
    "publisher",
    "reader",
    "owner",
    "auditor",
    "operator",
    "nobody",
    "rotated",
    "expired",
    "doomed",
    "leaver",
    "narrow",
)
TOKENS = {name: f"gw_{name}_{'0' * 43}" for name in NAMES} | {"rotated2": f"gw_rotated_{'2' * 43}"}

STATUS = "/gateway.v1.AdminService/GetStatus"


def digest(name: str) -> str:
    return hashlib.sha256(TOKENS[name].encode()).hexdigest()


CONFIG = f"""
agents:
  echo: {{model: offline/echo}}
  secret: {{model: offline/echo}}
  slow: {{model: offline/slow}}
  hears: {{model: offline/echo, topics: [news]}}
channels:
  desk: {{platform: sim, enabled: false, server: "unix:/none", token: d, routing: {{dm: echo, group: secret}}}}
  vault: {{platform: sim, enabled: false, server: "unix:/none", token: v, routing: {{default: secret}}}}
entry_points:
  mine: {{agent: echo}}
  theirs: {{agent: secret}}
clients:
  talker: {{token_sha256: {digest("talker")}, scopes: ["agents.send:e*", "sessions:own"]}}
  publisher: {{token_sha256: {digest("publisher")}, scopes: ["events.publish:custom@mine.>"]}}
  reader: {{token_sha256: {digest("reader")}, scopes: ["events.subscribe:custom@mine.>"]}}
  owner:
    token_sha256: {digest("owner")}
    scopes: ["agents.send:*", "events.subscribe:*@*", "sessions:own"]
  auditor: {{token_sha256: {digest("auditor")}, scopes: ["events.subscribe:*@*", "sessions:all"]}}
  operator: {{token_sha256: {digest("operator")}, scopes: [admin.read]}}
  nobody: {{token_sha256: {digest("nobody")}}}
  rotated: {{token_sha256: [{digest("rotated")}, {digest("rotated2")}], scopes: [admin.read]}}
  expired: {{token_sha256: {digest("expired")}, scopes: [admin.read], expires: "2020-01-01T00:00:00Z"}}
  doomed: {{token_sha256: {digest("doomed")}, scopes: ["agents.send:*", "events.subscribe:*@*"]}}
  narrow: {{token_sha256: {digest("narrow")}, scopes: ["agents.send:e*", "runtime:m*"]}}
  leaver: {{token_sha256: {digest("leaver")}, scopes: ["events.subscribe:*@*"]}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("access"), CONFIG) as rig:
        yield rig


def client(rig: House, name: str) -> Client:
    """That client's SDK, over TCP."""
    return Client(f"127.0.0.1:{rig.daemon.port}", token=TOKENS[name], client_id=name, connect_timeout=0)


@pytest.mark.parametrize("method", sorted(METHODS))
async def test_nothing_but_health_answers_without_a_token(rig: House, method: str) -> None:
    """Every RPC of every service over TCP, default deny (P13.1, P13.2)."""
    error = await call(f"127.0.0.1:{rig.daemon.port}", method)

    if "grpc.health" in method:
        assert error is None
    else:
        assert error is not None
        assert error.code == grpc.StatusCode.UNAUTHENTICATED.value[0], error


async def test_the_unix_socket_is_the_principal_local(rig: House) -> None:
    """Its mode is the guard; with a token the same door knows that client (P13.2)."""
    await rig.client.publish(new_event("custom", {}, custom_type="note", topic="who"))
    async with rig.daemon.client("x", token=TOKENS["owner"]) as named:
        with pytest.raises(PermissionDenied):
            await named.publish(new_event("custom", {}, custom_type="note", topic="who"))

    assert [event.source for event in await rig.events(topic="who")] == ["local"]
    assert (rig.daemon.runtime / "gatewayd.sock").stat().st_mode & 0o777 == 0o660


async def test_the_token_file_opens_the_tcp_port(rig: House) -> None:
    """auth_token unset: made at the first start, 0600, and it is the client `default` with every scope (P2.4)."""
    async with Client(f"127.0.0.1:{rig.daemon.port}", token=rig.daemon.token) as default:
        await default.publish(new_event("custom", {}, custom_type="note", topic="default"))
        assert (await default.status(daemon_only=True)).pid

    assert [event.source for event in await rig.events(topic="default")] == ["default"]
    assert (rig.daemon.state / "token").stat().st_mode & 0o777 == 0o600
    assert rig.daemon.token not in rig.daemon.log.read_text()


async def test_F59_an_expired_token_is_no_better_than_a_wrong_one(rig: House) -> None:
    """clients.<id>.expires; the refusal tells nothing about why."""
    with pytest.raises(Unauthenticated) as expired:
        async with client(rig, "expired"):
            pass

    assert str(expired.value) == "the token is not valid"


async def test_both_tokens_of_a_rotation_work(rig: House) -> None:
    """token_sha256 takes two while one replaces the other (P13.2)."""
    for name in ("rotated", "rotated2"):
        async with client(rig, name) as rotated:
            assert (await rotated.status(daemon_only=True)).pid


async def test_a_client_without_scopes_may_do_nothing(rig: House) -> None:
    """Default deny, per RPC and per kind of frame."""
    async with client(rig, "nobody") as nobody:
        attempts: list[Callable[[], Awaitable[Any]]] = [
            nobody.status,
            lambda: nobody.send("echo", "hello"),
            lambda: nobody.publish(new_event("custom", {}, custom_type="note", topic="mine.a")),
            lambda: nobody.subscribe(event_filter(["custom"], topic="mine.a")).started(),
            lambda: nobody.cancel("01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        ]
        for attempt in attempts:
            with pytest.raises(PermissionDenied):
                await attempt()


async def test_agents_send_names_the_agents(rig: House) -> None:
    """agents.send:<glob>, on the stream and by the unary call."""
    async with client(rig, "talker") as talker:
        assert (await talker.send("echo", "allowed")).content == "allowed"
        with pytest.raises(PermissionDenied):
            await talker.send("secret", "not allowed")
        with pytest.raises(PermissionDenied):
            await talker.call(
                "AgentService/SendMessage",
                agent_service_pb2.SendMessageRequest(agent="secret", text="not allowed"),
                agent_service_pb2.SendMessageResponse,
            )


async def test_who_may_not_ask_an_agent_does_not_learn_of_it(rig: House) -> None:
    """Out of scope is PERMISSION_DENIED, whether it is there or not; what is named is what the scopes cover."""
    async with client(rig, "talker") as talker:
        for agent in ("secret", "absent"):
            with pytest.raises(PermissionDenied):
                await talker.send(agent, "hi")
        with pytest.raises(NotFound) as absent:
            await talker.send("else", "hi")

    assert "(there are: echo)" in str(absent.value)


async def test_what_is_named_instead_of_an_entry_point_is_what_the_scopes_cover(rig: House) -> None:
    async with client(rig, "narrow") as narrow:
        with pytest.raises(NotFound) as absent:
            await narrow.trigger("missing", "hi")
        for entry_point in ("theirs", "nowhere"):
            with pytest.raises(PermissionDenied) as denied:
                await narrow.trigger(entry_point, "hi")
            assert entry_point in str(denied.value)
    assert "(there are: mine)" in str(absent.value)
    with pytest.raises(NotFound) as absent:
        await rig.client.trigger("missing", "hi")
    assert "(there are: mine, theirs)" in str(absent.value)


async def test_a_channel_that_leads_to_no_agent_of_the_scopes_is_answered_like_none(rig: House) -> None:
    """CHANNEL_NOT_FOUND; and who answers in the others is told to nobody who may not ask it."""
    async with client(rig, "narrow") as narrow:
        refused = []
        for channel in ("vault", "nowhere"):
            with pytest.raises(NotFound) as absent:
                await narrow.send("", "hi", channel=channel)
            refused.append(str(absent.value).replace(channel, "…"))
        assert refused[0] == refused[1]
        assert "(there are: desk)" in refused[0]
        with pytest.raises(PermissionDenied) as denied:
            await narrow.send("", "hi", channel="desk", context=channel_pb2.CHAT_CONTEXT_GROUP)
        assert "secret" not in f"{denied.value} {denied.value.metadata}"
        assert (await narrow.send("", "hi", channel="desk")).content == "hi"


async def test_who_hears_a_topic_is_not_told_to_who_may_not_ask_them(rig: House) -> None:
    async with client(rig, "talker") as talker:
        with pytest.raises(PermissionDenied) as denied:
            await talker.publish_message("news", "hi")
    assert "hears'" not in f"{denied.value} {denied.value.metadata}"
    assert "agents.send:" not in f"{denied.value} {denied.value.metadata}"


async def test_events_publish_names_types_and_topics(rig: House) -> None:
    """events.publish:<type>@<topics>; the source is who it is, not who it says."""
    async with client(rig, "publisher") as publisher:
        await publisher.publish(new_event("custom", {}, custom_type="note", topic="mine.a"))
        for event in (
            new_event("custom", {}, custom_type="note", topic="theirs.a"),
            new_event("custom", {}, custom_type="note"),
            new_event("message", {"content": "x"}, topic="mine.a"),
        ):
            with pytest.raises(PermissionDenied):
                await publisher.publish(event)

    assert [event.source for event in await rig.events(topic="mine.a")] == ["publisher"]


async def test_F60_a_filter_beyond_the_scope_is_refused(rig: House) -> None:
    """A subscriber cannot ask for more than its scopes cover, not even by leaving the topic out."""
    async with client(rig, "reader") as reader:
        await reader.subscribe(event_filter(["custom"], topic="mine.>")).started()
        for wanted in (
            event_filter(),
            event_filter(["custom"]),
            event_filter(["custom"], topic=">"),
            event_filter(["custom"], topic="theirs.>"),
            event_filter(["message"], topic="mine.>"),
        ):
            with pytest.raises(PermissionDenied):
                await reader.subscribe(wanted).started()


async def test_F51_events_of_a_session_reach_its_owner_and_who_may_see_all(rig: House) -> None:
    """sessions:own and sessions:all, live and from a cursor of somebody else's reading (P13.2)."""
    async with client(rig, "owner") as owner, client(rig, "auditor") as auditor, client(rig, "doomed") as stranger:
        start = await rig.client.publish(mark("begin"))
        readers = [each.subscribe(event_filter(), since=start) for each in (owner, auditor, stranger)]
        late = await owner.send("echo", "the owner's canary")
        await rig.client.publish(mark("end"))
        seen = [await until_mark(reader, "end") for reader in readers]
        again = [await until_mark(each.subscribe(event_filter(), since=start), "end") for each in (auditor, stranger)]

    def canary(events: list[Any]) -> int:
        return sum(event.execution_id == late.execution_id for event in events)

    assert canary(seen[0]) >= 3
    assert canary(seen[1]) >= 3
    assert canary(seen[2]) == 0
    assert canary(again[0]) >= 3
    assert canary(again[1]) == 0
    assert not any(b"canary" in event.SerializeToString() for event in [*seen[2], *again[1]])


def mark(name: str) -> Any:
    return new_event("custom", {"mark": name}, custom_type="mark", topic="mark")


async def until_mark(events: Any, name: str) -> list[Any]:
    """Everything before the mark."""
    seen = []
    async with asyncio.timeout(60):
        async for event in events:
            if event.custom_type == "mark" and event.custom.json["mark"] == name:
                break
            seen.append(event)
    events.close()
    return seen


async def test_sessions_and_executions_of_others_are_not_there(rig: House) -> None:
    """What belongs to somebody else is answered like what never was; ids tell nothing."""
    async with client(rig, "owner") as owner, client(rig, "talker") as talker:
        reply = await owner.send("echo", "private")
        session = (await rig.trace(reply.message_id)).message.session_id
        get_session = session_service_pb2.GetSessionRequest(session_id=session)
        get_execution = runtime_service_pb2.GetExecutionRequest(execution_id=reply.execution_id)
        with pytest.raises(NotFound):
            await talker.call("SessionService/GetSession", get_session, session_service_pb2.GetSessionResponse)
        with pytest.raises(NotFound):
            await talker.call("RuntimeService/GetExecution", get_execution, runtime_service_pb2.GetExecutionResponse)
        with pytest.raises(NotFound):
            await talker.cancel(reply.execution_id)
        with pytest.raises(NotFound):
            await talker.send("echo", "let me in", session_id=session)
        listed = await talker.call(
            "SessionService/ListSessions",
            session_service_pb2.ListSessionsRequest(),
            session_service_pb2.ListSessionsResponse,
        )
        assert {each.principal for each in listed.sessions} <= {"talker"}
        own = await owner.call("SessionService/GetSession", get_session, session_service_pb2.GetSessionResponse)
        assert own.session.principal == "owner"


async def test_admin_read_writes_nothing(rig: House) -> None:
    """admin.read and admin.write are two scopes."""
    async with client(rig, "operator") as operator:
        assert (await operator.status()).agents.available == 4
        with pytest.raises(PermissionDenied):
            await operator.call(
                "AdminService/ReloadConfig",
                admin_service_pb2.ReloadConfigRequest(validate_only=True),
                admin_service_pb2.ReloadConfigResponse,
            )
        with pytest.raises(PermissionDenied):
            await operator.call(
                "AdminService/RevokeToken",
                admin_service_pb2.RevokeTokenRequest(client_id="operator"),
                admin_service_pb2.RevokeTokenResponse,
            )


async def test_F61_a_revoked_token_ends_the_calls_that_wait(rig: House) -> None:
    """A wait of minutes ends with its token, too (P13.2)."""

    async def subscriptions() -> int:
        request, answer = pb.GetEventStatsRequest(), pb.GetEventStatsResponse
        return (await rig.client.call("EventService/GetEventStats", request, answer)).subscriptions

    before = await subscriptions()
    async with aio.insecure_channel(f"127.0.0.1:{rig.daemon.port}") as channel:
        waiting = EventServiceStub(channel).WaitForEvent(
            pb.WaitForEventRequest(filter=event_filter(["presence_update"])),
            metadata=(("authorization", f"Bearer {TOKENS['leaver']}"),),
        )

        async def waits() -> bool:
            return await subscriptions() == before + 1

        await eventually(waits)
        code, out, err = await rig.daemon.ctl("token", "revoke", "leaver")
        with pytest.raises(aio.AioRpcError) as ended:
            async with asyncio.timeout(60):
                await waiting
    assert code == 0, (out, err)
    assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_F61_a_revoked_token_ends_its_streams_within_a_second_and_for_good(rig: House) -> None:
    """`token revoke` ends live streams, even one that is in the middle of waiting; it survives a restart (P13.2)."""
    async with RawStream(f"127.0.0.1:{rig.daemon.port}", token=TOKENS["doomed"]) as stream:
        await stream.hello("doomed")
        await stream.subscribe("s")
        await stream.accepted(await stream.ask(pb.ConnectRequest(send=pb.Send(agent="slow", text="100ms word"))))

        code, out, err = await rig.daemon.ctl("token", "revoke", "doomed")
        began = monotonic()
        error = await stream.ended()

    assert code == 0, (out, err)
    assert monotonic() - began < 10
    assert isinstance(error, Unauthenticated)
    await rig.daemon.stop()
    await rig.daemon.start()
    with pytest.raises(Unauthenticated):
        async with client(rig, "doomed"):
            pass


async def test_F60_what_a_frame_forges_is_audited_once(rig: House) -> None:
    """A type of the gateway's own, and a source: who wanted what (P3.4)."""
    forged = new_event("custom", {}, custom_type="note")
    forged.source = "gatewayd"
    async with RawStream(f"127.0.0.1:{rig.daemon.port}", token=TOKENS["publisher"]) as stream:
        await stream.hello("forger")
        for event in (new_event("session_started"), forged):
            await stream.rejected(await stream.ask(pb.ConnectRequest(publish=pb.Publish(events=[event]))))
    lines = [line for line in rig.daemon.log.read_text().splitlines() if "action=publish" in line]

    assert ["subject=session_started" in lines[0], "subject=source" in lines[1], len(lines)] == [True, True, 2]
    assert all("principal=publisher" in line and "decision=denied" in line for line in lines)


async def test_what_is_denied_is_audited(rig: House) -> None:
    """Who did what and what was decided (P13.3)."""
    log = rig.daemon.log.read_text()

    assert "action=authenticate" in log
    assert "decision=denied" in log
    assert not any(token in log for token in TOKENS.values())


async def test_a_refused_frame_names_the_scope_that_it_would_take(rig: House) -> None:
    """PERMISSION_DENIED carries the scope, and ends no stream."""
    async with RawStream(f"127.0.0.1:{rig.daemon.port}", token=TOKENS["talker"]) as stream:
        await stream.hello("talker")
        error = await stream.rejected(await stream.ask(pb.ConnectRequest(send=pb.Send(agent="secret", text="hello"))))

        assert reason_of(error) == "PERMISSION_DENIED"
        assert error.metadata["scope"] == "agents.send:secret"
        await stream.ask(pb.ConnectRequest(ping=pb.Ping()))
        await stream.take("pong")


async def test_F59_guessing_locks_the_source_out_before_tokens_are_looked_at(tmp_path: Path) -> None:
    """After a few failures the answer is TOO_MANY_FAILURES for any token, with a delay; the socket stays open."""
    async with house(tmp_path, CONFIG) as rig:
        target = f"127.0.0.1:{rig.daemon.port}"
        guesses = [f"gw_operator_{str(number) * 43}" for number in range(1, 9)]
        refused = [await call(target, STATUS, guess) for guess in guesses]
        locked = await call(target, STATUS, TOKENS["operator"])
        health = await call(target, "/grpc.health.v1.Health/Check")
        local = await rig.client.status(daemon_only=True)

    reasons = [error.reason for error in refused if error is not None]
    assert reasons[:5] == ["UNAUTHENTICATED"] * 5
    assert reasons[-1] == "TOO_MANY_FAILURES"
    assert locked is not None
    assert locked.reason == "TOO_MANY_FAILURES"
    assert locked.retry_after
    assert health is None
    assert local.pid
