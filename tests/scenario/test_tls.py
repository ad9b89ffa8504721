"""TLS on both listeners: who is let in, who is not, and certificates that change while the daemon serves."""

import asyncio
import os
import ssl
from pathlib import Path

import aiohttp
import pytest
from gateway.v1 import admin_service_pb2 as admin

from gatewayctl.client import Client, GatewayError, Tls, Unavailable
from tests.rigs.certificates import Authority, Folder
from tests.rigs.process import BIN, Daemon
from tests.rigs.websocket import http_port

CONFIG = """
gateway:
  ssl_cert: tls/server.pem
  ssl_key: tls/server.key
  http: {port: 0, websocket: true}
agents:
  echo: {model: offline/echo}
  slow: {model: offline/slow}
"""
MUTUAL = CONFIG.replace("  http:", "  ssl_client_ca: tls/clients.pem\n  http:", 1)


def client(daemon: Daemon, tls: Tls | None, name: str = "far") -> Client:
    """Over TCP, with the daemon's token."""
    return Client(f"127.0.0.1:{daemon.port}", token=daemon.token, tls=tls, client_id=name, connect_timeout=0)


async def echoes(daemon: Daemon, tls: Tls | None) -> bool:
    """Whether such a client gets an answer; False if there is no connection."""
    try:
        async with client(daemon, tls) as far:
            return (await far.send("echo", "hello")).content == "hello"
    except Unavailable:
        return False


def context(ca: str, pair: tuple[str, str] | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=ca)
    if pair is not None:
        made.load_cert_chain(*pair)
    return made


