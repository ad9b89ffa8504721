"""Entry points by a call: what is waited for, and for how long."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gateway.v1 import runtime_service_pb2 as pb
from rpc_rig import SCOPES, Aborted, FakeCall

from gatewayd.access.principals import LostProof
from gatewayd.rpc.triggers import EntryPointCalls


async def test_F61_a_token_that_is_revoked_before_the_trigger_is_on_disk_ends_the_waiting_too(rig, monkeypatch):
    monkeypatch.setitem(SCOPES, "starter", ["runtime:*"])
    begun = asyncio.Event()

    async def accept_trigger(_trigger: Any, _caller: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    calls = EntryPointCalls(
        guard=rig.guard,
        router=cast(Any, SimpleNamespace(accept_trigger=accept_trigger)),
        store=rig.store,
        entry_points=cast(Any, None),
        rates=cast(Any, SimpleNamespace(send=lambda _principal: None)),
        clock=rig.clock,
    )
    request = pb.TriggerAndWaitRequest(trigger=pb.TriggerRequest(entry_point="orders", text="go"))
    waiting = asyncio.create_task(calls.TriggerAndWait(request, cast(Any, FakeCall("starter"))))
    async with asyncio.timeout(60):
        await begun.wait()
        rig.gate.waits.end_lost(LostProof(frozenset({"digest of starter"})))
        with pytest.raises(Aborted) as ended:
            await waiting
    assert ended.value.reason == "UNAUTHENTICATED"
