"""Every part is tried out: what is well, what is not, and what does not answer at all."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from gateway.v1 import admin_service_pb2 as pb

from gatewayctl.client import Call, Client, InvalidArgument
from gatewayctl.plain import enum_name
from gatewayd.core.clock import SystemClock
from gatewayd.core.errors import StoreBusy
from gatewayd.daemon import checks as module
from tests.rigs.house import eventually, house
from tests.rigs.in_process import InProcess

CONFIG = """
agents: {echo: {model: offline/echo}, helper: {remote: true}, slow: {model: offline/slow}}
gateway: {http: {port: 0}}
webhooks: {hub: {path: /hub, insecure_no_secret: true}}
channels: {desk: {platform: local, routing: {default: echo}}}
entry_points: {slow: {agent: slow, max_concurrent: 2}}
runtime: {max_concurrent_executions: 1}
"""


async def looked(client: Client, *kinds: int) -> dict[str, tuple[str, str]]:
    """Kind and name → state and what was found."""
    request = pb.RunChecksRequest(kinds=[pb.CheckKind.ValueType(kind) for kind in kinds])
    answer = await client.call("AdminService/RunChecks", request, pb.RunChecksResponse, timeout=60)
    return {
        f"{enum_name(pb.CheckKind.DESCRIPTOR, one.kind)} {one.name}".rstrip(): (
            enum_name(pb.CheckState.DESCRIPTOR, one.state),
            one.summary,
        )
        for one in answer.checks
    }


async def answer(call: Call) -> str:
    return call.text


async def test_a_daemon_that_is_well_is_told_so_for_every_part(tmp_path: Path) -> None:
    async with house(tmp_path, CONFIG) as rig, rig.daemon.client("w") as worker:
        async with worker.serve_agent("helper", answer) as serving:
            await serving.registered()

            async def well() -> tuple[int, str] | None:
                code, out, _ = await rig.daemon.ctl("-o", "json", "status", "--deep")
                return (code, out) if code == 0 else None

            _, out = await eventually(well)

    told = json.loads(out)
    parts = [f"{one['kind']} {one['name']}".rstrip() for one in told["checks"]]
    assert told["state"] == "healthy"
    assert parts == [
        "store",
        "disk",
        "loop",
        "bus",
        "configuration",
        "executions",
        "agents echo",
        "agents helper",
        "agents slow",
        "channels desk",
        "http",
        "http hub",
    ]
    summary = {part: one["summary"] for part, one in zip(parts, told["checks"], strict=True)}
    assert "a write took" in summary["store"]
    assert "free" in summary["disk"]
    assert summary["agents helper"] == "1 worker"
    assert summary["http"].endswith("answers 200 OK")


async def test_what_is_not_as_it_should_be_is_told(tmp_path: Path) -> None:
    """An agent without workers, no room for executions, and a file that would be refused, or is another one."""
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        first = await client.trigger("slow", "60s a b")
        second = await client.trigger("slow", "60s a b")
        found = await looked(client, pb.CHECK_KIND_AGENTS, pb.CHECK_KIND_EXECUTIONS, pb.CHECK_KIND_CONFIGURATION)

        assert found["agents helper"] == ("degraded", "no workers")
        assert found["executions"][0] == "degraded"
        assert found["configuration"] == ("healthy", "as the file says")
        for one in (first, second):
            await client.cancel(one.execution_id)
        gateway.write(CONFIG + "goals: {g: {criteria: [{id: a}]}}\n")
        changed = await looked(client, pb.CHECK_KIND_CONFIGURATION)
        assert changed["configuration"][0] == "healthy"
        assert "wait for a reload" in changed["configuration"][1]
        gateway.write("agents: 3\n")
        wrong = await looked(client, pb.CHECK_KIND_CONFIGURATION)
        assert wrong["configuration"][0] == "degraded"
        assert "CONFIG_INVALID" in wrong["configuration"][1]
        with pytest.raises(InvalidArgument, match="nothing that this gateway can try out"):
            await looked(client, 77)


@pytest.mark.parametrize(
    ("free", "state"), [(1 << 40, "healthy"), (200 << 20, "degraded"), (20 << 20, "broken"), (0, "broken")]
)
async def test_a_disk_that_fills_up_is_told_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        disk = gateway.house.operator._checks._disk
        monkeypatch.setattr(type(disk), "space", lambda _self, _path: (free, 1 << 42))

        assert (await looked(client, pb.CHECK_KIND_DISK))["disk"][0] == state


async def test_a_part_that_fails_or_does_not_answer_is_broken_and_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise StoreBusy("somebody holds the file")

    async def never(*_: object) -> dict[str, int]:
        await asyncio.Event().wait()
        return {}

    def defect(*_: object) -> None:
        raise ValueError("secret inside")

    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        monkeypatch.setattr(module, "LIMIT", 0.2)
        store = gateway.house.store
        with monkeypatch.context() as broken:
            broken.setattr(store, "set_mark", busy)
            broken.setattr(store, "count_letters", never)
            broken.setattr(gateway.house.bus, "stats", defect)
            found = await looked(client)
        assert found["store"] == ("broken", "somebody holds the file")
        assert found["channels"] == ("broken", "no answer within 0.2 s")
        assert found["bus"] == ("broken", "the check failed: ValueError")
        assert found["disk"][0] == "healthy"
        assert "agents echo" in found
        assert "http hub" in found

        assert (await looked(client, pb.CHECK_KIND_STORE))["store"][0] == "healthy"
        assert await store.marks("probe") == {}


@pytest.mark.parametrize(
    ("answer", "state", "said"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "degraded", "answers 503 Service Unavailable"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "healthy", "takes connections, and answers nothing in the clear"),
        (b"", "healthy", "takes connections, and answers nothing in the clear"),
        (None, "broken", "takes no connections"),
    ],
)
async def test_a_listener_is_judged_by_what_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, state: str, said: str
) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer or b"")
        writer.close()

    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        assert gateway.house.http.server is not None
        monkeypatch.setattr(gateway.house.http.server, "port", server.sockets[0].getsockname()[1])
        if answer is None:
            server.close()
            await server.wait_closed()
        found = (await looked(client, pb.CHECK_KIND_HTTP))["http"]
        server.close()
        assert found[0] == state
        assert said in found[1]


async def test_a_loop_that_is_late_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Judged by the clock: what the loop took beyond what was asked for."""

    class Late(SystemClock):
        """Every sleep of a check takes longer."""

        def __init__(self, extra: float) -> None:
            self.slept = 0.0
            self.extra = extra

        def monotonic(self) -> float:
            return super().monotonic() + self.slept

        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            self.slept += self.extra

    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        states: list[str] = []
        make: Callable[[float], Late] = Late
        for extra in (0.5, 2.0):
            monkeypatch.setattr(gateway.house.operator._checks, "_clock", make(extra))
            states.append((await looked(client, pb.CHECK_KIND_LOOP))["loop"][0])
        assert states == ["degraded", "broken"]
