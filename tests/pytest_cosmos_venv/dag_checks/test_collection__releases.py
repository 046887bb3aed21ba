"""DAG files are checked with each release of dbt that the run names, and what differs between them is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.engines import DRIVER, ENGINES
from tests.installed import ROOT
from tests.pytest_cosmos_venv.dag_checks.checked_project import CheckedProject
from tests.pytest_cosmos_venv.inner_run import python_of

pytestmark = pytest.mark.long

LISTING = """
dag = cosmos.DbtDag(
    dag_id="listing",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=cosmos.ProjectConfig(PROJECT),
    profile_config=cosmos.ProfileConfig(
        "harbor", "dev", profile_mapping=PostgresUserPasswordProfileMapping("warehouse", {"schema": "port"})
    ),
    execution_config=cosmos.ExecutionConfig(execution_mode=cosmos.ExecutionMode.VIRTUALENV),
    operator_args={"py_requirements": ["dbt-core", "dbt-postgres"]},
)
"""


def test_a_dbt_that_cannot_be_had_is_told(project: CheckedProject) -> None:
    project.ini("cosmos_dbt_drivers = nowhere.so")
    project.add(daily="dag = make()", listing=LISTING)
    which = "(daily and (imports or shape)) or imports[dbt-2]"

    checked = project.run("--cosmos-dbt=1.11,2", "--cosmos-update-snapshots", "-k", which)

    print(checked.output)
    for release in ("1.11", "2"):
        assert checked.verdicts("dags/daily.py", release) == {"imports": "passed", "shape": "passed"}
    assert checked.verdicts("dags/listing.py", "2") == {"imports": "failed"}
    assert "There is no driver" in checked.text("dags/listing.py", "imports", "2")
    assert "dags/daily.py (dbt 2)" in checked.output
    assert "Nothing differs from dbt 1.11." in checked.output


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("environment", "root", "which"),
    [
        pytest.param(None, "cosmos_venv", "imports or shape", id="cosmos_venv"),
        pytest.param("cosmos", "cosmos", "imports and 2.0", id="cosmos"),
    ],
)
def test_a_file_that_loads_by_dbt_ls_is_listed_by_each_release(
    environment: str | None, root: str, which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    releases = [ENGINES[1], ENGINES[3]]
    for engine in releases:
        engine.require()
    monkeypatch.setenv("UV_FIND_LINKS", ",".join(str(engine.wheels) for engine in releases))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    python = Path(sys.executable) if environment is None else python_of(environment)
    project = CheckedProject(folder=tmp_path, cache_dir=ROOT / ".cache" / "toolkit", root=root, python=python)
    project.ini(
        "cosmos_dbt_requirements =",
        *(f"    {engine.name}: {' '.join(engine.requirements)}" for engine in releases),
        f"cosmos_dbt_drivers = {DRIVER}",
    )
    (project.dbt / "target" / "manifest.json").unlink()
    (project.dbt / "models" / "former.sql").write_text(
        "{{ config(enabled=dbt_version.startswith('1.')) }} select * from {{ ref('ships') }}", encoding="utf-8"
    )
    project.add(listing=LISTING)

    options = ["--cosmos-update-snapshots", "-k", which]
    checked = project.run("--cosmos-dbt=1.11,2.0", *options)

    print(checked.output)
    assert checked.verdicts("dags/listing.py", "2.0")["imports"] == "passed"
    if environment is None:
        assert set(checked.verdicts("dags/listing.py", "1.11").values()) == {"passed"}
        told = checked.text("dags/listing.py", "shape", "2.0")
        assert told.startswith("The shape is not that with the first release of dbt:\n")
        assert "-  former_run (DbtRun" in told
        rows = [line.split() for line in checked.output.splitlines()]
        assert ["differs", "of", "1.11", "2.0"] in rows
        assert ["outcome", "dags/listing.py::shape", "passed", "failed"] in rows
        assert ["nodes", "model.harbor.former", "there", "-"] in rows
        assert ["tasks", "listing.former_run", "after", "ships.test", "-"] in rows
