"""An agent of workers, and the two ways in which a reload takes it away from them."""

import pytest

ECHO = "agents:\n  echo: {model: offline/echo}\n"
BEFORE = ECHO + "  lookup: {remote: true}\n"
MODEL = ECHO + "  lookup: {model: offline/echo}\n"
GONE = pytest.mark.parametrize(
    ("after", "reason"), [(ECHO, "AGENT_NOT_FOUND"), (MODEL, "INVALID_ARGUMENT")], ids=["removed", "changed"]
)
