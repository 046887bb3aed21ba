"""The sensors that wait for fresh sources, on the fake dbt: what each look comes to, and how they wait between two."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.compat import DAG, AirflowException
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.operators.local import DbtSourceFreshnessLocalSensor
from cosmos_venv.operators.virtualenv import DbtSourceFreshnessVirtualenvSensor
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.kit import MakeTask, harbor_profile

SHIPS, CREWS = "source.harbor.raw.ships", "source.harbor.raw.crews"
SOURCES = """
sources:
  - name: raw
    config: {loaded_at_field: at, freshness: {error_after: {count: 2, period: day}}}
    tables: [{name: ships}, {name: crews}]
"""
START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def make(make_here: MakeTask, dbt_project: Path) -> MakeTask:
    """A sensor of both sources whose dbt is the fake, and which looks again at once."""
    (dbt_project / "models" / "sources.yml").write_text(SOURCES)
    return partial(make_here, DbtSourceFreshnessLocalSensor, select="source:raw", poke_interval=0.01)


@pytest.mark.parametrize(
    "waiting", [{}, {"mode": "poke"}, {"deferrable": True}], ids=["reschedule", "poke", "deferrable"]
)
def test_it_waits_while_a_source_is_stale_and_tells_what_it_has_found(
    make: MakeTask, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, waiting: dict[str, Any]
) -> None:
    cosmos_fake_venv.script("source freshness", nodes={SHIPS: "pass", CREWS: "warn"})
    cosmos_fake_venv.script("source freshness", nth=1, nodes={SHIPS: "error", CREWS: "pass"})
    cosmos_fake_venv.script("source freshness", nth=2, nodes={SHIPS: "error", CREWS: "warn"})

    done = cosmos_airflow.run(make(**waiting))

    assert done.state == "success", done.log
    assert [call.command for call in cosmos_fake_venv.calls] == ["source freshness"] * 3
    assert {each: found["status"] for each, found in done.returned.items()} == {SHIPS: "pass", CREWS: "warn"}
    assert set(done.returned[SHIPS]) == {"max_loaded_at", "age_seconds", "status"}
    assert f"{SHIPS}: error, age 0:00:00" in done.log
    assert f"Not fresh enough: {SHIPS}." in done.log


def test_a_warning_is_not_fresh_where_that_is_not_enough(
    make: MakeTask, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    cosmos_fake_venv.script("source freshness", nodes={SHIPS: "pass", CREWS: "pass"})
    cosmos_fake_venv.script("source freshness", nth=1, nodes={SHIPS: "pass", CREWS: "warn"})

    done = cosmos_airflow.run(make(warn_is_fresh=False))

    assert (done.state, len(cosmos_fake_venv.calls)) == ("success", 2)
    assert f"Not fresh enough: {CREWS}." in done.log


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(("soft_fail", "state"), [(False, "failed"), (True, "skipped")])
def test_it_ends_after_its_timeout(
    make: MakeTask,
    cosmos_fake_venv: FakeVenv,
    cosmos_airflow: CosmosAirflow,
    *,
    deferrable: bool,
    soft_fail: bool,
    state: str,
) -> None:
    cosmos_fake_venv.script("source freshness", nodes={SHIPS: "error"})

    done = cosmos_airflow.run(make(deferrable=deferrable, soft_fail=soft_fail, timeout=0, retries=3))

    assert (done.state, len(cosmos_fake_venv.calls)) == (state, 1)
    if deferrable and not soft_fail:
        assert re.search(rf"Not fresh enough: {SHIPS}\. Waited for \d+ s, timeout is 0 s\.", str(done.exception))


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("other", [pytest.param("pass", id="nothing-stale"), pytest.param("error", id="another-stale")])
def test_a_source_that_dbt_cannot_look_at_fails_the_task_at_once(
    make: MakeTask, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow, *, other: str, deferrable: bool
) -> None:
    cosmos_fake_venv.script("source freshness", nodes={SHIPS: other, CREWS: "runtime error"})

    done = cosmos_airflow.run(make(deferrable=deferrable))

    assert (done.state, len(cosmos_fake_venv.calls)) == ("failed", 1)
    assert "dbt command failed. The command returned a non-zero exit code 1." in str(done.exception)


def test_a_source_that_is_missing_among_the_results_fails_the_task_beside_a_stale_one(
    make: MakeTask, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    """dbt 1.10 and 1.11 leave out of sources.json what they could not look at."""
    stale = {"results": [{"unique_id": SHIPS, "status": "error", "max_loaded_at": "2026-01-01T00:00:00Z"}]}
    nodes = {SHIPS: "error", CREWS: "runtime error"}
    cosmos_fake_venv.script("source freshness", nodes=nodes, artifacts={"sources.json": stale})

    done = cosmos_airflow.run(make(timeout=0))

    assert (done.state, len(cosmos_fake_venv.calls)) == ("failed", 1)
    assert "dbt command failed. The command returned a non-zero exit code 1." in str(done.exception)


def test_a_dbt_that_cannot_begin_fails_the_task_at_once(
    make: MakeTask, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    cosmos_fake_venv.script("source freshness", exit_code=2)

    assert cosmos_airflow.run(make()).state == "failed"
    assert len(cosmos_fake_venv.calls) == 1


def test_a_gate_without_a_source_fails_and_is_not_tried_again(
    make: MakeTask, cosmos_fake_venv: FakeVenv, cosmos_airflow: CosmosAirflow
) -> None:
    done = cosmos_airflow.run(make(select="source:typo", retries=3))

    assert (done.state, len(cosmos_fake_venv.calls)) == ("failed", 1)
    assert "none of those that are selected has a freshness" in str(done.exception)


def test_a_retry_of_a_deferred_task_counts_its_time_anew(make: MakeTask, cosmos_fake_venv: FakeVenv) -> None:
    """Airflow 3.0 resumes it with what the try before has left."""
    cosmos_fake_venv.script("source freshness", nodes={SHIPS: "error"})
    sensor = make(deferrable=True, timeout=60)
    place = {"dag_id": "harbor", "task_id": "task", "run_id": "night", "map_index": -1, "max_tries": 1}
    ti = SimpleNamespace(try_number=2, get_first_reschedule_date=lambda _: None, **place)

    with pytest.raises(AirflowException, match=r"Not fresh enough.*timeout is 60 s"):
        sensor.execute_complete({"ti": ti}, None, began=0.0, try_number=2)
    with pytest.raises(BaseException) as deferred:  # noqa: PT011 - Airflow's own, which is no Exception in each release
        sensor.execute_complete({"ti": ti}, None, began=0.0, try_number=1)

    assert type(deferred.value).__name__ == "TaskDeferred"


def test_a_dag_says_how_its_sensors_wait(make: MakeTask) -> None:
    with DAG("harbor", schedule=None, start_date=START, default_args={"mode": "poke", "timeout": 7}):
        given, own = make(task_id="given"), make(task_id="own", mode="reschedule", deferrable=False)
        deferred = make(task_id="deferred", deferrable=True)

    assert (given.mode, given.timeout, own.mode, deferred.mode) == ("poke", 7, "reschedule", "reschedule")


@pytest.mark.parametrize("name", ["deferrable", "warn_is_fresh"])
def test_a_text_is_no_yes_or_no(make: MakeTask, name: str) -> None:
    with pytest.raises(CosmosValueError, match=f"{name}='False' of DbtSourceFreshnessLocalSensor: give True or False"):
        make(**{name: "False"})


def test_the_managed_one_is_a_sensor_with_the_same_parameters(dbt_project: Path) -> None:
    sensor = DbtSourceFreshnessVirtualenvSensor(
        task_id="wait", project_dir=dbt_project, profile_config=harbor_profile(dbt_project), py_requirements=["dbt"]
    )

    assert (sensor.mode, sensor.deferrable, sensor.warn_is_fresh) == ("reschedule", False, True)
    assert set(DbtSourceFreshnessLocalSensor.own_parameters) == set(DbtSourceFreshnessVirtualenvSensor.own_parameters)
