"""The shared state at the service: readers that stall, pages that tell nothing, rates, revoked tokens."""

import asyncio
import base64
from typing import Any

import pytest
from gateway.v1 import state_pb2 as pb
from google.protobuf.struct_pb2 import Value
from rpc_rig import SCOPES, Aborted, FakeCall, Rig

from gatewayd.access.principals import LostProof
from gatewayd.config.model import GatewayConfig, GatewaySection, LimitsSection
from gatewayd.core.state import EVERYWHERE
from gatewayd.rpc.state import STALL
from gatewayd.runtime.state import Change

DEADLINE = 60.0


class Watching(FakeCall):
    """A call whose reader takes so many responses and then none."""

    def __init__(self, who: str, takes: int) -> None:
        super().__init__(who)
        self.taken: list[pb.WatchStateResponse] = []
        self.stalled = asyncio.Event()
        self.synced = asyncio.Event()
        self._takes = takes

    async def write(self, response: pb.WatchStateResponse) -> None:
        if len(self.taken) == self._takes:
            self.stalled.set()
            await asyncio.Event().wait()
        self.taken.append(response)
        if response.synced:
            self.synced.set()


async def put(rig: Rig, *keys: str) -> None:
    await rig.state.write([Change(EVERYWHERE, key, "1") for key in keys], writer="root")


async def test_a_reader_that_takes_nothing_for_too_long_is_cut(rig: Rig) -> None:
    await put(rig, "a")
    call: Any = Watching("root", takes=0)
    watching = asyncio.ensure_future(rig.runtime_service.WatchState(pb.WatchStateRequest(), call))
    async with asyncio.timeout(DEADLINE):
        await call.stalled.wait()
        assert rig.watches.count == 1
        await rig.clock.advance(STALL + 1)
        with pytest.raises(Aborted) as ended:
            await watching
    assert ended.value.reason == "SLOW_CONSUMER"
    assert rig.watches.count == 0


async def test_a_revoked_token_ends_its_watches(rig: Rig) -> None:
    call: Any = Watching("root", takes=9)
    watching = asyncio.ensure_future(rig.runtime_service.WatchState(pb.WatchStateRequest(), call))
    async with asyncio.timeout(DEADLINE):
        await call.synced.wait()
        rig.watches.end_lost(LostProof(frozenset({"another"})))
        await put(rig, "a")
        rig.watches.end_lost(LostProof(frozenset({"digest of root"})))
        with pytest.raises(Aborted) as ended:
            await watching
    assert ended.value.reason == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("scopes", "reason"), [(None, "UNAUTHENTICATED"), (["runtime:*", "state.read:other.>"], "UNAVAILABLE")]
)
async def test_a_token_that_is_worth_less_when_the_place_was_looked_up_opens_no_watch(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, scopes: list[str] | None, reason: str
) -> None:
    """Revoked, or of other scopes: none with the old ones."""
    await rig.work(1, owner="root")
    look_up = rig.store.get_execution

    async def changed_meanwhile(execution_id: str) -> Any:
        if scopes is None:
            monkeypatch.delitem(SCOPES, "root")
        else:
            monkeypatch.setitem(SCOPES, "root", scopes)
        return await look_up(execution_id)

    monkeypatch.setattr(rig.store, "get_execution", changed_meanwhile)
    call: Any = Watching("root", takes=9)
    request = pb.WatchStateRequest(scope=pb.STATE_SCOPE_EXECUTION, scope_id="x0001")
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(Aborted) as ended:
            await rig.runtime_service.WatchState(request, call)
    assert (ended.value.reason, rig.watches.count, call.taken) == (reason, 0, [])


async def test_a_page_token_names_no_key_that_may_not_be_read(rig: Rig) -> None:
    await put(rig, "orders.a", "orders.b", "private.c", "private.d", "zoo", "orders.z")
    call: Any = FakeCall("narrow")
    found: list[str] = []
    token = ""
    for _ in range(9):
        request = pb.ListStateRequest(page_size=1, page_token=token)
        answer = await rig.runtime_service.ListState(request, call)
        found += [entry.key for entry in answer.entries]
        token = answer.next_page_token
        assert b"private" not in base64.urlsafe_b64decode(token + "===")
        if not token:
            break
    assert found == ["orders.a", "orders.b", "orders.z"]


async def test_writes_count_for_the_rate_of_what_is_published(rig: Rig) -> None:
    limits = LimitsSection(publish_rate=1.0)
    rig.router.config = GatewayConfig(gateway=GatewaySection(limits=limits))
    call: Any = FakeCall("root")

    def write(key: str) -> pb.SetStateRequest:
        return pb.SetStateRequest(writes=[pb.StateWrite(key=key, value=Value(number_value=1))])

    async def write_all() -> None:
        for number in range(100):
            await rig.runtime_service.SetState(write(f"k{number}"), call)

    with pytest.raises(Aborted) as refused:
        await write_all()
    assert (refused.value.reason, refused.value.info.metadata["limit"]) == ("LIMIT_EXCEEDED", "limits.publish_rate")
