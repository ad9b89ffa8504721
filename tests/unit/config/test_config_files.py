"""Which file is read, and which is not trusted. On the real disk, since it is the disk that is asked."""

import os
from pathlib import Path

import pytest

from gatewayd.config.files import find_config, read_config
from gatewayd.config.problems import ConfigRefused
from gatewayd.core.disk import SystemDisk


def refusal(path: Path, uid: int | None = None) -> str:
    with pytest.raises(ConfigRefused) as refused:
        read_config(path, SystemDisk(), uid=os.getuid() if uid is None else uid, name="gateway.yaml")
    (line,) = refused.value.lines()
    return line


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text("agents: {}\n")
    path.chmod(0o640)
    return path


def test_a_file_of_ones_own_is_read(file: Path) -> None:
    found = read_config(file, SystemDisk(), uid=os.getuid())

    assert found.text == b"agents: {}\n"
    assert found.name == str(file)
    assert found.folder == file.parent
    assert not found.world_readable


def test_F09_a_file_that_everybody_can_read_is_told_of(file: Path) -> None:
    file.chmod(0o644)

    assert read_config(file, SystemDisk(), uid=os.getuid()).world_readable


def test_a_link_is_followed(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(file)

    assert read_config(link, SystemDisk(), uid=os.getuid()).text == b"agents: {}\n"


@pytest.mark.parametrize(("mode", "who"), [(0o660, "its group"), (0o602, "every user"), (0o666, "every user")])
def test_F09_a_file_that_others_can_write_is_refused(file: Path, mode: int, who: str) -> None:
    file.chmod(mode)

    assert refusal(file) == f"gateway.yaml: {who} can write it (mode {mode:04o}) (chmod go-w gateway.yaml)"


def test_F09_a_file_of_somebody_else_is_refused(file: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(file, 12345, -1)

    assert "it belongs to user 12345, and the daemon runs as user 0" in refusal(file)


def test_F10_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.yaml").startswith("gateway.yaml: there is no such file (check the path")


def test_F10_a_directory_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path).startswith("gateway.yaml: this is a directory")


def test_F10_a_fifo_does_not_hold_the_start_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)

    assert refusal(tmp_path / "pipe").startswith("gateway.yaml: this is a FIFO")


def test_F10_a_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")

    assert refusal(tmp_path / "a").startswith("gateway.yaml: the symbolic links go round in a circle")


def test_a_path_through_a_file_is_refused(file: Path) -> None:
    assert refusal(file / "x").startswith("gateway.yaml: a part of the path is not a directory")


def test_a_device_is_refused() -> None:
    assert refusal(Path("/dev/zero"), uid=0).startswith("gateway.yaml: this is not a regular file")


def test_F06_a_huge_file_is_not_read(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(10_000_000_000)

    assert "has 10000000000 bytes" in refusal(file)


@pytest.mark.parametrize(
    ("explicit", "environ", "existing", "found"),
    [
        ("x.yaml", {"GATEWAYD_CONFIG": "/y.yaml"}, {"/w/gateway.yaml"}, "/w/x.yaml"),
        ("/x.yaml", {}, set(), "/x.yaml"),
        (None, {"GATEWAYD_CONFIG": "/y.yaml"}, {"/w/gateway.yaml"}, "/y.yaml"),
        (None, {"HOME": "/h"}, {"/w/gateway.yaml", "/h/.config/gatewayd/gateway.yaml"}, "/w/gateway.yaml"),
        (None, {"HOME": "/h"}, {"/h/.config/gatewayd/gateway.yaml"}, "/h/.config/gatewayd/gateway.yaml"),
        (None, {"HOME": "/h", "XDG_CONFIG_HOME": "/c"}, {"/c/gatewayd/gateway.yaml"}, "/c/gatewayd/gateway.yaml"),
        (None, {}, {"/etc/gatewayd/gateway.yaml"}, "/etc/gatewayd/gateway.yaml"),
    ],
)
def test_the_file_is_looked_for_in_this_order(
    explicit: str | None, environ: dict[str, str], existing: set[str], found: str
) -> None:
    assert find_config(explicit, environ, Path("/w"), lambda path: str(path) in existing) == Path(found)


def test_the_places_searched_are_named() -> None:
    with pytest.raises(ConfigRefused) as refused:
        find_config(None, {"HOME": "/h"}, Path("/w"), lambda _: False)

    places = "/w/gateway.yaml, /h/.config/gatewayd/gateway.yaml, /etc/gatewayd/gateway.yaml"
    assert f"searched {places}" in refused.value.lines()[0]
    assert find_config(None, {}, Path("/w"), lambda _: False, required=False) is None
