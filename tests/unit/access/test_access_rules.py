"""Default deny for RPCs and frames, and the sentences of a denial."""

import pytest

from gatewayd.access.principals import Principal, local_principal
from gatewayd.access.rules import FRAMES, METHODS, OPEN, required, required_for_frame
from gatewayd.access.scopes import EVERY_SCOPE, Action, Scopes
from gatewayd.core.errors import PermissionDenied
from gatewayd.core.event import EventType
from gatewayd.core.filter import EventFilter


def test_what_has_no_rule_is_denied():
    for method in ("", "/gateway.v1.AdminService/Unknown", "/gateway.v1.AdminService/getstatus", "GetStatus"):
        with pytest.raises(PermissionDenied):
            required(method)
    with pytest.raises(PermissionDenied):
        required_for_frame("admin")


def test_only_health_is_open():
    assert {method for method, permission in METHODS.items() if permission.open} == {
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
        "/grpc.health.v1.Health/List",
    }
    assert not any(permission.open for permission in FRAMES.values())
    assert OPEN.action is None


def test_a_principal_without_scopes_passes_no_rule_that_asks_for_one():
    nobody = Principal("nobody", Scopes())
    everybody = local_principal()
    for permission in (*METHODS.values(), *FRAMES.values()):
        permission.check(everybody)
        if permission.action is not None:
            with pytest.raises(PermissionDenied):
                permission.check(nobody)


def test_everything_that_changes_the_daemon_asks_for_admin_write():
    for name in ("RetryDeadLetter", "RevokeToken", "ReloadConfig"):
        assert required(f"/gateway.v1.AdminService/{name}").action is Action.ADMIN_WRITE


def test_a_denial_names_the_scope_that_is_missing():
    client = Principal("node", Scopes.parse(["agents.send:a"]))
    client.require(Action.SEND, "a")
    for call, scope in (
        (lambda: client.require(Action.SEND, "b"), "agents.send:b"),
        (lambda: client.require(Action.ADMIN_READ), "admin.read"),
        (lambda: client.require_publish(EventType.MESSAGE, ""), "events.publish:message@*"),
        (lambda: client.require_subscribe(EventFilter()), "events.subscribe:*@*"),
    ):
        with pytest.raises(PermissionDenied) as caught:
            call()
        assert caught.value.metadata == {"scope": scope}
        assert "'node'" in caught.value.message


def test_events_of_a_session_reach_its_owner_or_who_may_see_all():
    mine = Principal("node", Scopes.parse(["sessions:own"]))
    assert mine.may_see("node")
    assert mine.may_see("")
    assert not mine.may_see("other")
    assert Principal("op", Scopes.parse(["sessions:all"])).may_see("other")
    assert Principal("op", EVERY_SCOPE).may_see("other")
