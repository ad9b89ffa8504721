"""What refuses a start or must not, asked of the real gateway: files, pidfiles, places, ports, addresses."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from daemon_rig import Daemon
from grpc_health.v1 import health_pb2, health_pb2_grpc

GATEWAYD = [sys.executable, "-m", "gatewayd"]
AGENTS = "agents: {a: {model: offline/echo}}\n"
LITERAL = AGENTS + "channels: {sim: {token: abracadabra, routing: {dm: a}}}\n"
STRICT = "gateway: {strict: true}\n"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files away or rights up: needs root")


def gateway(folder, *flags, text=AGENTS, mode=0o600, port=0, program=(), **more):
    """The real gateway on that configuration; an empty text leaves what is there."""
    folder.mkdir(exist_ok=True)
    if text:
        (folder / "gateway.yaml").write_text(text)
        (folder / "gateway.yaml").chmod(mode)
    return Daemon(folder, "--port", port, *flags, program=[*program, *GATEWAYD], config=False, **more)


def refused(daemon, code):
    """What was said, when it was refused with that code and without a traceback."""
    with daemon:
        assert daemon.wait() == code, daemon.text
        assert "Traceback" not in daemon.text
        return daemon.text + daemon.process.stdout.read()


def serves(daemon):
    """Whether probes at its socket hear that it takes work."""
    with grpc.insecure_channel(f"unix:{daemon.runtime}/gatewayd.sock") as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
    return answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("flags", [[], ["--check"]])
def test_F01_a_syntax_error_is_78_and_one_line(tmp_path, flags):
    said = refused(gateway(tmp_path, *flags, text="agents: {a: {model: offline/echo}\n"), 78)
    assert sum("gateway.yaml:" in line for line in said.splitlines()) == 1
    assert "gateway.yaml:1:9: this mapping is not closed (add the missing '}'" in said


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_F09_a_secret_in_the_file_is_warned_of_and_refused_if_strict(tmp_path, mode):
    with gateway(tmp_path, text=LITERAL, mode=mode) as daemon:
        daemon.ready()
        warned = "\n".join(line for line in daemon.lines if "config_warning" in line)
        assert "gateway.yaml:2:25: channels.sim.token: a secret is written in the file" in warned
        assert ("every user can read the secrets in it" in warned) == (mode == 0o644)
        assert daemon.stop() == 0
        assert "abracadabra" not in daemon.text
    said = refused(gateway(tmp_path, text=STRICT + LITERAL, mode=mode), 78)
    assert "gateway.yaml:3:25: channels.sim.token: a secret is written in the file" in said
    assert ("every user can read the secrets in it" in said) == (mode == 0o644)


@pytest.mark.parametrize(("mode", "who"), [(0o602, "every user"), (0o620, "its group")])
def test_F09_a_file_that_others_can_write_is_refused(tmp_path, mode, who):
    assert f"{who} can write it (mode {mode:04o})" in refused(gateway(tmp_path, mode=mode), 78)


@needs_root
def test_F09_a_file_of_somebody_else_is_refused(tmp_path):
    (tmp_path / "gateway.yaml").write_text(AGENTS)
    os.chown(tmp_path / "gateway.yaml", 12345, -1)
    assert "it belongs to user 12345, and the daemon runs as user 0" in refused(gateway(tmp_path, text=""), 78)


@pytest.mark.parametrize("flags", [[], ["--check"]])
@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("missing", "there is no such file"),
        ("directory", "this is a directory"),
        ("fifo", "this is a FIFO"),
        ("loop", "the symbolic links go round in a circle"),
    ],
)
def test_F10_a_configuration_that_is_no_file_is_refused_at_once(tmp_path, kind, what, flags):
    place = tmp_path / "odd.yaml"
    if kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "loop":
        place.symlink_to(place)
    assert f"odd.yaml: {what}" in refused(gateway(tmp_path, "--config", "odd.yaml", *flags, text=""), 78)


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def takes_over(tmp_path, content, alive):
    (tmp_path / "gatewayd.pid").write_text(content)
    with gateway(tmp_path, "--pidfile", "gatewayd.pid") as daemon:
        daemon.ready()
        assert f"alive={alive}" in daemon.wait_for("pidfile_taken_over")
        assert (tmp_path / "gatewayd.pid").read_text() == f"{daemon.pid}\n"
        assert daemon.stop() == 0
    assert not (tmp_path / "gatewayd.pid").exists()


def test_F11_a_pidfile_of_a_dead_process_is_taken_over_and_told(tmp_path, dead):
    takes_over(tmp_path, f"{dead}\n", alive=False)


@pytest.mark.parametrize("content", ["", "garbage", "-1\n"])
def test_F11_a_pidfile_that_names_nobody_is_taken_over_and_told(tmp_path, content):
    takes_over(tmp_path, content, alive=False)


def test_F12_a_pidfile_that_names_a_living_stranger_stops_nobody(tmp_path):
    takes_over(tmp_path, f"{os.getpid()}\n", alive=True)


@pytest.mark.parametrize("target", ["victim", "nothing"])
def test_F13_a_pidfile_that_is_a_link_is_refused_and_its_victim_untouched(tmp_path, target):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "gatewayd.pid").symlink_to(tmp_path / target)
    assert "is a link" in refused(gateway(tmp_path, "--pidfile", "gatewayd.pid"), 73)
    assert (tmp_path / "victim").read_text() == "precious"
    assert not (tmp_path / "nothing").exists()
    assert (tmp_path / "gatewayd.pid").is_symlink()


@pytest.mark.parametrize(
    ("mode", "group", "what"),
    [
        (0o1777, -1, "can be written by everybody"),
        pytest.param(0o770, 12345, "can be written by group 12345", marks=needs_root),
    ],
)
def test_F13_a_pidfile_where_others_can_write_is_refused(tmp_path, mode, group, what):
    place = tmp_path / "open"
    place.mkdir()
    os.chown(place, -1, group)
    place.chmod(mode)
    assert what in refused(gateway(tmp_path, "--pidfile", place / "gatewayd.pid"), 73)
    assert not list(place.iterdir())


def test_F14_a_second_gateway_is_69_and_the_first_undisturbed(tmp_path):
    with gateway(tmp_path) as first:
        first.ready()
        address = first.wait_for("INFO listening").partition("tcp=")[2].split()[0]
        said = refused(gateway(tmp_path), 69)
        assert f"already running: pid {first.pid} ({first.state}" in said
        said = refused(gateway(tmp_path / "other", port=address.rpartition(":")[2]), 69)
        name = Path(f"/proc/{first.pid}/comm").read_text().strip()
        assert f"cannot listen on {address}: Address already in use: pid {first.pid} ({name}) has it" in said
        assert serves(first)
        assert first.stop() == 0


def test_F15_a_port_in_use_is_69_and_names_who_has_it(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        said = refused(gateway(tmp_path, port=port), 69)
    name = Path("/proc/self/comm").read_text().strip()
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use: pid {os.getpid()} ({name}) has it" in said
    assert not (tmp_path / "run" / "gatewayd.sock").exists()


@pytest.mark.skipif(
    int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 81, reason="no port is privileged here"
)
def test_F15_a_privileged_port_is_69(tmp_path):
    program = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv is not installed (package util-linux)")
        program = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]
    said = refused(gateway(tmp_path, port=81, program=program), 69)
    assert "cannot listen on 127.0.0.1:81: Permission denied" in said


@needs_root
def test_F15_an_address_that_this_machine_does_not_have_is_69(tmp_path):
    # In a network namespace of its own the loopback device is down, and ::1 belongs to nobody.
    if subprocess.run(["unshare", "-n", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no network namespaces here")
    said = refused(gateway(tmp_path, "--host", "::1", program=["unshare", "-n"]), 69)
    assert "cannot listen on [::1]:0: Cannot assign requested address" in said


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "::ffff:10.1.2.3"])
@pytest.mark.parametrize("flags", [[], ["--check"]])
def test_F16_an_address_off_loopback_is_refused(tmp_path, host, flags):
    said = refused(gateway(tmp_path, "--host", host, *flags), 78)
    assert f"--host: gateway.host: {host} can be reached from other machines" in said
    assert "there is no TLS" in said
    said = refused(gateway(tmp_path, *flags, text=f"gateway: {{host: '{host}'}}\n{AGENTS}"), 78)
    assert f"gateway.yaml:1:17: gateway.host: {host} can be reached from other machines" in said
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").glob("*.sock"))
