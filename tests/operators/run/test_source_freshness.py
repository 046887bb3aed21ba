"""What dbt says of sources: the line in the log, and whether there is new data since the last event."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cosmos_venv.dbt.results import SourceFreshness
from cosmos_venv.operators.run.source_freshness import has_new_data, line_of, of_event

LIMITS = {"warn_after": {"count": 6, "period": "hour"}, "error_after": {"count": None, "period": None}}
LOADED = "2026-01-02T12:00:00+00:00"


def looked_at(**given: Any) -> SourceFreshness:
    entry = {
        "unique_id": "source.shop.raw.orders",
        "status": "pass",
        "max_loaded_at": LOADED,
        "snapshotted_at": "2026-01-02T14:03:05.5+00:00",
        "max_loaded_at_time_ago_in_s": 7385.5,
        "criteria": LIMITS,
    }
    return msgspec.convert({**entry, **given}, SourceFreshness)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        pytest.param({}, "pass, age 2:03:05, warn_after 6 hour", id="pass"),
        pytest.param({"criteria": None}, "pass, age 2:03:05", id="no-limits"),
        pytest.param(
            {"status": "warn", "max_loaded_at": "0001-01-01T00:00:00+00:00"},
            "warn, nothing loaded yet, warn_after 6 hour",
            id="empty-table",
        ),
        pytest.param(
            {"status": "runtime error", "max_loaded_at": None, "criteria": None},
            "runtime error, nothing loaded yet",
            id="runtime-error",
        ),
    ],
)
def test_a_source_has_one_line(given: dict[str, Any], line: str) -> None:
    assert line_of(looked_at(**given)) == f"source.shop.raw.orders: {line}"


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        pytest.param(LOADED, [], True, id="no-event-yet"),
        pytest.param(LOADED, [LOADED], False, id="nothing-new"),
        pytest.param(LOADED, ["2026-01-02T12:00:00Z"], False, id="written-otherwise"),
        pytest.param(LOADED, ["2026-01-02T13:00:00+01:00"], False, id="of-another-time-zone"),
        pytest.param(LOADED, ["2026-01-02T11:59:59.9+00:00"], True, id="advanced"),
        pytest.param(LOADED, ["2026-01-03T00:00:00+00:00"], False, id="gone-back"),
        pytest.param(LOADED, [None, 7, "soon", LOADED], False, id="after-events-of-others"),
        pytest.param(LOADED, [None], True, id="events-of-others-only"),
        pytest.param("0001-01-01T00:00:00+00:00", [], False, id="empty-table"),
        pytest.param(None, [], False, id="unknown"),
    ],
)
def test_there_is_new_data_when_the_time_has_advanced(now: str | None, before: list[Any], *, expected: bool) -> None:
    extras = [{} if each is None else {"max_loaded_at": each} for each in before]

    assert has_new_data(looked_at(max_loaded_at=now), extras) is expected


def test_an_event_tells_when_the_source_was_loaded_and_looked_at() -> None:
    assert of_event(looked_at()) == {
        "max_loaded_at": LOADED,
        "snapshotted_at": "2026-01-02T14:03:05.5+00:00",
        "age_seconds": 7385.5,
        "status": "pass",
    }
