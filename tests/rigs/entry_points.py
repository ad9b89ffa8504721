"""What the stories about entry points share: executions by state, and reloads."""

from gateway.v1 import admin_service_pb2, execution_pb2, runtime_service_pb2

from gatewayctl.plain import enum_name
from tests.rigs.house import House, eventually


async def execution(rig: House, execution_id: str) -> execution_pb2.Execution:
    """One execution."""
    request = runtime_service_pb2.GetExecutionRequest(execution_id=execution_id)
    answer = await rig.client.call("RuntimeService/GetExecution", request, runtime_service_pb2.GetExecutionResponse)
    return answer.execution


def state_name(found: execution_pb2.Execution) -> str:
    """`running`, `succeeded`, …"""
    return enum_name(execution_pb2.ExecutionState.DESCRIPTOR, found.state)


async def execution_is(rig: House, execution_id: str, state: str) -> execution_pb2.Execution:
    """The execution, once it is in that state."""

    async def there() -> execution_pb2.Execution | None:
        found = await execution(rig, execution_id)
        return found if state_name(found) == state else None

    return await eventually(there)


async def executions(rig: House, entry_point: str) -> list[execution_pb2.Execution]:
    """All of an entry point, oldest first."""
    request = runtime_service_pb2.ListExecutionsRequest(page_size=1000, entry_point=entry_point)
    answer = await rig.client.call("RuntimeService/ListExecutions", request, runtime_service_pb2.ListExecutionsResponse)
    return list(reversed(answer.executions))


async def entry_points(rig: House) -> dict[str, runtime_service_pb2.EntryPoint]:
    """Those that the client may start, by id."""
    answer = await rig.client.call(
        "RuntimeService/ListEntryPoints",
        runtime_service_pb2.ListEntryPointsRequest(),
        runtime_service_pb2.ListEntryPointsResponse,
    )
    return {one.id: one for one in answer.entry_points}


async def reload(rig: House, config: str) -> None:
    """Put another configuration in place."""
    rig.daemon.write(config)
    await rig.client.call(
        "AdminService/ReloadConfig",
        admin_service_pb2.ReloadConfigRequest(),
        admin_service_pb2.ReloadConfigResponse,
        timeout=60,
    )
