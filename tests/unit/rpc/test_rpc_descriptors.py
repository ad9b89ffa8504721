"""Nothing of the contract is served without a rule, and no rule stands for what is not served."""

import importlib
import pkgutil

import gateway.v1
from gateway.v1 import event_service_pb2
from google.protobuf import descriptor_pool
from grpc_channelz.v1 import channelz_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from gatewayd.access.rules import FRAMES, METHODS
from gatewayd.rpc.neighbours import SERVICES as NAMED
from gatewayd.rpc.services import SERVICES

NEIGHBOURS = (channelz_pb2, health_pb2, reflection_pb2)


def methods_of(services):
    return {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}


def test_every_rpc_of_the_contract_has_a_rule():
    assert methods_of(SERVICES.values()) - set(METHODS) == set()


def test_every_rule_stands_for_an_rpc():
    neighbours = [service for module in NEIGHBOURS for service in module.DESCRIPTOR.services_by_name.values()]
    known = methods_of([*SERVICES.values(), *neighbours])
    # The second name of reflection has no stubs here; its methods are those of the first.
    known |= {method.replace(".v1alpha.", ".v1.") for method in known}
    assert set(METHODS) - known == set()


def test_every_frame_has_a_rule_and_every_rule_a_frame():
    frames = event_service_pb2.ConnectRequest.DESCRIPTOR.oneofs_by_name["frame"].fields
    assert {field.name for field in frames} == set(FRAMES)


def test_health_and_reflection_name_every_service():
    assert set(NAMED) == set(SERVICES)


def test_every_service_of_the_package_is_served():
    for module in pkgutil.iter_modules(gateway.v1.__path__):
        importlib.import_module(f"gateway.v1.{module.name}")
    pool = descriptor_pool.Default()
    files = [
        pool.FindFileByName(f"gateway/v1/{module.name.removesuffix('_pb2')}.proto")
        for module in pkgutil.iter_modules(gateway.v1.__path__)
        if module.name.endswith("_pb2")
    ]
    names = {service.full_name for file in files for service in file.services_by_name.values()}
    assert names == set(SERVICES)
