"""Who may address the listener, and which pages may use it: spellings that have fooled others."""

import pytest

from gatewayd.http.credentials import JSON, PROTO, form, offered, socket_token
from gatewayd.http.origins import host_may, origin_may

PAGES = ("https://chat.example.com", "http://[2001:db8::1]:8000")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:80",
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.8.9.10",
        "[::1]",
        "[::1]:8080",
        "[::ffff:127.0.0.1]",
        "chat.example.com",
        "CHAT.example.com:443",
        "[2001:db8::1]",
    ],
)
def test_our_names(host: str) -> None:
    assert host_may(host, PAGES)


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":80",
        "evil.example",
        "127.evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "0.0.0.0",
        "10.0.0.1",
        "[::]",
        "[::ffff:10.0.0.1]",
        "127.0.0.1@evil.example",
        "evil.example@127.0.0.1",
        "2130706433",
        "0x7f.1",
        "127.1",
        "localhost:99999",
        "localhost:x",
        "localhost/",
        "localhost#",
        "localhost?x",
        "[::1",
        "*",
        "sub.chat.example.com",
        "chat.example.com.",
        "localhost\\evil",
        "127.0.0.1, evil.example",
    ],
)
def test_names_that_are_not_ours(host: str) -> None:
    assert not host_may(host, PAGES)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://chat.example.com", "localhost:8080"),
        ("http://[2001:db8::1]:8000", "localhost:8080"),
        ("http://localhost:8080", "localhost:8080"),
        ("https://127.0.0.1:8080", "127.0.0.1:8080"),
    ],
)
def test_pages_that_may_come(origin: str, host: str) -> None:
    assert origin_may(origin, host, PAGES)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "*",
        "http://chat.example.com",
        "https://chat.example.com:8443",
        "https://chat.example.com/",
        "https://chat.example.com.evil.example",
        "https://evil.example/https://chat.example.com",
        "http://localhost",
        "http://localhost:8081",
        "http://127.0.0.1:8080",
        "localhost:8080",
        "file://",
        "chrome-extension://abc",
        "https://chat.example.com https://evil.example",
        "ftp://localhost:8080",
    ],
)
def test_pages_that_may_not(origin: str) -> None:
    assert not origin_may(origin, "localhost:8080", PAGES)


@pytest.mark.parametrize(
    ("authorization", "subprotocols", "token"),
    [
        (None, "", None),
        (None, JSON, None),
        ("Bearer a b", JSON, "a b"),
        ("bearer abc", "", "abc"),
        ("Basic abc", "", ""),
        ("", "", ""),
        (None, f"{JSON}, bearer.Z3dfYQ", "gw_a"),
        (None, "bearer.w7w_, gateway.v1.json", "ü?"),
        (None, "bearer.", ""),
        (None, "bearer.Z3dfYQ, bearer.Z3dfYQ", ""),
        ("Bearer abc", "bearer.Z3dfYQ", ""),
        (None, "bearer.Z3d!", ""),
        (None, "bearer.____", ""),
        (None, "bearer.A", ""),
        (None, "BEARER.Z3dfYQ", None),
    ],
)
def test_a_token_comes_in_one_place_or_is_none(authorization: str | None, subprotocols: str, token: str | None) -> None:
    """None: nobody gave one; '': of no use, and refused as such."""
    assert socket_token(authorization, offered(subprotocols)) == token


def test_the_form_is_the_first_that_both_know() -> None:
    assert form([]) == JSON
    assert form(["x", PROTO, JSON, "bearer.x"]) == PROTO
