"""Tools that come with gatewayd. Each is also an entry point of the group `gatewayd.tools`."""

from datetime import UTC, datetime

from gatewayd.agents.tools.base import ToolContext, ToolFailed

DEFAULT_TOOLS = ("current_time",)
"""What an agent may call whose section has no `tools`."""


async def current_time(ctx: ToolContext, timezone: str = "UTC") -> str:
    """Tell the current date, time and day of the week.

    Args:
        timezone: Name of the time zone in the IANA database, such as `Europe/Berlin`.
    """
    import zoneinfo  # noqa: PLC0415  # only who asks needs it

    try:
        zone = UTC if timezone == "UTC" else zoneinfo.ZoneInfo(timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolFailed(f"there is no time zone {timezone[:64]!r}; use a name such as 'Europe/Berlin'") from None
    moment = datetime.fromtimestamp(ctx.clock.now(), zone)
    return f"{moment:%A} {moment.isoformat(timespec='seconds')} ({timezone})"
