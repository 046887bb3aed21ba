"""The freshness of sources, as a run of ``dbt source freshness`` has found it: a gate, and what is new.

dbt ends alike where a source is stale and where it could not look at one; the two are told apart here.
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
    """Sources are stale, and dbt has told so of each that was selected."""


def judge(task: Any, result: object, artifacts: Artifacts) -> dict[str, Any]:
    """What is known of each source, by its unique id, where all of them are fresh.

    :param task: the ``DbtSourceFreshnessMixin``.
    :param result: what came of dbt.
    :param artifacts: what it has left.
    :raises SourcesAreStale: when all that is wrong is the age of sources.
    :raises AirflowFailException: when no source was selected whose age dbt looks at.
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
    """What is told of a source in an XCom.

    :param source: as dbt has found it.
    """
    return {_KEY: source.max_loaded_at, "age_seconds": source.age, "status": source.status}


def of_event(source: SourceFreshness) -> dict[str, Any]:
    """What the event of an asset carries as ``extra``.

    :param source: as dbt has found it.
    """
    return {**of_source(source), "snapshotted_at": source.snapshotted_at}


def has_new_data(source: SourceFreshness, extras: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a source was loaded since the last event that tells when it was.

    :param source: as dbt has found it.
    :param extras: what the events of its asset carry, the last event first. Those of others have no such time.
    """
    now = loaded_at(source)
    before = next((at for extra in extras if (at := _time(extra.get(_KEY)))), None)
    return now is not None and (before is None or now > before)


def loaded_at(source: SourceFreshness) -> datetime | None:
    """When the newest row of a source was loaded; None where there is none.

    :param source: as dbt has found it.
    """
    return _time(source.max_loaded_at)


def _time(text: object) -> datetime | None:
    try:
        # Python 3.10 does not read the Z.
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    # An empty table: dbt writes the first day that there is.
    return None if found.year == _FIRST_YEAR else found if found.tzinfo else found.replace(tzinfo=timezone.utc)
