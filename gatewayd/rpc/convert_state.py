"""The shared state ↔ messages of `gateway.v1`."""

from collections.abc import Iterator

from gateway.v1 import state_pb2

from gatewayd.core.state import Place, StateEntry, StateLimits, StateScope, check_ttl, text_of
from gatewayd.rpc.convert import instant
from gatewayd.runtime.state import Change
from gatewayd.runtime.state_watch import StateNews
from gatewayd.wire.values import check_value, fill_value, refuse, span_from, value_from

_SCOPE = {scope: state_pb2.StateScope.Value(f"STATE_SCOPE_{scope.name}") for scope in StateScope}
_SCOPE_BACK = {number: scope for scope, number in _SCOPE.items()}
_SCOPE_BACK[state_pb2.STATE_SCOPE_UNSPECIFIED] = StateScope.GLOBAL


def scope_of(number: int, path: str) -> StateScope:
    """Who shares; unspecified is everybody."""
    if number not in _SCOPE_BACK:
        raise refuse(path, f"{number} is no scope that this gateway knows")
    return _SCOPE_BACK[state_pb2.StateScope.ValueType(number)]


def entry_message(entry: StateEntry) -> state_pb2.StateEntry:
    """A key; one that was deleted has no value."""
    message = state_pb2.StateEntry(
        scope=_SCOPE[entry.place.scope],
        scope_id=entry.place.id,
        key=entry.key,
        version=entry.version,
        update_time=instant(entry.updated),
        expire_time=instant(entry.expires),
        principal=entry.writer,
    )
    if entry.text:
        fill_value(message.value, entry.value, "value")
    return message


def change_of(write: state_pb2.StateWrite, place: Place, path: str, limits: StateLimits) -> Change:
    """What a request wants to become of a key."""
    expected = write.expected_version if write.HasField("expected_version") else None
    if expected is not None and expected < 0:
        raise refuse(f"{path}.expected_version", "is negative")
    ttl = check_ttl(span_from(write.ttl, f"{path}.ttl")) if write.HasField("ttl") else None
    action = write.WhichOneof("action")
    if action == "delete":
        if not write.delete or ttl is not None:
            raise refuse(path, "`delete` must be true, and has no `ttl`")
        return Change(place, write.key, "", expected)
    if action is None:
        raise refuse(path, "exactly one of `value` and `delete` must be set")
    check_value(write.value, f"{path}.value")
    held = value_from(write.value)
    if held is None:
        raise refuse(f"{path}.value", "null is what a key holds that is not there: delete it")
    return Change(place, write.key, text_of(held, limits), expected, ttl)


def parts(news: StateNews, most: int) -> Iterator[state_pb2.WatchStateResponse]:
    """The news as responses of at most so many bytes each, unless one key alone is larger."""
    response, size = state_pb2.WatchStateResponse(synced=news.synced), 0
    for field, entries in (("entries", news.entries), ("changes", news.changes)):
        for entry in entries:
            message = entry_message(entry)
            more = message.ByteSize()
            if size and size + more > most:
                yield response
                response, size = state_pb2.WatchStateResponse(), 0
            getattr(response, field).append(message)
            size += more
    yield response
