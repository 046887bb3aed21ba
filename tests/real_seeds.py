"""A project on DuckDB with a seed and a real dbt; the rows of the table prove whether dbt has loaded the seed.

Before each run the test inserts a row into the table. If the row is still there after the run, dbt has not loaded the
seed.
"""

from __future__ import annotations

import os
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cosmos_venv import (
    DbtDag,
    DbtTaskGroup,
    ExecutionConfig,
    InvocationMode,
    LoadMode,
    ProfileConfig,
    ProjectConfig,
    RenderConfig,
    SeedRenderingBehavior,
    TestBehavior,
)
from cosmos_venv.compat import DAG
from pytest_cosmos_venv import CosmosAirflow, DagOutcome
from tests.installed import DBT, DBT_111, site_packages_of

MARK = 99

needs_real_dbt = pytest.mark.skipif(
    site_packages_of(DBT_111) is None and os.environ.get("CI") != "true",
    reason="no dbt 1.11 of this Python at .cache/envs/dbt111: make test makes it",
)

_PROFILE = "harbor: {{target: dev, outputs: {{dev: {{type: duckdb, path: '{path}'}}}}}}\n"


class Harbor:
    """A project, its DAG, and the tables of its seed and its models.

    :param airflow: runs the DAG; None: the test runs the DAG in another way.
    """

    def __init__(self, project: Path, airflow: CosmosAirflow | None = None) -> None:
        self.project, self._airflow = project, airflow
        self.csv = project / "seeds" / "piers.csv"
        self.database = project.parent / "harbor.duckdb"
        (project / "profiles.yml").write_text(_PROFILE.format(path=self.database))

    def run(self, dag_id: str = "harbor", group: str | None = None, **given: Any) -> bool:
        """Run the whole DAG, which must succeed; return whether the run loaded the seed."""
        assert self.outcome(dag_id, group, **given).succeeded
        return not self.marks("piers")

    def outcome(self, dag_id: str = "harbor", group: str | None = None, **given: Any) -> DagOutcome:
        """Run the whole DAG, and return the outcome."""
        assert self._airflow is not None
        self._mark()
        return self._airflow.run(self._dag(dag_id, group, given))

    def marks(self, table: str) -> int:
        """The number of inserted marks in a table: one for each run since the seed was loaded."""
        with duckdb.connect(str(self.database)) as database:
            return database.execute(f"select id from {table}").fetchall().count((MARK,))  # noqa: S608 - a table's name

    def make_manifest(self) -> Path:
        """Write the project's manifest with the real dbt, and return its path."""
        words = ["parse", "--no-partial-parse", "--profiles-dir", ".", "--target-path", "parsed"]
        subprocess.run([DBT, *words], cwd=self.project, check=True, capture_output=True)
        return self.project / "parsed" / "manifest.json"

    def _mark(self) -> None:
        if not self.database.exists():
            return
        with duckdb.connect(str(self.database)) as database:
            database.execute("insert into piers (id) values (?)", [MARK])

    def _dag(self, dag_id: str, group: str | None, given: dict[str, Any]) -> DAG:
        outer: dict[str, Any] = {"schedule": None, "start_date": datetime(2026, 1, 1, tzinfo=timezone.utc)}
        local = ExecutionConfig(dbt_executable_path=DBT, invocation_mode=InvocationMode.SUBPROCESS)
        inner: dict[str, Any] = {
            "project_config": ProjectConfig(self.project, manifest_path=given.pop("manifest", None)),
            "profile_config": ProfileConfig("harbor", "dev", profiles_yml_filepath=self.project / "profiles.yml"),
            "execution_config": given.pop("execution", local),
            "render_config": RenderConfig(
                seed_rendering_behavior=given.pop("behavior", SeedRenderingBehavior.WHEN_SEED_CHANGES),
                load_method=given.pop("load_method", LoadMode.DBT_LS),
                group_nodes_by_folder=given.pop("group_nodes_by_folder", False),
                test_behavior=given.pop("test_behavior", TestBehavior.NONE),
                select=given.pop("select", ["path:seeds"]),
            ),
            "on_warning_callback": given.pop("on_warning_callback", None),
            "operator_args": given,
        }
        if group is None:
            return DbtDag(dag_id=dag_id, **outer, **inner)
        with DAG(dag_id, **outer) as dag:
            DbtTaskGroup(group, **inner)
        return dag