async def healthy(daemon: Daemon, trust: ssl.SSLContext) -> bool:
    """Whether HTTP answers there."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"https://127.0.0.1:{http_port(daemon)}/healthz", ssl=trust) as answer,
        ):
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def reload(daemon: Daemon) -> admin.ReloadConfigResponse:
    async with daemon.client("reloader") as near:
        return await near.call(
            "AdminService/ReloadConfig", admin.ReloadConfigRequest(), admin.ReloadConfigResponse, timeout=60
        )


async def test_what_is_said_is_encrypted_and_the_listener_proves_who_it_is(tmp_path: Path) -> None:
    """Over TLS by SDK, gatewayctl and HTTP; nobody else gets through; the socket needs none of it."""
    ours, theirs, folder = Authority("ours"), Authority("theirs"), Folder(tmp_path / "tls")
    folder.pair("server", ours)
    ca, wrong = folder.put("ca.pem", ours.pem), folder.put("wrong.pem", theirs.pem)
    async with Daemon(tmp_path, CONFIG) as daemon:
        assert await echoes(daemon, Tls(ca))
        assert not await echoes(daemon, Tls(wrong))
        assert not await echoes(daemon, Tls(""))
        assert await healthy(daemon, context(ca))
        assert not await healthy(daemon, context(wrong))
        async with daemon.client("near") as near:
            assert (await near.send("echo", "by the socket")).content == "by the socket"

        (tmp_path / "token").write_text(daemon.token)
        (tmp_path / "token").chmod(0o600)
        base = [str(BIN / "gatewayctl"), "--address", f"localhost:{daemon.port}", "--token-file", f"{tmp_path}/token"]
        for more, environ, code in (
            (["--ca", ca], {}, 0),
            ([], {"GATEWAYCTL_CA": ca}, 0),
            (["--ca", wrong], {}, 3),
            (["--ca", f"{tmp_path}/none"], {}, 2),
        ):
            for verb in (["status"], ["send", "echo", "hello"]):
                process = await asyncio.create_subprocess_exec(
                    *base, *more, *verb, env={**os.environ, **environ}, stdout=-1, stderr=-1
                )
                said = await asyncio.wait_for(process.communicate(), 60)
                assert process.returncode == code, (more, environ, verb, said)


async def test_with_an_authority_for_clients_a_token_alone_opens_nothing(tmp_path: Path) -> None:
    """Mutual TLS on both listeners: a certificate of the authority, and the token."""
    ours, people, others, folder = (
        Authority("ours"),
        Authority("people"),
        Authority("others"),
        Folder(tmp_path / "tls"),
    )
    folder.pair("server", ours)
    ca, _ = folder.put("ca.pem", ours.pem), folder.put("clients.pem", people.pem)
    known, unknown = folder.pair("ann", people), folder.pair("mallory", others)
    async with Daemon(tmp_path, MUTUAL) as daemon:
        assert await echoes(daemon, Tls(ca, *known))
        assert not await echoes(daemon, Tls(ca, *unknown))
        assert not await echoes(daemon, Tls(ca))
        assert await healthy(daemon, context(ca, known))
        assert not await healthy(daemon, context(ca, unknown))
        assert not await healthy(daemon, context(ca))
        with pytest.raises(GatewayError) as refused:
            async with Client(
                f"127.0.0.1:{daemon.port}", token=f"gw_no_{'0' * 43}", tls=Tls(ca, *known), connect_timeout=0
            ):
                pass
        assert refused.value.reason == "UNAUTHENTICATED"


async def test_F62_new_handshakes_use_new_certificates_and_streams_go_on(tmp_path: Path) -> None:
    """The files change, and a reload reads them: server, and authority of the clients; who is here stays."""
    first, second, folder = Authority("first"), Authority("second"), Folder(tmp_path / "tls")
    folder.pair("server", first)
    folder.put("clients.pem", first.pem)
    old, new = folder.put("first.pem", first.pem), folder.put("second.pem", second.pem)
    ann, bob = folder.pair("ann", first), folder.pair("bob", second)
    async with Daemon(tmp_path, MUTUAL) as daemon, client(daemon, Tls(old, *ann), "stays") as stays:
        before = await stays.send("echo", "before")
        folder.pair("server", second)
        folder.put("clients.pem", second.pem)
        assert await echoes(daemon, Tls(old, *ann)), "nothing changes before the reload"
        report = await reload(daemon)

        assert await echoes(daemon, Tls(new, *bob))
        assert not await echoes(daemon, Tls(old, *ann))
        assert not await echoes(daemon, Tls(new, *ann)), "the authority of ann is trusted no more"
        assert await healthy(daemon, context(new, bob))
        assert not await healthy(daemon, context(old, bob))
        assert not await healthy(daemon, context(new, ann))
        after = await stays.send("echo", "after")
        assert (before.content, after.content) == ("before", "after")
        assert stays.connected
        assert report.digest != report.previous_digest


async def test_F63_certificates_that_do_not_fit_leave_the_old_ones_serving(tmp_path: Path) -> None:
    """Another's key, one that has ended, is gone, is none, or was cut off: each is refused, with its place."""
    ours, folder = Authority("ours"), Folder(tmp_path / "tls")
    cert, key = folder.pair("server", ours)
    ca = folder.put("ca.pem", ours.pem)
    async with Daemon(tmp_path, CONFIG) as daemon:
        good_cert, good_key = Path(cert).read_bytes(), Path(key).read_bytes()
        stranger = ours.issue("stranger")[1]
        ended = ours.issue("ended", days=-1)
        for pem, secret, why in (
            (good_cert, stranger, "not the key of ssl_cert"),
            (*ended, "ended 2"),
            (b"nonsense", good_key, "not in PEM"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", good_key, "no certificate"),
            (good_cert + ours.pem[:200], good_key, "is cut off"),
            (good_cert, None, "cannot be read"),
        ):
            folder.put("server.pem", pem)
            if secret is None:
                Path(key).unlink()
            else:
                folder.put("server.key", secret)
            with pytest.raises(GatewayError) as refused:
                await reload(daemon)
            assert refused.value.reason == "CONFIG_INVALID"
            assert why in str(refused.value.violations[0]), refused.value.violations
            assert await echoes(daemon, Tls(ca))
            assert await healthy(daemon, context(ca))


async def test_beginning_or_ending_with_tls_needs_a_restart(tmp_path: Path) -> None:
    """And so does asking for certificates of clients; nothing is changed, and TLS is spoken on."""
    ours, folder = Authority("ours"), Folder(tmp_path / "tls")
    folder.pair("server", ours)
    ca = folder.put("ca.pem", ours.pem)
    folder.put("clients.pem", ours.pem)
    async with Daemon(tmp_path, CONFIG) as daemon:
        without = CONFIG.replace("  ssl_cert: tls/server.pem\n  ssl_key: tls/server.key\n", "")
        for other, paths in ((MUTUAL, {"gateway.ssl_client_ca"}), (without, {"gateway.ssl_cert", "gateway.ssl_key"})):
            daemon.write(other)
            with pytest.raises(GatewayError) as refused:
                await reload(daemon)
            assert refused.value.reason == "RESTART_REQUIRED"
            assert paths <= {path for path, _ in refused.value.violations}
        assert await echoes(daemon, Tls(ca))


async def test_who_speaks_no_tls_is_let_go_and_fills_no_log(tmp_path: Path) -> None:
    """Plain HTTP and garbage on both listeners: closed in time, with next to nothing in the log (F44)."""
    ours, folder = Authority("ours"), Folder(tmp_path / "tls")
    folder.pair("server", ours)
    ca = folder.put("ca.pem", ours.pem)
    async with Daemon(tmp_path, CONFIG) as daemon:
        before = len(daemon.log.read_bytes())
        for port in (daemon.port, http_port(daemon)):
            for said in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x00\xff" * 500, b""):
                for _ in range(5):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(said)
                    if not said:
                        writer.write_eof()
                    async with asyncio.timeout(30):
                        while await _read(reader):
                            pass
                    writer.close()
        assert await echoes(daemon, Tls(ca))
        assert await healthy(daemon, context(ca))
        assert len(daemon.log.read_bytes()) - before < 4096


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(4096)
    except ConnectionError:
        return b""
