"""The shared state over real sockets: racing writers, kills, watches, rights and bounds."""

import asyncio
import contextlib
import hashlib
import shutil
from collections.abc import AsyncIterator

import pytest
from gateway.v1 import runtime_service_pb2, state_pb2
from google.protobuf.struct_pb2 import Value

from gatewayctl.client import Client, GatewayError, StateConflict, StateKey, Unavailable
from tests.rigs.in_process import InProcess
from tests.rigs.process import Daemon

DEADLINE = 60.0
TOKENS = {name: f"gw_{name}_{'0' * 43}" for name in ("ann", "bob", "reader", "writer", "none")}
SCOPES = {
    "ann": ["state:ann.>", "state.read:shared.*", "agents.send:*", "sessions:own", "runtime:assistant"],
    "bob": ["state:>", "agents.send:*", "sessions:own", "events.subscribe:*@*"],
    "reader": ["state.read:shared.*"],
    "writer": ["state.write:shared.*"],
    "none": ["agents.send:*"],
}
CONFIG = "agents:\n  assistant: {model: offline/echo}\nclients:\n" + "".join(
    f"  {name}: {{token_sha256: {hashlib.sha256(TOKENS[name].encode()).hexdigest()}, scopes: {scopes}}}\n"
    for name, scopes in SCOPES.items()
).replace("'", '"')


def caller(daemon: Daemon, name: str) -> Client:
    return Client(address=daemon.address, token=TOKENS[name], client_id=f"call-{name}", timeout=DEADLINE)


async def refused(work) -> GatewayError:
    with pytest.raises(GatewayError) as error:
        await work
    return error.value


async def until(news: AsyncIterator[StateKey], key: str, value: object) -> list[StateKey]:
    """Everything up to the change that says so."""
    found: list[StateKey] = []
    async with asyncio.timeout(DEADLINE):
        async for one in news:
            found.append(one)
            if (one.key, one.value) == (key, value):
                return found
    raise AssertionError(found)


async def next_two(news: AsyncIterator[StateKey]) -> set[tuple[str, object]]:
    async with asyncio.timeout(DEADLINE):
        return {(one.key, one.value) for one in (await anext(news), await anext(news))}


async def test_a_hundred_clients_that_compare_and_set_lose_no_update(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon, contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(daemon.client(f"c{number}", timeout=DEADLINE)) for number in range(10)
        ]
        async with asyncio.timeout(2 * DEADLINE):
            # A hundred writers at once; ten share a connection.
            writers = (clients[number % 10].state.update("n", lambda n: (n or 0) + 1) for number in range(100))
            done = await asyncio.gather(*writers)
        assert sorted(one.value for one in done) == list(range(1, 101))
        assert (await clients[0].state.get("n")).value == 100


