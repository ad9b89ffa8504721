"""Rule: every error class has its value in the contract, and its details are those of the AIPs."""

from base64 import b64encode
from urllib.parse import quote

import pytest
from gateway.v1 import error_reason_pb2
from google.rpc import error_details_pb2, status_pb2

from gatewayd.core.errors import ConfigInvalid, GatewayError, LimitExceeded, Violation, all_errors
from gatewayd.wire import error_to_proto, status_details, status_message


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


@pytest.mark.parametrize("letter", ["x", "é", "語", "😀"])
def test_an_error_fits_into_the_trailers_whatever_it_repeats(letter: str) -> None:
    """A client takes 8 KiB of metadata, and would tell of nothing but that."""
    long = letter * 50_000
    problems = [Violation(f"agents.a{number}.{letter * 20}", f"is wrong: {letter * 40}") for number in range(500)]
    error = ConfigInvalid(long, metadata={"path": long}, violations=[*problems, Violation(long, long)])
    message, details = status_message(error), status_details(error)

    assert len(quote(message)) + len(b64encode(details)) < 8 * 1024 - 512
    assert message.startswith(letter * 200)
    status = status_pb2.Status.FromString(details)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert info.metadata["violations"] == "501"
    assert status.details[1].Unpack(bad)
    *told, last = bad.field_violations
    assert len(told) >= 4
    assert [(one.field, one.description) for one in told] == [
        (it.field, it.description) for it in problems[: len(told)]
    ]
    assert last.description == f"and {501 - len(told)} more"


def test_a_single_violation_is_told_however_long() -> None:
    bad = error_details_pb2.BadRequest()
    details = status_details(ConfigInvalid("no", violations=[Violation("f" * 9000, "d" * 9000)]))
    assert status_pb2.Status.FromString(details).details[1].Unpack(bad)
    (one,) = bad.field_violations
    assert one.field.startswith("fff")
    assert one.description.startswith("ddd")


def test_details_leave_out_what_there_is_not() -> None:
    status = status_pb2.Status.FromString(status_details(ConfigInvalid("no")))

    assert [detail.TypeName() for detail in status.details] == ["google.rpc.ErrorInfo"]


def test_a_file_name_that_is_no_text_does_not_hide_the_error() -> None:
    error = ConfigInvalid("in \udcff", metadata={"path": "\udcff"}, violations=[Violation("\udcff", "\udcff")])

    assert error_to_proto(error).message == "in \ufffd"
    assert status_pb2.Status.FromString(status_details(error)).message == "in \ufffd"
