"""Rule: every error class has its value in the contract, and its details are those of the AIPs."""

import pytest
from gateway.v1 import error_reason_pb2
from google.rpc import error_details_pb2, status_pb2

from gatewayd.core.errors import ConfigInvalid, GatewayError, LimitExceeded, Violation, all_errors
from gatewayd.wire import error_to_proto, status_details


@pytest.mark.parametrize("kind", all_errors())
def test_every_error_class_can_leave_the_daemon(kind: type[GatewayError]) -> None:
    message = error_to_proto(kind("why"))

    assert error_reason_pb2.ErrorReason.Name(message.reason) == f"ERROR_REASON_{kind.reason}"
    assert message.code == kind.code > 0
    assert not message.HasField("retry_after")
    assert status_pb2.Status.FromString(status_details(kind("why"))).code == kind.code


def test_details_name_reason_domain_violations_and_delay() -> None:
    error = LimitExceeded("full", metadata={"limit": "x"}, violations=[Violation("a", "b")], retry_after=2.5)

    status = status_pb2.Status.FromString(status_details(error))

    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    assert [detail.Unpack(target) for detail, target in zip(status.details, (info, bad, retry), strict=True)] == [
        True
    ] * 3
    assert (status.code, status.message) == (8, "full")
    assert (info.reason, info.domain, dict(info.metadata)) == ("LIMIT_EXCEEDED", "gatewayd", {"limit": "x"})
    assert [(v.field, v.description) for v in bad.field_violations] == [("a", "b")]
    assert (retry.retry_delay.seconds, retry.retry_delay.nanos) == (2, 500_000_000)


def test_details_leave_out_what_there_is_not() -> None:
    status = status_pb2.Status.FromString(status_details(ConfigInvalid("no")))

    assert [detail.TypeName() for detail in status.details] == ["google.rpc.ErrorInfo"]


def test_a_file_name_that_is_no_text_does_not_hide_the_error() -> None:
    error = ConfigInvalid("in \udcff", metadata={"path": "\udcff"}, violations=[Violation("\udcff", "\udcff")])

    assert error_to_proto(error).message == "in \ufffd"
    assert status_pb2.Status.FromString(status_details(error)).message == "in \ufffd"
