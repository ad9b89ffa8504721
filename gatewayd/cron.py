"""Cron schedules: five fields, and the instant at which one fires next.

A schedule is meant in the wall time of a zone. **Daylight saving:** a wall time that a change of the clocks leaves out
fires once, as late after the gap as it was meant after its beginning (02:30 becomes 03:30); one that comes twice fires
the first time only.
"""

import re
from datetime import UTC, datetime, tzinfo

MAX_LENGTH = 256
"""Longest schedule, in characters."""
_EXAMPLE = "such as '0 9 * * 1-5': minute, hour, day of the month, month, day of the week"
_PLAIN = re.compile(
    r"(?:sun|mon|tue|wed|thu|fri|sat|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|[0-9*/,\-#lL \t])+", re.IGNORECASE
)
"""Without this the library takes `R` and `H`, which are times by chance."""
_TRIES = 200
"""Wall times that are looked at for one that is still to come: a change of the clocks repeats an hour or two."""


def check_cron(text: str) -> str:
    """The schedule, or `ValueError` with a sentence: not five fields, out of range, at random, or never."""
    fields = text.split()
    if len(text) > MAX_LENGTH or len(fields) != 5:
        raise ValueError(f"a cron schedule has five fields, {_EXAMPLE}")
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"this is no cron schedule; {_EXAMPLE}")
    from croniter import croniter  # noqa: PLC0415  # only schedules need it
    from croniter.croniter import CroniterBadDateError, CroniterError  # noqa: PLC0415

    try:
        croniter(text, datetime(2024, 1, 1)).get_next(datetime)
    except CroniterBadDateError:
        raise ValueError("this schedule never fires") from None
    except (CroniterError, ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"this is no cron schedule; {_EXAMPLE}") from None
    return text


def check_timezone(name: str) -> str:
    """The name, or `ValueError` when no zone is called so."""
    zone_of(name)
    return name


def zone_of(name: str) -> tzinfo:
    """The zone of an IANA name, `''` and `UTC` being UTC. Raises `ValueError`."""
    if name in ("", "UTC"):
        return UTC
    from zoneinfo import ZoneInfo  # noqa: PLC0415  # only schedules need it

    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise ValueError("no time zone is called so; write a name such as Europe/Berlin or UTC") from None


def next_fire(schedule: str, after: float, zone: tzinfo = UTC) -> float:
    """The first instant strictly after `after` at which a checked schedule fires, in Unix seconds."""
    from croniter import croniter  # noqa: PLC0415  # only schedules need it

    wall = datetime.fromtimestamp(after, zone).replace(tzinfo=None, fold=0)
    times = croniter(schedule, wall)
    for _ in range(_TRIES):
        instant = times.get_next(datetime).replace(tzinfo=zone).timestamp()
        if instant > after:
            return float(instant)
    raise ValueError(f"{schedule!r} does not fire after {after}")
