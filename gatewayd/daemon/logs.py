"""The log: one line per fact, an event name and its fields, masked and escaped at the one place where it is written.

Parts use the standard library: `log.info("channel_ready", extra={"channel": name})`. Names that a `LogRecord` has for
itself (`name`, `args`, `module`, …) are no field names; a test holds that. Fields that carry texts of people or
models are written at DEBUG only, whatever a caller does.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from gatewayd.core.clock import Clock
from gatewayd.daemon.mask import Mask
from gatewayd.daemon.sink import Sink

BODY_FIELDS = frozenset({"text", "content", "body", "prompt", "answer", "payload"})
"""Fields that hold texts of people or models; shown as a length above DEBUG."""
MAX_LINE = 32 * 1024
"""Longest entry in characters; the rest is cut off."""
FLUSH_SECONDS = 1.0

_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\\\\]")
_PLAIN = re.compile(r"[^\s\"=]+\Z")

Format = Literal["text", "json"]


def escape(text: str) -> str:
    """The text with everything visible that could forge a line, steer a terminal or turn the reading direction."""
    return _UNSAFE.sub(lambda match: _escaped(match[0]), text)


def _escaped(character: str) -> str:
    if character == "\\":
        return r"\\"
    return character.encode("unicode_escape", errors="surrogatepass").decode("ascii")


class _Handler(logging.Handler):
    """Formats and writes; a record that cannot be written is counted and never raises."""

    def __init__(self, sink: Sink, mask: Mask, *, journal: bool) -> None:
        super().__init__()
        self._sink = sink
        self._mask = mask
        self._journal = journal
        self.style: Format = "text"
        self.failed = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            lines = self._json(record) if self.style == "json" else self._text(record)
            prefix = f"<{_priority(record.levelno)}>" if self._journal else ""
            entry = "".join(f"{prefix}{line}\n" for line in self._mask.apply("\n".join(lines)).split("\n"))
            self._sink.write(entry.encode(errors="backslashreplace"))
        except Exception:
            # What cannot be shown (a field whose text raises) must not harm the one who wanted it shown.
            self.failed += 1

    def _text(self, record: logging.LogRecord) -> list[str]:
        words = [] if self._journal else [_time(record)]
        words += [record.levelname, self._safe(record.getMessage())]
        words += [f"{key}={_quoted(self._safe(_shown(value)))}" for key, value in _fields(record).items()]
        # An entry's further lines begin with a mark that no other entry begins with.
        return [" ".join(words)[:MAX_LINE], *(f"  | {escape(line)}" for line in self._trace(record).splitlines())]

    def _json(self, record: logging.LogRecord) -> list[str]:
        entry: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": self._safe(record.getMessage()),
        }
        for key, value in _fields(record).items():
            shown = _shown(value)
            masked = self._mask.apply(shown)[:MAX_LINE]
            plain = masked == shown and (value is None or isinstance(value, bool | int | float))
            entry[f"field_{key}" if key in entry else key] = value if plain else masked
        if trace := self._trace(record):
            entry["traceback"] = trace
        return [json.dumps(entry)]

    def _safe(self, text: str) -> str:
        return escape(self._mask.apply(text)[:MAX_LINE])[:MAX_LINE]

    def _trace(self, record: logging.LogRecord) -> str:
        if record.exc_info and record.exc_info[0] is not None:
            trace = logging.Formatter().formatException(record.exc_info)
        else:
            trace = record.stack_info or ""
        return self._mask.apply(trace)[-MAX_LINE:]


class Logs:
    """The daemon's log; made before anything can go wrong, configured once the configuration is read."""

    def __init__(
        self,
        mask: Mask,
        clock: Clock,
        environ: Mapping[str, str],
        *,
        descriptor: int = 2,
        file: Path | None = None,
    ) -> None:
        """`file` is what the descriptor writes to when the daemon must keep it small itself."""
        self._sink = Sink(descriptor, clock, file)
        self._handler = _Handler(self._sink, mask, journal=_is_journal(environ, descriptor))

    def install(self) -> None:
        """Take over the standard library's logging, `warnings` included."""
        root = logging.getLogger()
        for handler in list(root.handlers):
            root.removeHandler(handler)
        root.addHandler(self._handler)
        logging.captureWarnings(True)
        # A log that cannot be written has nowhere to complain.
        logging.raiseExceptions = False
        self.configure("info", "text")

    def configure(self, level: str, style: Format) -> None:
        """Level (`debug`, `info`, `warning`, `error`) and format, from the next entry on.

        Other people's libraries are heard from WARNING on, because some of them put whole messages into DEBUG.
        """
        number = logging.getLevelNamesMapping()[level.upper()]
        self._handler.style = style
        logging.getLogger("gatewayd").setLevel(number)
        logging.getLogger().setLevel(max(number, logging.WARNING))

    @property
    def dropped(self) -> int:
        """Entries that were never written."""
        return self._sink.dropped + self._handler.failed

    def close(self) -> None:
        """Write what waits, for at most a second, and give the standard library's logging back."""
        logging.getLogger().removeHandler(self._handler)
        logging.captureWarnings(False)
        self._sink.close(FLUSH_SECONDS)

    def flush(self) -> None:
        """Before an exit that runs nothing else."""
        self._sink.close(FLUSH_SECONDS)


def say(text: str) -> None:
    """One sentence for the person who started the program, on standard error."""
    try:
        sys.stderr.write(f"gatewayd: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        return


def _is_journal(environ: Mapping[str, str], descriptor: int) -> bool:
    """Whether the descriptor is the one that systemd connected to the journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _priority(level: int) -> int:
    return next((priority for least, priority in _PRIORITIES if level >= least), 7)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {key: value for key, value in record.__dict__.items() if key not in _OWN}
    if record.levelno > logging.DEBUG:
        for key in BODY_FIELDS & fields.keys():
            fields[key] = f"({len(str(fields[key]))} characters)"
    return fields


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(map(str, value))
    return str(value)


def _quoted(text: str) -> str:
    return text if _PLAIN.match(text) else '"' + text.replace('"', r"\"") + '"'
