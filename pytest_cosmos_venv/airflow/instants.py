"""Which moment is meant? Dates and times as tests write them."""

from __future__ import annotations

from datetime import date, datetime, time, timezone

from pytest_cosmos_venv.errors import ToolkitMisuse


def instant_of(when: datetime | date | str, *, parameter: str) -> datetime:
    """The moment in UTC. A date is its midnight, and what has no time zone is in UTC.

    :param when: a string in ISO format, such as ``2026-01-01`` or ``2026-01-01T12:00:00+02:00``.
    :param parameter: its name, for the error.
    :raises ToolkitMisuse: when it is no moment.
    """
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when.replace("Z", "+00:00"))
        except ValueError:
            raise ToolkitMisuse(
                f"{parameter}={when!r} is no date and no time: write it as 2026-01-01 or 2026-01-01T12:00:00+00:00."
            ) from None
    if not isinstance(when, date):
        raise ToolkitMisuse(f"{parameter}={when!r} is no date and no time: write it as '2026-01-01'.")
    if not isinstance(when, datetime):
        when = datetime.combine(when, time())
    return (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
