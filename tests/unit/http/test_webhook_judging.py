"""What becomes of a request, whatever is in it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatewayd.config.checking import read
from gatewayd.config.model import GatewayConfig
from gatewayd.core.event import Event, EventType
from gatewayd.core.http import HttpRequest
from gatewayd.core.secret import Secret
from gatewayd.http.webhooks.content import is_secretive, is_text
from gatewayd.http.webhooks.judging import MAX_DELIVERY, Refusal, judge
from gatewayd.http.webhooks.routes import Hook, table_of
from gatewayd.wire import data_of, decode_event, event_bytes
from tests.rigs.webhooks import SECRET, WHSEC, github, standard

NOW = 1_700_000_000.0
MOST = 4 << 20
_ANY = st.text(st.characters(exclude_categories=()))


def hook(**section: Any) -> Hook:
    return table_of(read(GatewayConfig, {"webhooks": {"repo": {"path": "/hook", **section}}}), {})["/hook"]


SIGNED, TIMED = hook(secret=Secret(SECRET)), hook(secret=Secret(WHSEC), scheme="standard")
OPEN = hook(insecure_no_secret=True)


def request(body: bytes, headers: dict[str, str], query: str = "") -> HttpRequest:
    given = {"host": "localhost", **{name.lower(): text for name, text in headers.items()}}
    return HttpRequest("POST", "/hook", query, given, body, "127.0.0.1")


def judged(of: Hook, body: bytes, headers: dict[str, str], query: str = "") -> dict[str, Any]:
    """The data of the event, read back from its bytes."""
    event: Event = judge(of, request(body, headers, query), now=NOW, new_id="new", most=MOST)
    return dict(data_of(decode_event(event_bytes(event))))


def outcome(body: bytes, headers: dict[str, str], query: str) -> int | tuple[str, str]:
    """The status of a refusal, or method and path of the event."""
    try:
        data = judged(SIGNED, body, headers, query)
    except Refusal as refusal:
        return refusal.answer.status
    return data["method"], data["path"]


def test_a_webhook_without_a_secret_that_nobody_asked_for_is_closed() -> None:
    """The configuration refuses it; should it ever get here, there is no way in."""
    for headers in ({}, github(b"{}")):
        with pytest.raises(Refusal) as refused:
            judged(replace(SIGNED, keys=()), b"{}", headers)
        assert refused.value.answer.status == 401


@given(st.binary(max_size=2000), st.dictionaries(_ANY, _ANY, max_size=5), _ANY)
@example(b'{"a": 1e400}', {}, "")
@example(b"1" * 5000, {}, "")
@example(b'{"\\udc00": "\\ud800"}', {"x-\ud800": "\udcff"}, "a=%ff&%00=&;&&=")
@example(b"\xff\xfe{\x00}\x00", {"content-type": ";;;charset"}, "&" * 200)
def test_F56_whatever_is_signed_becomes_an_event_or_is_refused(
    body: bytes, headers: dict[str, str], query: str
) -> None:
    """No error, and the event can be read back."""
    found = outcome(body, headers | github(body, "d"), query)
    assert found in (400, 415, ("POST", "/hook"))


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.text()
        | st.integers(-(2**53), 2**53)
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_json_comes_out_as_it_went_in(value: Any) -> None:
    """Of any kind; what is nested too deep for an event is told as text."""
    body = json.dumps(value).encode()
    assert judged(TIMED, body, standard(body, "d", at=NOW)).get("payload") == value


def test_an_event_holds_ten_thousand_values_and_what_is_more_is_told_as_text() -> None:
    for count, parsed in ((9_999, True), (10_000, False)):
        body = json.dumps([0] * count).encode()
        payload = judged(SIGNED, body, github(body, "d"))["payload"]
        assert payload == ([0] * count if parsed else {"raw_body": body.decode()})


@pytest.mark.parametrize(
    ("delivery", "name"),
    [
        ("d" * MAX_DELIVERY, "d" * MAX_DELIVERY),
        ("", None),
        ("d" * (MAX_DELIVERY + 1), 400),
        ("\u00fc", 400),
        ("a\tb", 400),
    ],
)
def test_F54_an_event_is_named_after_its_delivery(delivery: str, name: str | int | None) -> None:
    try:
        found: str | int = judge(SIGNED, request(b"{}", github(b"{}", delivery)), now=NOW, new_id="new", most=MOST).id
    except Refusal as refusal:
        found = refusal.answer.status
    assert found == (name or "body-44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")


def test_an_unsigned_request_without_an_id_is_one_of_its_own() -> None:
    event = judge(OPEN, request(b"{}", {}), now=NOW, new_id="new", most=MOST)
    assert (event.id, event.type, event.stream_id, event.owner) == ("new", EventType.WEBHOOK_RECEIVED, "repo", "")


@pytest.mark.parametrize(
    "name",
    [
        "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-Hub-Signature", "X-Hub-Signature-256",
        "webhook-signature", "svix-signature", "X-Slack-Signature", "X-Gitlab-Token", "X-Api-Key", "apikey",
        "X-Auth", "X-Shopify-Hmac-Sha256", "X-Telegram-Bot-Api-Secret-Token", "X-Amz-Security-Token", "X-CSRF-Token",
        "X-Forwarded-Client-Cert", "X-Session-Id", "access_token", "key", "sig",
        "pwd", "user_pwd", "X-Pin", "card-pin", "PIN", "Bearer", "X-Bearer-Id",
    ],
)  # fmt: skip
def test_what_proves_who_somebody_is_never_enters_an_event(name: str) -> None:
    assert is_secretive(name)
    data = judged(OPEN, b"{}", {name: "sesame"}, f"{name}=sesame&kept=1")
    assert "sesame" not in str(data)
    assert data["query_params"] == {"kept": "1"}


@pytest.mark.parametrize(
    "name",
    [
        "X-Shipping",
        "X-Opinion",
        "X-Pinned",
        "Forbearer",
        "X-GitHub-Event",
        "X-GitHub-Delivery",
        "User-Agent",
        "Content-Type",
        "webhook-id",
    ],
)
def test_what_tells_of_the_delivery_does(name: str) -> None:
    assert judged(OPEN, b"{}", {name: "text/plain"})["headers"][name.lower()] == "text/plain"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("", True),
        ("application/json", True),
        ("application/cloudevents+json; charset=utf-8", True),
        ('application/json; charset="UTF-8"', True),
        ("application/x-www-form-urlencoded", True),
        ("application/octet-stream", True),
        ("text/plain; charset=iso-8859-1", False),
        ("multipart/form-data; boundary=charset", False),
        ("image/png", False),
    ],
)
def test_F56_a_media_type_is_text_or_415(kind: str, text: bool) -> None:
    assert is_text(kind) is text
