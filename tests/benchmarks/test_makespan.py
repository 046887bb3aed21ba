"""What `benchmarks.makespan` makes of what it has measured."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.airflows import RunFailed, TaskInstance, makespan
from benchmarks.local import EXAMPLE
from benchmarks.makespan import CONTESTANTS, PIP, RUNNER, SHARES, SUBPROCESS, UV, WARM, beyond_share, rows
from benchmarks.makespan_dags import PORTED, SNAPSHOT, Contestant, Harbor, port

MINUTE = "2026-01-01 12:00:"


def instance(task_id: str, began: str | None, ended: str | None, state: str = "success") -> TaskInstance:
    times = [None if second is None else MINUTE + second for second in (began, ended)]
    return TaskInstance.of_row((task_id, state, *times))


def test_a_makespan_goes_from_the_first_begin_to_the_last_end_whatever_the_order() -> None:
    tasks = [instance("b", "07", "12.500000"), instance("a", "02.250000", "09"), instance("c", "03", "04")]

    assert makespan(tasks) == pytest.approx(10.25)


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        pytest.param([], "there are none", id="no-tasks"),
        pytest.param([instance("a", "01", "02"), instance("b", "02", "03", "failed")], "'b': 'failed'", id="failed"),
        pytest.param(
            [instance("a", "01", "02"), instance("b", None, None, "upstream_failed")], "upstream", id="skipped"
        ),
    ],
)
def test_a_run_in_which_not_all_succeeded_has_no_makespan(tasks: list[TaskInstance], told: str) -> None:
    with pytest.raises(RunFailed, match=told):
        makespan(tasks)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        pytest.param([10.0], 0.25, id="one-share-for-both"),
        pytest.param([10.0, 8.0], 0.30, id="the-shorter-is-ours"),
        pytest.param([10.0, 30.0], 0.50, id="the-longer-is-the-other-ones"),
        pytest.param([10.0, 50.0], float("inf"), id="nothing-is-left-of-the-other"),
        pytest.param([20.0], float("inf"), id="nothing-is-left-of-ours"),
    ],
)
def test_airflows_share_is_taken_in_the_way_that_suits_ours_least(shares: list[float], expected: float) -> None:
    assert beyond_share(20.0, 50.0, shares) == pytest.approx(expected)


@pytest.mark.parametrize(("runner", "subprocess"), [(39.0, 42.0), (42.0, 39.0)])
def test_judged_are_virtualenv_with_uv_and_the_faster_way_of_local(runner: float, subprocess: float) -> None:
    makespans = {name: [10.0] for name in SHARES}
    makespans |= {WARM: [19.0, 20.0, 90.0], UV: [60.0], PIP: [99.0], SUBPROCESS: [subprocess], RUNNER: [runner]}

    found = {row.what.rpartition(", of ")[2]: row for row in rows(makespans) if "beyond" in row.what}

    faster, slower = (RUNNER, SUBPROCESS) if runner < subprocess else (SUBPROCESS, RUNNER)
    assert {name: row.bound for name, row in found.items()} == {
        UV: 0.35,
        PIP: float("inf"),
        faster: 0.5,
        slower: float("inf"),
    }
    assert found[UV].judged == pytest.approx(10 / 50)
    assert found[faster].judged == pytest.approx(10 / 29)


def test_the_table_goes_without_pip_where_it_was_not_measured() -> None:
    makespans = {name: [20.0 if name in SHARES else 60.0] for name in CONTESTANTS if name != PIP}

    assert not [row.what for row in rows(makespans) if PIP in row.what]


def test_the_example_is_ported_and_its_snapshot_runs_on_the_dbt_of_the_others(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "harbor")

    port(tmp_path / "harbor")

    text = {name: (tmp_path / "harbor" / name).read_text() for name in (*PORTED, SNAPSHOT)}
    assert all(after in text[name] and before not in text[name] for name, (before, after) in PORTED.items())
    assert "strategy: check" in text[SNAPSHOT]
    assert "py_requirements" not in text[SNAPSHOT]


def test_an_example_that_has_changed_is_told_and_not_measured(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "harbor")
    (tmp_path / "harbor" / "models" / "marts" / "route_days.sql").write_text("select 1 as id\n")

    with pytest.raises(SystemExit, match=r"route_days\.sql of the example no longer says 'group by all'"):
        port(tmp_path / "harbor")


@pytest.mark.long
def test_bash_tasks_have_the_shape_of_the_project(tmp_path: Path) -> None:
    """The file is read by an Airflow, as the benchmark's is."""
    nodes = {
        "seed.x.piers": {"resource_type": "seed"},
        "model.x.staging": {"resource_type": "model", "depends_on": {"nodes": ["seed.x.piers"]}},
        "model.x.mart": {"resource_type": "model", "depends_on": {"nodes": ["model.x.staging"]}},
        "test.x.unique": {"resource_type": "test", "depends_on": {"nodes": ["model.x.staging"]}},
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"nodes": nodes}))
    harbor = Harbor(
        project=tmp_path, manifest=tmp_path / "manifest.json", profile=tmp_path, ends_at_once=tmp_path / "dbt"
    )
    source = Contestant(root="cosmos_venv", mode="plain").dag_file(harbor)
    tasks = "first['seed_x_piers'].dag.tasks"
    asked = f"print('FOUND', sorted((each.task_id, *sorted(each.upstream_task_ids)) for each in {tasks}))"

    done = subprocess.run([sys.executable, "-c", f"{source}\n{asked}"], capture_output=True, text=True, check=True)

    assert done.stdout.rpartition("FOUND ")[2].strip() == str(
        [
            ("model_x_mart", "model_x_staging.test"),
            ("model_x_staging", "seed_x_piers"),
            ("model_x_staging.test", "model_x_staging"),
            ("seed_x_piers",),
        ]
    )
