"""Signatures: vectors that others have published, and what is right by half."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.config.checking import read
from gatewayd.config.webhooks import WebhookSection
from gatewayd.core.secret import Secret
from gatewayd.http.webhooks.signatures import WINDOW, Flaw, delivery_of, flaw_of
from tests.rigs.webhooks import KEY, SECRET, github, hmac_sha256, standard

KEYS = (SECRET.encode(),)
PUBLISHED = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = 1_700_000_000.0


def small(headers: dict[str, str]) -> dict[str, str]:
    """As the listener gives them."""
    return {name.lower(): text for name, text in headers.items()}


def test_the_hmac_of_the_tests_is_that_of_rfc_4231() -> None:
    """Its second test case, and the sixth, whose key is longer than a block."""
    assert hmac_sha256(b"Jefe", b"what do ya want for nothing?").hex() == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )
    assert hmac_sha256(b"\xaa" * 131, b"Test Using Larger Than Block-Size Key - Hash Key First").hex() == (
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    )


def test_github_publishes_a_vector() -> None:
    """From its page on validating deliveries."""
    headers = {
        "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
        "x-github-delivery": "d1",
    }

    assert flaw_of("github", (b"It's a Secret to Everybody",), headers, b"Hello, World!", NOW) is None
    assert flaw_of("github", (b"It's a Secret to Everybody",), headers, b"Hello, World?", NOW) is Flaw.WRONG
    assert delivery_of("github", headers) == "d1"


def test_standard_webhooks_publishes_a_vector() -> None:
    """From its specification."""
    section = read(WebhookSection, {"path": "/x", "scheme": "standard", "secret": Secret(PUBLISHED)})
    (key,) = section.keys()
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }

    assert flaw_of("standard", (key,), headers, b'{"test": 2432232314}', 1614265330) is None
    assert delivery_of("standard", headers) == "msg_p5jXN8AQM9LWM0D4loKWxJek"


@pytest.mark.parametrize(
    ("seconds", "flaw"),
    [(0, None), (WINDOW, None), (-WINDOW, None), (WINDOW + 1, Flaw.OLD), (-WINDOW - 1, Flaw.FUTURE)],
)
def test_F55_the_window_is_five_minutes_both_ways(seconds: float, flaw: Flaw | None) -> None:
    """Its ends belong to it."""
    headers = small(standard(b"{}", "d", at=NOW))

    assert flaw_of("standard", (KEY,), headers, b"{}", NOW + seconds) is flaw


def test_F55_who_has_no_key_learns_nothing_of_the_time() -> None:
    """An old request with a wrong signature is wrong, not old."""
    headers = small(standard(b"{}", "d", b"another key", at=NOW - 10_000))

    assert flaw_of("standard", (KEY,), headers, b"{}", NOW) is Flaw.WRONG


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_F55_each_of_the_three_headers_is_needed(name: str) -> None:
    headers = small(standard(b"{}", "d", at=NOW))
    del headers[name]

    assert flaw_of("standard", (KEY,), headers, b"{}", NOW) is not None


def test_any_key_and_any_of_several_signatures_will_do() -> None:
    """While a secret is replaced, on either side."""
    headers = small(standard(b"{}", "d", at=NOW))
    headers["webhook-signature"] = f"v2,x v1,AAAA {headers['webhook-signature']} v1,"

    assert flaw_of("standard", (b"new", KEY), headers, b"{}", NOW) is None
    assert flaw_of("github", (b"new", *KEYS), small(github(b"{}")), b"{}", NOW) is None


def test_an_unknown_version_of_the_signature_counts_for_nothing() -> None:
    headers = small(standard(b"{}", "d", at=NOW))
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v1a,")

    assert flaw_of("standard", (KEY,), headers, b"{}", NOW) is Flaw.ABSENT


@given(
    st.binary(),
    st.sampled_from(["github", "standard"]),
    st.dictionaries(
        st.sampled_from(["x-hub-signature-256", "webhook-id", "webhook-timestamp", "webhook-signature"]),
        st.text(st.characters(exclude_categories=())),
    ),
)
def test_F55_nothing_that_was_not_signed_gets_in_or_breaks_it(
    body: bytes, scheme: str, headers: dict[str, str]
) -> None:
    """Whatever the headers hold, there is a flaw, and no error."""
    assert flaw_of(scheme, (KEY,), headers, body, NOW) is not None
