"""The freshness of sources, by ``dbt source freshness``: whether all are fresh, and which have new data.

dbt ends with the same exit code when a source is stale and when it could not check a source. This module tells the two
apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from cosmos_venv.compat import AirflowException, AirflowFailException, AirflowSkipException
from cosmos_venv.dbt.log_lines import WARNED
from cosmos_venv.exceptions import CosmosDbtRunError

if TYPE_CHECKING:
    from cosmos_venv.dbt.results import Artifacts, SourceFreshness

PASSED, STALE = "pass", "error"
_KEY = "max_loaded_at"
_FIRST_YEAR = 1


class SourcesAreStale(AirflowException):
    """Sources are stale, and dbt has checked each selected source."""


def judge(task: Any, result: object, artifacts: Artifacts) -> dict[str, Any]:
    """Return what is known of each source, by unique id, when all sources are fresh.

    :param task: the ``DbtSourceFreshnessMixin``.
    :param result: the result of dbt.
    :param artifacts: the artifacts that dbt has left.
    :raises SourcesAreStale: when nothing is wrong but the age of sources.
    :raises AirflowFailException: when no selected source has a freshness that dbt checks.
    :raises AirflowException: when dbt has failed otherwise.
    """
    found = artifacts.sources()
    for source in found:
        task.log.info(line_of(source))
    try:
        task.handle_exception(result)
    except AirflowSkipException:
        raise
    except (AirflowException, CosmosDbtRunError):
        statuses = {source.status for source in found}
        is_broken = artifacts.has_broken_sources(getattr(result, "full_output", ()))
        if is_broken or STALE not in statuses or not statuses <= {PASSED, WARNED, STALE}:
            raise
    if not found:
        raise AirflowFailException(
            "dbt has looked at no source: none of those that are selected has a freshness. Correct the selection, or "
            "give the source a warn_after or error_after."
        )
    fresh = {PASSED, WARNED} if task.warn_is_fresh else {PASSED}
    if stale := [source.unique_id for source in found if source.status not in fresh]:
        raise SourcesAreStale(f"Not fresh enough: {', '.join(stale)}.")
    return {source.unique_id: of_source(source) for source in found}


def line_of(source: SourceFreshness) -> str:
    """A line for the log: the verdict on a source, its age, and the ages from which on dbt warns and fails.

    :param source: as dbt has found it.
    """
    limits = [
        f"{name} {limit.count} {limit.period}"
        for name in ("warn_after", "error_after")
        if (limit := getattr(source.criteria, name, None)) and limit.count is not None
    ]
    age = f"age {timedelta(seconds=int(source.age))}" if loaded_at(source) else "nothing loaded yet"
    return f"{source.unique_id}: {source.status}, {', '.join([age, *limits])}"


def of_source(source: SourceFreshness) -> dict[str, Any]:
    """The result of a source, for an XCom.

    :param source: as dbt has found it.
    """
    return {_KEY: source.max_loaded_at, "age_seconds": source.age, "status": source.status}


def of_event(source: SourceFreshness) -> dict[str, Any]:
    """The ``extra`` of an asset's event.

    :param source: as dbt has found it.
    """
    return {**of_source(source), "snapshotted_at": source.snapshotted_at}


def has_new_data(source: SourceFreshness, extras: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a source was loaded since the last event with a time of loading.

    :param source: as dbt has found it.
    :param extras: the ``extra`` of the events of its asset, the last event first. Events of others have no such time.
    """
    now = loaded_at(source)
    before = next((at for extra in extras if (at := _time(extra.get(_KEY)))), None)
    return now is not None and (before is None or now > before)


def loaded_at(source: SourceFreshness) -> datetime | None:
    """When the newest row of a source was loaded; None for a source without rows.

    :param source: as dbt has found it.
    """
    return _time(source.max_loaded_at)


def _time(text: object) -> datetime | None:
    try:
        # Python 3.10 does not read the Z.
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    # For an empty table dbt writes a day of the year 1.
    return None if found.year == _FIRST_YEAR else found if found.tzinfo else found.replace(tzinfo=timezone.utc)
