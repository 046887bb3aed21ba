"""The DAG files of public_dags.md, which are written after public ones, load in Airflow and run on the fake dbt."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from cosmos_venv.compat import IS_AIRFLOW_3
from pytest_cosmos_venv import CosmosAirflow, FakeVenv
from tests.kit import written_manifest

pytestmark = [
    pytest.mark.skipif(not IS_AIRFLOW_3, reason="the files are written for Airflow 3"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .airflow"),
]
PAGE = Path(__file__).with_name("public_dags.md").read_text(encoding="utf-8")
SOURCES: dict[str, str] = dict(re.findall(r"^## (\w+)\n.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
SEVERAL = {"dag_for_each_tag": "harbor_nightly", "dag_for_each_model": "dbt_report"}
"""The files with several DAGs, and the one that runs."""
LONG = {
    "alerts_and_timeouts",
    "dbt_path_and_virtualenv",
    "environment_for_each_task",
    "environment_that_is_kept",
    "first_steps",
    "folders_as_groups",
    "layers",
    "maintenance_by_params",
    "nightly_selector",
    "one_producer",
    "one_test_task_behind_all",
    "profile_by_variable",
    "taskflow_group",
}
"""The files whose run takes two seconds and a half: each task starts dbt."""

PROJECT = {
    "dbt_project.yml": "{name: harbor, version: '1.0', profile: harbor}\n",
    "profiles.yml": "harbor: {target: dev, outputs: {dev: {type: duckdb, path: ':memory:'}}}\n",
    "selectors.yml": "selectors: [{name: nightly, definition: {method: tag, value: nightly}}]\n",
    "seeds/piers.csv": "id,name\n1,North\n",
    "models/staging/stg_piers.sql": "{{ config(tags=['daily']) }} select * from {{ ref('piers') }}\n",
    "models/staging/stg_ships.sql": "{{ config(tags=['daily']) }} select * from {{ source('raw', 'ships') }}\n",
    "models/marts/crossings.sql": "{{ config(tags=['nightly']) }} select * from {{ ref('stg_piers') }}\n",
    "models/marts/report.sql": "select * from {{ ref('crossings') }} join {{ ref('stg_ships') }} using (id)\n",
    "models/models.yml": """
models:
  - name: stg_piers
    columns: [{name: id, data_tests: [unique, not_null]}]
  - name: report
    config: {meta: {cosmos: {operator_kwargs: {retries: 3, priority_weight: 7}}}}
sources:
  - name: raw
    tables:
      - {name: ships, loaded_at_field: at, config: {freshness: {warn_after: {count: 1, period: day}}}}
exposures:
  - {name: board, type: dashboard, owner: {email: harbor@example.com}, depends_on: ["ref('report')"]}
""",
    "snapshots/piers_history.sql": "{% snapshot piers_history %}\n"
    "{{ config(unique_key='id', strategy='check', check_cols='all', target_schema='main') }}\n"
    "select * from {{ ref('stg_piers') }}\n{% endsnapshot %}\n",
    "macros/drop_stale.sql": "{% macro drop_stale() %}{% endmacro %}\n",
    "dbt_ls.txt": '{"name": "piers", "resource_type": "seed", "unique_id": "seed.harbor.piers", '
    '"original_file_path": "seeds/piers.csv", "package_name": "harbor", "depends_on": {"nodes": []}}\n',
}
INCLUDED = """
import os
from cosmos_venv import ExecutionConfig, ProfileConfig, ProjectConfig
folder = os.environ["DBT_ROOT_PATH"] + "/harbor"
harbor_project = ProjectConfig(folder)
harbor_profile = ProfileConfig("harbor", "dev", profiles_yml_filepath=folder + "/profiles.yml")
venv_execution_config = ExecutionConfig(dbt_executable_path=os.environ["DBT_EXECUTABLE_PATH"])
"""


@pytest.fixture
def dags(tmp_path: Path, cosmos_fake_venv: FakeVenv, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the DAG files, with the project below it."""
    folder = tmp_path / "dags"
    for name, text in PROJECT.items():
        file = folder / "dbt" / "harbor" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    written_manifest(folder / "dbt" / "harbor")
    (folder / "include_of_the_harbor.py").write_text(INCLUDED)
    dbt = cosmos_fake_venv.dbt
    monkeypatch.setenv("DBT_ROOT_PATH", str(folder / "dbt"))
    monkeypatch.setenv("DBT_EXECUTABLE_PATH", str(dbt))
    monkeypatch.setenv("PATH", f"{dbt.parent}{os.pathsep}{os.environ['PATH']}")
    return folder


def load(name: str, dags: Path, cosmos_airflow: CosmosAirflow) -> Any:
    file = dags / f"{name}.py"
    file.write_text(SOURCES[name], encoding="utf-8")
    return cosmos_airflow.load(file, dag_id=SEVERAL.get(name), connections="made up")


def test_there_are_forty() -> None:
    assert len(SOURCES) == 40


@pytest.mark.parametrize("name", sorted(LONG))
def test_a_file_loads(name: str, dags: Path, cosmos_airflow: CosmosAirflow) -> None:
    assert load(name, dags, cosmos_airflow).dag.tasks


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in LONG else []) for name in SOURCES]
)
def test_a_file_runs(name: str, dags: Path, cosmos_airflow: CosmosAirflow) -> None:
    outcome = load(name, dags, cosmos_airflow).run(logical_date="2026-01-05")

    assert outcome.succeeded, outcome
