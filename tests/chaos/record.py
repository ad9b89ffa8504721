"""The checker's own record of what happened, and what it may expect: shared by the load, which writes, and the judge.

One append-only file of JSON lines. An intention is written before it is acted on and an acknowledgement as soon as it
is there, so whatever the daemon has ever promised to anybody is in it.
"""

import json
import random
from pathlib import Path

CHANNELS = ("hold", "resend", "keyed")
"""Channels of the configuration, each named after its rule for an ambiguous send; its bot's token is NAME-token."""
STREAMS = ("p0", "p1")
"""Streams that are published to; the n-th event of one has the id STREAM-N."""

_WORDS = ("gate", "harbour", "lantern", "Brücke", "quay", "tide", "ferry", "港", "compass", "anchor", "signal", "rope")


def words(rng, most):
    """A text of up to `most` words, never empty."""
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(1, most)))


def content_of(event_id):
    """The content of a published event, which follows from its id."""
    return f"{event_id} {words(random.Random(event_id), 12)}"


def plain(text):
    """The text without what cutting it into pieces may change."""
    return " ".join(text.split())


class Record:
    """Appends entries; each is with the operating system before `write` returns."""

    def __init__(self, path):
        self._file = Path(path).open("a", encoding="utf-8")  # noqa: SIM115 - open as long as the process

    def write(self, what, **values):
        self._file.write(json.dumps({"what": what, **values}, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self):
        self._file.close()


class Reader:
    """Reads the entries that have come since the last time."""

    def __init__(self, path):
        self._path = Path(path)
        self._offset = 0

    def new(self):
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole, newline, _ = data.rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [json.loads(line) for line in whole.split(b"\n") if line]
