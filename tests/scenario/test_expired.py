"""A message whose channel was removed: the operator is told that its answer waits, and in the end how it ended."""

import asyncio
from pathlib import Path

from gateway.v1 import admin_service_pb2 as admin
from gateway.v1 import message_pb2 as messages

from gatewayd.core.message import ChatContext, InboundMessage
from tests.rigs.in_process import InProcess

AGENTS = "agents: {slow: {model: offline/slow}, a: {model: offline/echo}}\n"


async def test_an_answer_for_a_channel_that_is_gone_is_told_and_expires(tmp_path: Path) -> None:
    """`gatewayctl status` is degraded with the channel's name; `gatewayctl trace` shows `expired` (P7.8)."""
    away = f"channels: {{sim: {{server: 'unix:{tmp_path}/nobody', routing: {{dm: a}}}}}}\n"
    async with InProcess(tmp_path, AGENTS + away) as gateway, gateway.client("operator") as client:
        details = {"channel": "sim", "platform_id": "p1", "chat": "room", "peer": "ann", "account": "bot"}
        said = InboundMessage(text="hello", context=ChatContext.DM, time=0.0, **details)  # type: ignore[arg-type]
        await gateway.house.router.accept_chat(said)
        await gateway.house.runtime.idle()
        gateway.write(AGENTS)
        await client.call(
            "AdminService/ReloadConfig", admin.ReloadConfigRequest(), admin.ReloadConfigResponse, timeout=30
        )

        async with asyncio.timeout(60):
            while not (degraded := (await client.status()).degraded):
                await asyncio.sleep(0.02)
        assert list(degraded) == ["1 answer waits for channel sim, which is not configured"]

        assert await gateway.house.expiry.expire(1e-6) == 1
        await gateway.house.expiry.look()
        request = admin.TraceMessageRequest(message_id="p1", channel="sim")
        traced = await client.call("AdminService/TraceMessage", request, admin.TraceMessageResponse)
        assert traced.message.state == messages.LEDGER_STATE_EXPIRED
        assert [(step.stage, step.detail) for step in traced.steps][-1] == (
            messages.MESSAGE_STAGE_ENDED,
            "expired: its answer waited too long for channel sim",
        )
        assert not (await client.status()).degraded
