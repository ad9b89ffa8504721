"""What each language needs on the machine, how to see whether it is there, and how to get it on Debian."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
CLIENTS = ROOT / "docs" / "clients"
BUILD = ROOT / ".build" / "polyglot"
APT = {"DEBIAN_FRONTEND": "noninteractive"}
INSTALL_SECONDS, BUILD_SECONDS, PROBE_SECONDS = 1800.0, 900.0, 60.0


@dataclass(frozen=True)
class Language:
    """One client."""

    name: str
    packages: tuple[str, ...]
    """Debian's packages."""
    probes: tuple[tuple[str, ...], ...]
    """Commands that all succeed where the toolchain is. The first prints its version."""
    command: tuple[str, ...]
    """The built client."""
    worker: tuple[str, ...]
    """The built worker."""

    @property
    def is_present(self) -> bool:
        return all(_works(probe) for probe in self.probes)

    @property
    def version(self) -> str:
        """The first word of the toolchain's own answer that begins like a version."""
        words = subprocess.run(self.probes[0], capture_output=True, text=True, check=True).stdout.split()
        return next((word.lstrip("vgo") for word in words if word.lstrip("vgo")[:1].isdigit()), "?")


_PROTOC = ("protoc", "--version")

LANGUAGES = (
    Language(
        "node",
        ("nodejs", "npm", "make"),
        (("node", "--version"), ("npm", "--version"), ("make", "--version")),
        ("node", str(CLIENTS / "node" / "main.js")),
        ("node", str(CLIENTS / "node" / "worker.js")),
    ),
    Language(
        "go",
        (
            "golang-go",
            "golang-google-grpc-dev",
            "golang-github-golang-protobuf-1-3-dev",
            "protoc-gen-go-1-3",
            "protobuf-compiler",
            "make",
        ),
        (
            ("go", "version"),
            _PROTOC,
            ("make", "--version"),
            # Newer generators have no gRPC plugin of their own, and Debian's gRPC is older than what they write.
            ("test", "-e", "/usr/share/gocode/src/google.golang.org/grpc"),
            ("sh", "-c", "dpkg-query -W -f '${Status}' protoc-gen-go-1-3 | grep -q 'ok installed'"),
        ),
        (str(BUILD / "go" / "client"),),
        (str(BUILD / "go" / "client"), "worker"),
    ),
    Language(
        "cpp",
        ("g++", "libgrpc++-dev", "protobuf-compiler", "protobuf-compiler-grpc", "pkg-config", "make"),
        (
            ("g++", "-dumpfullversion"),
            _PROTOC,
            ("make", "--version"),
            ("pkg-config", "--exists", "grpc++", "protobuf"),
            ("which", "grpc_cpp_plugin"),
        ),
        (str(BUILD / "cpp" / "client"),),
        (str(BUILD / "cpp" / "worker"),),
    ),
    Language(
        "ruby",
        ("ruby", "ruby-grpc", "protobuf-compiler", "protobuf-compiler-grpc", "make"),
        (
            ("ruby", "--version"),
            _PROTOC,
            ("make", "--version"),
            ("ruby", "-e", "require 'grpc'"),
            ("which", "grpc_ruby_plugin"),
        ),
        ("ruby", str(CLIENTS / "ruby" / "main.rb")),
        ("ruby", str(CLIENTS / "ruby" / "worker.rb")),
    ),
)


class Missing(Exception):
    """A toolchain is not there."""


def install(languages: Iterable[Language]) -> None:
    """Install what is missing with apt-get; nothing if all is there. Raises Missing where that does not help."""
    absent = [language for language in languages if not language.is_present]
    if not absent:
        return
    if shutil.which("apt-get") is None:
        names = ", ".join(language.name for language in absent)
        raise Missing(f"the toolchains of {names} are not there, and there is no apt-get to install them with")
    packages = sorted({package for language in absent for package in _absent_packages(language)})
    print(f"installing {' '.join(packages)}", flush=True)
    apt = (
        ["apt-get"]
        if os.geteuid() == 0
        else ["sudo", "env", *(f"{key}={value}" for key, value in APT.items()), "apt-get"]
    )
    _run([*apt, "-qq", "update"])
    _run([*apt, "-qq", "install", "--yes", "--no-install-recommends", *packages])
    for language in absent:
        if not language.is_present:
            raise Missing(f"{language.name}: the packages are installed, but {_failing(language)} does not work")


def build(language: Language) -> None:
    """Build the client with its own Makefile. CalledProcessError, after its output, when that fails."""
    subprocess.run(["make", "-s", "-C", str(CLIENTS / language.name)], check=True, timeout=BUILD_SECONDS)


def _absent_packages(language: Language) -> list[str]:
    """Those of its packages whose part is not there; a tool that came from elsewhere stays as it is."""
    if language.name == "node":
        return [name for name, tool in (("nodejs", "node"), ("npm", "npm"), ("make", "make")) if not shutil.which(tool)]
    return list(language.packages)


def _failing(language: Language) -> str:
    return next((" ".join(probe) for probe in language.probes if not _works(probe)), "something")


def _works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=PROBE_SECONDS, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, timeout=INSTALL_SECONDS, env={**os.environ, **APT})
