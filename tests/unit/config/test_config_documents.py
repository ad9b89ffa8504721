"""Every piece of gateway.yaml that a page shows is read by the daemon's own checker; what it leaves out is added."""

import base64
import re
from pathlib import Path

import pytest
from config_rig import ROOT, loaded

from gatewayd.access.scopes import Scope
from tests.rigs.certificates import Authority

PAGES = [ROOT.parent / "README.md", *sorted((ROOT.parent / "docs").rglob("*.md"))]
SHOWN = [
    pytest.param(block, id=f"{page.relative_to(ROOT.parent)}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```ya?ml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE))
]
BEHIND = """\
agents: {assistant: {model: offline/echo}}
channels: {team-chat: {platform: sim, routing: {default: assistant}}}
"""
"""What a page about something else speaks of without showing it."""


OURS = Authority("ours")
CERTIFICATE, KEY = OURS.issue("gateway", 30.0)
FILES = {"server.pem": CERTIFICATE, "server.key": KEY, "clients.pem": OURS.pem}


def file_of(path: Path, limit: int) -> bytes:
    """What is no certificate is a secret."""
    return FILES.get(path.name) or b"whsec_" + base64.b64encode(path.name.encode() * 8)


def test_pages_show_some() -> None:
    assert len(SHOWN) > 10


@pytest.mark.parametrize("block", SHOWN)
def test_what_a_page_shows_is_taken(block: str) -> None:
    text = block if re.search("^agents:", block, re.MULTILINE) else BEHIND + block

    found = loaded(text, read_file=file_of, check_scope=Scope.parse)

    assert not found.warnings
