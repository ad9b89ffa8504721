"""When a cron schedule fires: over changes of the clocks, leap days and the ends of months; and what is no schedule."""

from datetime import UTC, datetime, timedelta

import pytest

from gatewayd.cron import check_cron, check_timezone, next_fire, zone_of

BERLIN = zone_of("Europe/Berlin")


def fires(schedule: str, after: str, count: int, zone: str = "UTC") -> list[str]:
    """The next times, as they are written in the zone."""
    where = zone_of(zone)
    instant = datetime.fromisoformat(after).replace(tzinfo=where).timestamp()
    told = []
    for _ in range(count):
        instant = next_fire(schedule, instant, where)
        told.append(datetime.fromtimestamp(instant, where).isoformat())
    return told


@pytest.mark.parametrize(
    ("schedule", "after", "expected"),
    [
        ("0 9 * * 1-5", "2026-11-20T09:00", ["2026-11-23T09:00:00", "2026-11-24T09:00:00"]),
        ("*/20 * * * *", "2026-11-21T08:39:59", ["2026-11-21T08:40:00", "2026-11-21T09:00:00"]),
        ("0 0 29 2 *", "2026-01-01T00:00", ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
        ("0 0 31 * *", "2026-01-31T00:00", ["2026-03-31T00:00:00", "2026-05-31T00:00:00"]),
        ("0 0 1 jan *", "2026-01-01T00:00", ["2027-01-01T00:00:00", "2028-01-01T00:00:00"]),
        ("0 12 * * sun", "2026-11-21T00:00", ["2026-11-22T12:00:00", "2026-11-29T12:00:00"]),
    ],
)
def test_it_fires_at_the_next_time_and_never_at_the_same_again(schedule: str, after: str, expected: list[str]) -> None:
    assert fires(schedule, after, 2) == [f"{each}+00:00" for each in expected]


def test_F40_a_time_that_is_left_out_fires_once_after_the_gap() -> None:
    """In Berlin 02:00 to 03:00 was left out on 29 March 2026."""
    daily = fires("30 2 * * *", "2026-03-28T12:00", 2, "Europe/Berlin")
    often = fires("*/15 * * * *", "2026-03-29T01:40", 4, "Europe/Berlin")

    assert daily == ["2026-03-29T03:30:00+02:00", "2026-03-30T02:30:00+02:00"]
    assert [each[11:16] for each in often] == ["01:45", "03:00", "03:15", "03:30"]


def test_F40_a_time_that_comes_twice_fires_the_first_time_only() -> None:
    """In Berlin 02:00 to 03:00 came twice on 25 October 2026."""
    daily = fires("30 2 * * *", "2026-10-24T12:00", 2, "Europe/Berlin")
    often = fires("*/30 * * * *", "2026-10-25T01:40", 3, "Europe/Berlin")
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC).timestamp()

    assert daily == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    assert often == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T03:00:00+01:00"]
    assert datetime.fromtimestamp(next_fire("*/15 * * * *", second, BERLIN), BERLIN).isoformat()[11:16] == "03:00"


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu"])
def test_over_ten_years_it_fires_once_each_day_and_always_later(zone: str) -> None:
    """Whatever a zone does to its clocks."""
    where = zone_of(zone)
    instant = datetime(2025, 12, 31, 12, tzinfo=where).timestamp()
    days = set()
    for _ in range(3653):
        later = next_fire("15 2 * * *", instant, where)
        assert instant < later < instant + timedelta(hours=26).total_seconds()
        instant = later
        days.add(datetime.fromtimestamp(instant, where).date())

    assert len(days) == 3653


NONE = [
    "",
    "* * * *",
    "* * * * * *",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "* * * 13 *",
    "* * * * 9",
    "*/0 * * * *",
    "@daily",
    "R * * * *",
    "H * * * *",
    "? * * * *",
    "a b c d e",
    "0 0 30 2 *",
    "0 0 31 4 *",
    "1-0-1 * * * *",
    "١ * * * *",
    "* * * * *" + " " * 300,
    "-1 * * * *",
    ", * * * *",
]


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    """Six and seven fields, times by chance, and what never comes are no schedules either."""
    with pytest.raises(ValueError, match=r"cron schedule|never fires"):
        check_cron(text)


def test_a_zone_has_a_name() -> None:
    assert check_timezone("America/New_York") == "America/New_York"
    assert zone_of("") is UTC
    for name in ("Mars/Base", "../etc/passwd", "/etc/passwd", "Europe", "\0"):
        with pytest.raises(ValueError, match="no time zone"):
            check_timezone(name)