async def test_what_was_acknowledged_survives_a_kill_and_a_restart(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon:
        written: dict[str, StateKey] = {}

        async def write(client: Client, who: int) -> None:
            for number in range(10_000):
                key = f"w{who}.k{number % 5}"
                written[key] = await client.state.set(key, number)

        async with daemon.client("writer") as client:
            writing = [asyncio.create_task(write(client, who)) for who in range(8)]
            async with asyncio.timeout(DEADLINE):
                while len(written) < 40:
                    await asyncio.sleep(0.01)
            await daemon.kill()
            ends = await asyncio.gather(*writing, return_exceptions=True)
            assert all(isinstance(end, GatewayError) for end in ends), ends
        for restart in (daemon.kill, daemon.stop):
            await daemon.start()
            async with daemon.client("reader") as client:
                found = {one.key: one for one in await client.state.keys()}
                assert set(found) == set(written)
                for key, acknowledged in written.items():
                    # What was written and not answered any more may be there, too; older than the answer is nothing.
                    assert found[key].version >= acknowledged.version
                    assert found[key].value >= acknowledged.value
                same = [key for key in written if found[key].version == written[key].version]
                assert all(found[key].value == written[key].value for key in same)
                with pytest.raises(StateConflict) as refusal:
                    await client.state.set("w0.k0", 1, expected_version=found["w0.k0"].version - 1)
                assert refusal.value.metadata["actual_version"] == str(found["w0.k0"].version)
            await restart()
        await daemon.start()


async def test_a_watch_hears_everything_once_over_a_kill(tmp_path):
    async with (
        Daemon(tmp_path, CONFIG) as daemon,
        daemon.client("writer") as writer,
        daemon.client("watcher") as watcher,
    ):
        await writer.state.set("before", 1)
        news = watcher.state.watch()
        assert [(one.key, one.value) for one in await until(news, "before", 1)] == [("before", 1)]
        for number in range(200):
            await writer.state.set(f"k{number % 7}", number)
        heard = await until(news, "k3", 199)
        assert [one.value for one in heard] == list(range(200))
        await writer.state.delete("k3")
        await daemon.kill()
        await daemon.start()
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    await writer.state.set("after", 2)
                except Unavailable:
                    continue
                break
        # The deletion is told as it came, or once it is seen that the key is not there any more; nothing comes twice.
        assert await next_two(news) == {("k3", None), ("after", 2)}


async def test_a_key_that_vanished_while_the_watch_was_away_is_told_of(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon, daemon.client("watcher") as watcher:
        async with daemon.client("writer") as writer:
            await writer.state.set("a", 1)
            await writer.state.set("b", 1)
            news = watcher.state.watch()
            await until(news, "b", 1)
            waiting = asyncio.create_task(next_two(news))
            await daemon.kill()
            await daemon.start()
        async with daemon.client("other") as writer:
            await writer.state.delete("a")
            await writer.state.set("c", 3)
        assert await waiting == {("a", None), ("c", 3)}


async def test_a_watch_goes_on_after_a_backup_was_put_back(tmp_path):
    """Versions begin again below those that the reader has seen."""
    async with Daemon(tmp_path, CONFIG) as daemon, daemon.client("watcher") as watcher:
        async with daemon.client("writer") as writer:
            await writer.state.set("a", 1)
            await daemon.stop()
            shutil.copytree(daemon.state, tmp_path / "backup")
            await daemon.start()
        async with daemon.client("writer again") as writer:
            for number in range(2, 40):
                await writer.state.set("a", number)
            news = watcher.state.watch()
            await until(news, "a", 39)
            waiting = asyncio.create_task(until(news, "a", 40))
            await daemon.kill()
            shutil.rmtree(daemon.state)
            shutil.copytree(tmp_path / "backup", daemon.state)
            await daemon.start()
        async with daemon.client("writer at last") as writer:
            await writer.state.set("a", 40)
        assert (await waiting)[-1].version < 39


async def test_a_watch_ends_when_the_gateway_stops_and_says_why(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon, daemon.client() as client:
        request = state_pb2.WatchStateRequest()
        stream = client._channel.unary_stream(
            "/gateway.v1.RuntimeService/WatchState",
            request_serializer=state_pb2.WatchStateRequest.SerializeToString,
            response_deserializer=state_pb2.WatchStateResponse.FromString,
        )(request)
        assert (await stream.read()).synced
        ending = asyncio.create_task(daemon.stop())
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(Exception, match="the gateway is stopping"):
                await stream.read()
            assert await ending == 0


async def test_each_key_needs_a_scope_that_covers_it(tmp_path):
    async with (
        Daemon(tmp_path, CONFIG) as daemon,
        caller(daemon, "ann") as ann,
        caller(daemon, "bob") as bob,
        caller(daemon, "reader") as reader,
        caller(daemon, "writer") as writer,
        caller(daemon, "none") as nobody,
    ):
        await ann.state.set("ann.note", "mine")
        await bob.state.set("shared.note", "ours")
        await bob.state.set("bob.note", "his")
        denied = (
            ann.state.set("shared.note", 1),
            ann.state.get("bob.note"),
            ann.state.transact(ann.state.put("ann.a", 1), ann.state.put("bob.a", 1)),
            reader.state.set("shared.note", 1),
            reader.state.delete("shared.note"),
            reader.state.get("shared.deep.note"),
            writer.state.get("shared.note"),
            writer.state.keys(),
            anext(writer.state.watch()),
            nobody.state.get("shared.note"),
            nobody.state.set("shared.note", 1),
        )
        for work in denied:
            assert (await refused(work)).reason == "PERMISSION_DENIED"
        await writer.state.set("shared.note", "new")
        assert [one.key for one in await ann.state.keys()] == ["ann.note", "shared.note"]
        assert [one.key for one in await reader.state.keys()] == ["shared.note"]
        assert [one.key for one in await bob.state.keys("*.note")] == ["ann.note", "bob.note", "shared.note"]
        assert await ann.state.get("ann.a") is None
        news = reader.state.watch()
        await until(news, "shared.note", "new")
        await bob.state.set("bob.note", "secret")
        await bob.state.set("shared.last", 1)
        assert [one.key for one in await until(news, "shared.last", 1)] == ["shared.last"]


async def test_state_of_an_execution_is_for_who_may_see_it_and_a_streams_for_its_runtime_scope(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon, caller(daemon, "ann") as ann, caller(daemon, "bob") as bob:
        mine = (await ann.send("assistant", "hello")).execution_id
        async with daemon.client() as local:
            assert await local.state.get("ann.k", execution=mine) is None
            ended = await refused(local.state.set("ann.k", 1, execution=mine))
            assert ended.reason == "EXECUTION_FINISHED"
            assert (await refused(local.state.set("ann.k", 1, execution="nowhere"))).reason == "NOT_FOUND"
        for work in (bob.state.get("ann.k", execution=mine), bob.state.set("ann.k", 1, execution=mine)):
            assert (await refused(work)).reason == "NOT_FOUND"
        for work in (bob.state.keys(execution=mine), anext(bob.state.watch(execution=mine))):
            assert (await refused(work)).reason == "NOT_FOUND"
        assert (await refused(bob.state.find("ann.k", mine))).reason == "NOT_FOUND"
        await ann.state.set("ann.k", "stream", stream="assistant")
        assert (await refused(bob.state.get("ann.k", stream="assistant"))).reason == "PERMISSION_DENIED"
        assert (await refused(ann.state.get("ann.k", stream="other"))).reason == "PERMISSION_DENIED"
        await ann.state.set("ann.k", "global")
        found = await ann.state.find("ann.k", mine)
        assert (found.value, found.scope, found.scope_id, found.principal) == ("stream", "stream", "assistant", "ann")
        await ann.state.delete("ann.k", stream="assistant")
        assert (await ann.state.find("ann.k", mine)).value == "global"


async def test_events_of_what_is_shared_do_not_go_around_the_scopes_of_keys(tmp_path):
    """`events.subscribe:*@*` is no right to read state; `sessions:all` sees everything."""
    async with Daemon(tmp_path, CONFIG) as daemon, caller(daemon, "bob") as bob, daemon.client() as local:
        every = local.subscribe(since="", filter=None)
        his = bob.subscribe(filter=None)
        await every.started()
        await his.started()
        await bob.state.set("bob.note", "secret")
        (conflict,) = [await refused(bob.state.set("bob.note", 1, expected_version=0))]
        assert conflict.reason == "STATE_CONFLICT"
        await bob.send("assistant", "hello")
        seen: list[str] = []
        async with asyncio.timeout(DEADLINE):
            async for event in every:
                seen.append(event.WhichOneof("data"))
                if seen[-1] == "execution_completed":
                    break
            assert seen.index("state_changed") < seen.index("state_conflict")
            async for event in his:
                assert not event.WhichOneof("data").startswith("state_")
                if event.WhichOneof("data") == "execution_completed":
                    break


async def test_wrong_requests_are_refused_with_the_field(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon, daemon.client() as client:

        async def violation(**fields) -> str:
            write = state_pb2.StateWrite(**{"key": "k", **fields})
            request = state_pb2.SetStateRequest(writes=[write])
            error = await refused(client.call("RuntimeService/SetState", request, state_pb2.SetStateResponse))
            assert error.reason == "INVALID_ARGUMENT"
            return error.violations[0][0]

        one = Value(number_value=1)
        assert await violation(key="", value=one) == "writes[0].key"
        assert await violation(key="a b", value=one) == "key"
        assert await violation() == "writes[0]"
        assert await violation(delete=False) == "writes[0]"
        assert await violation(value=Value(null_value=0)) == "writes[0].value"
        assert await violation(value=Value()) == "writes[0].value"
        assert await violation(value=one, expected_version=-1) == "writes[0].expected_version"
        assert await violation(value=one, scope_id="x") == "writes[0].scope_id"
        assert await violation(value=one, scope=1) == "writes[0].scope_id"
        assert await violation(value=one, scope=9) == "writes[0].scope"
        write = client.state.put("k", 1)
        assert (await refused(client.state.transact(write, write))).violations[0][0] == "writes"
        assert (await refused(client.state.transact())).violations[0][0] == "writes"
        assert (await refused(client.state.set("k", 1, ttl=0))).violations[0][0] == "ttl"
        large = await refused(client.state.set("k", "x" * 70_000))
        assert large.reason in ("INVALID_ARGUMENT", "LIMIT_EXCEEDED")
        wide = await refused(client.state.set("k", ["x" * 40_000, "y" * 40_000]))
        assert (wide.reason, wide.metadata) == ("LIMIT_EXCEEDED", {"limit": "state_value_bytes"})
        assert await client.state.get("k") is None


async def test_a_place_is_listed_in_pages_by_size_and_by_count(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon, daemon.client() as client:
        text = "x" * 60_000
        for number in range(40):
            await client.state.set(f"k{number:02}", text)
        answer = await client.call(
            "RuntimeService/ListState", state_pb2.ListStateRequest(), state_pb2.ListStateResponse
        )
        assert 0 < len(answer.entries) < 40
        assert answer.ByteSize() < 1 << 21
        assert [one.key for one in await client.state.keys()] == [f"k{number:02}" for number in range(40)]
        request = state_pb2.ListStateRequest(page_size=3, key_pattern="k01")
        answer = await client.call("RuntimeService/ListState", request, state_pb2.ListStateResponse)
        assert [one.key for one in answer.entries] == ["k01"]
        news = client.state.watch()
        heard = await until(news, "k39", text)
        assert [one.key for one in heard] == [f"k{number:02}" for number in range(40)]


async def test_a_key_expires_by_the_clock_and_the_watch_is_told(tmp_path):
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("test") as client:
        await client.state.set("stays", 1)
        news = client.state.watch()
        await until(news, "stays", 1)
        entry = await client.state.set("short", 1, ttl=0.2)
        assert 0 < entry.expires - entry.time <= 0.21
        await until(news, "short", 1)
        await until(news, "short", None)
        assert await client.state.get("short") is None
        assert [one.key for one in await client.state.keys()] == ["stays"]
        state = gateway.house.shared.state
        assert await state.expire() == 0


async def test_the_watches_of_a_client_count_as_its_calls_and_are_let_go(tmp_path):
    async with InProcess(tmp_path, CONFIG) as gateway:
        async with gateway.client("test") as client:
            watches = [client.state.watch() for _ in range(5)]
            await client.state.set("k", 1)
            for news in watches:
                await until(news, "k", 1)
            assert gateway.house.shared.watches.count == 5
            for news in watches:
                await news.aclose()
            async with asyncio.timeout(DEADLINE):
                while gateway.house.shared.watches.count:
                    await asyncio.sleep(0.01)


def test_the_service_says_what_it_serves():
    methods = runtime_service_pb2.DESCRIPTOR.services_by_name["RuntimeService"].methods_by_name
    assert methods["WatchState"].server_streaming
    assert not methods["SetState"].server_streaming
