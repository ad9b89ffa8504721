"""Rule: every service, rpc, message, field, oneof, enum and value of the contract says what it is."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).parents[2]
PROTOC = ROOT / ".build/protoenv/bin/python"

# Field numbers within descriptor.proto, of which the paths in SourceCodeInfo are made.
MESSAGE, ENUM, SERVICE = 4, 5, 6
FIELD, NESTED, NESTED_ENUM, ONEOF = 2, 3, 4, 8
VALUE, METHOD = 2, 2


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[descriptor_pb2.FileDescriptorProto]:
    if not PROTOC.exists():
        pytest.skip("there is no generator yet: run proto/generate.sh once")
    target = tmp_path_factory.mktemp("descriptors") / "set.binpb"
    names = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto/gateway").rglob("*.proto"))
    command = [PROTOC, "-W", "ignore", "-m", "grpc_tools.protoc", "-I.", "--include_source_info"]
    subprocess.run([*command, f"--descriptor_set_out={target}", *names], cwd=ROOT / "proto", check=True)
    return list(descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file)


def messages(
    found: list[tuple[str, tuple[int, ...], descriptor_pb2.DescriptorProto]],
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, path, message in found:
        yield name, path
        for place, field in enumerate(message.field):
            yield f"{name}.{field.name}", (*path, FIELD, place)
        synthetic = {field.oneof_index for field in message.field if field.proto3_optional}
        for place, oneof in enumerate(message.oneof_decl):
            if place not in synthetic:
                yield f"{name}.{oneof.name}", (*path, ONEOF, place)
        yield from enums(name, [((*path, NESTED_ENUM, i), enum) for i, enum in enumerate(message.enum_type)])
        nested = [
            (f"{name}.{each.name}", (*path, NESTED, place), each)
            for place, each in enumerate(message.nested_type)
            if not each.options.map_entry
        ]
        yield from messages(nested)


def enums(
    prefix: str, found: list[tuple[tuple[int, ...], descriptor_pb2.EnumDescriptorProto]]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    for path, enum in found:
        yield f"{prefix}.{enum.name}", path
        for place, value in enumerate(enum.value):
            yield f"{prefix}.{enum.name}.{value.name}", (*path, VALUE, place)


def elements(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from messages([(each.name, (MESSAGE, place), each) for place, each in enumerate(file.message_type)])
    yield from enums("", [((ENUM, place), each) for place, each in enumerate(file.enum_type)])
    for place, service in enumerate(file.service):
        yield service.name, (SERVICE, place)
        for method_place, method in enumerate(service.method):
            yield f"{service.name}.{method.name}", (SERVICE, place, METHOD, method_place)


def test_every_element_has_a_comment_of_its_own(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    count = 0
    bare = []
    for file in files:
        comments = {tuple(each.path): each.leading_comments.strip() for each in file.source_code_info.location}
        for name, path in elements(file):
            count += 1
            if len(comments.get(path, "")) < 5:
                bare.append(f"{file.name}: {name}")

    assert count > 700
    assert bare == []


def test_every_file_says_what_it_is_for(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    syntax = (12,)

    silent = []
    for file in files:
        notes = [each for each in file.source_code_info.location if tuple(each.path) == syntax]
        if not any(each.leading_comments or each.leading_detached_comments for each in notes):
            silent.append(file.name)

    assert silent == []
