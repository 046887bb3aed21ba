"""DAG files that load one dbt project in each way and run it in each mode, with a real dbt and DuckDB.

Each DAG has a copy of the project with a comment of its own, so no DAG finds an answer that dbt gave for another DAG.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb

from tests.engines import DBT_1, DBT_2, DRIVER, Engine
from tests.installed import DBT, ENVIRONMENTS

PROJECT = {
    "dbt_project.yml": "name: shop\nversion: '1.0'\nprofile: shop\nmodels: {+materialized: table}\n",
    "models/arrivals.sql": "select id from {{ source('harbor', 'piers') }}",
    "models/schema.yml": """
models:
  - {name: arrivals, columns: [{name: id, data_tests: [unique]}]}
sources:
  - name: harbor
    schema: main
    config: {loaded_at_field: seen, freshness: {warn_after: {count: 900, period: day}}}
    tables: [{name: piers}]
""",
    "selectors.yml": """
selectors:
  - {name: of_departures, definition: {method: fqn, value: departures, parents: true}}
""",
}
TWO_MODELS = {
    "models/departures.sql": "select id from {{ ref('arrivals') }}",
    "models/departures.yml": """
models:
  - name: departures
    columns:
      - name: id
        data_tests: [{relationships: {arguments: {to: ref('arrivals'), field: id}}}]
""",
}

DAG_FILE = '''
"""A DAG of airflow."""
import json, os
from datetime import datetime, timezone
from pathlib import Path

def note(error):
    """Tell the test what became of this import, and which task it was for."""
    task = os.environ.get("_AIRFLOW_PARSING_CONTEXT_TASK_ID", "")
    with open({notes!r}, "a") as file:
        file.write(json.dumps({{"task": task, "error": error}}) + "\\n")

try:
    from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig

    folder = Path({project!r})
    dag = DbtDag(
        dag_id={name!r},
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        max_active_runs=1,  # a DuckDB file takes one writer at a time, and each run has tasks of its own
        max_active_tasks=1,
        default_args={{"retries": 0, **{default_args!r}}},
        project_config=ProjectConfig(folder, install_dbt_deps=False, **{project_config!r}),
        profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath=folder / "profiles.yml"),
        execution_config=ExecutionConfig(**{execution!r}),
        render_config=RenderConfig(**{render!r}),
        operator_args={operator_args!r},
        **{more!r},
    )
except BaseException as error:
    note(f"{{type(error).__name__}}: {{error}}")
    raise
note("")
'''


@dataclass(frozen=True, kw_only=True)
class Case:
    """One DAG.

    :param name: its id, and the name of its file.
    :param load: the load mode.
    :param mode: the execution mode.
    :param render: further parameters of ``RenderConfig``, as JSON.
    :param more: further parameters of ``DbtDag``, as JSON.
    :param engine: the release of dbt; dbt 2 takes a tenth of the time of dbt 1.
    :param has_two_models: whether its project has a second model, which reads the first one.
    :param is_versioned: whether it stands in the bundle with versions, where there is one.
    :param is_on_celery: whether its tasks name CeleryExecutor, where there is one beside another executor.
    """

    name: str
    load: str
    mode: str
    render: str = "{}"
    more: str = "{}"
    engine: Engine = DBT_2
    has_two_models: bool = False
    is_versioned: bool = False
    is_on_celery: bool = False

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that a run builds."""
        return ("arrivals", "departures") if self.has_two_models else ("arrivals",)


LOADS = ("automatic", "custom", "dbt_ls", "dbt_ls_file", "dbt_manifest")
MODES = ("local", "virtualenv", "watcher")
BIGQUERY = {"type": "bigquery", "method": "oauth", "project": "shop", "dataset": "shop", "threads": 1}
WITHOUT_TESTS = '{"test_behavior": "none"}'  # each task takes seconds of two cores
CASES = (
    *(
        Case(
            name=f"{mode}-{load}",
            load=load,
            mode=mode,
            render=WITHOUT_TESTS,
            engine=DBT_1 if load == "dbt_ls" else DBT_2,
            is_on_celery=load == "dbt_ls",
        )
        for mode in MODES
        for load in LOADS
    ),
    *(
        Case(
            name=f"versioned-{mode}",
            load="dbt_ls",
            mode=mode,
            render=WITHOUT_TESTS,
            is_versioned=True,
        )
        for mode in MODES
    ),
    Case(
        name="batches",
        load="dbt_ls",
        mode="virtualenv",
        render='{"batch_by": "all"}',
        engine=DBT_1,
        has_two_models=True,
    ),
    Case(name="run-params", load="dbt_ls", mode="virtualenv", more='{"run_params": true}'),
    Case(
        name="detached-tests",
        load="dbt_ls",
        mode="virtualenv",
        render='{"should_detach_multiple_parents_tests": true}',
        has_two_models=True,
    ),
    Case(
        name="sources",
        load="dbt_ls",
        mode="local",
        render='{"source_rendering_behavior": "all", "test_behavior": "none"}',
        engine=DBT_1,  # dbt 2 has no source freshness
    ),
    Case(
        name="selector",
        load="dbt_ls",
        mode="virtualenv",
        render='{"selector": "of_departures", "test_behavior": "after_all"}',
        has_two_models=True,
    ),
)
ASYNC_CASES = tuple(
    Case(name=f"airflow_async-{load}", load=load, mode="airflow_async", render=WITHOUT_TESTS) for load in LOADS
)


@dataclass(frozen=True, kw_only=True)
class Note:
    """What became of one import of a DAG file.

    :param task: for which it was imported; empty: by the DAG processor.
    :param error: the exception; empty: there was none.
    """

    task: str
    error: str


@dataclass(kw_only=True)
class DagFiles:
    """The DAG files and projects of all cases.

    :param folder: of the projects.
    :param dags: folder of the DAG files.
    :param versioned: folder of those in a bundle with versions; None: there is no such bundle.
    :param fake_dbt: a dbt that lists a project for BigQuery.
    :param has_celery: whether tasks may name CeleryExecutor.
    """

    folder: Path
    fake_dbt: Path
    dags: Path
    versioned: Path | None
    has_celery: bool

    def write(self, cases: Iterable[Case]) -> None:
        """Write the files of cases."""
        artifacts = self._artifacts()
        for case in cases:
            self._write(case, artifacts)

    def project(self, case: Case) -> Path:
        """The folder of the project of a case."""
        return self.folder / "projects" / case.name

    def notes(self, case: Case) -> Iterator[Note]:
        """What became of the imports of its file, in their order."""
        file = self.project(case) / "notes.jsonl"
        for line in file.read_text().splitlines() if file.exists() else ():
            yield Note(**json.loads(line))

    def tables(self, case: Case) -> tuple[str, ...]:
        """The tables with a row that the tasks of a case have built."""
        with duckdb.connect(str(self._database(case)), read_only=True) as database:
            names = [row[0] for row in database.execute("select table_name from information_schema.tables").fetchall()]
            counted = {name: database.execute(f'select count(*) from "{name}"').fetchall()[0][0] for name in names}  # noqa: S608
        return tuple(sorted(name for name, rows in counted.items() if rows and name != "piers"))

    def _database(self, case: Case) -> Path:
        return self.folder / "databases" / f"{case.name}.duckdb"

    @cached_property
    def _native_dbt(self) -> Path:
        """A dbt 2 beside its database driver."""
        program, driver = self.folder / "dbt2" / "bin" / "dbt", self.folder / "dbt2" / "lib" / DRIVER.name
        for file, origin in {program: ENVIRONMENTS / "dbt2" / "bin" / "dbt", driver: DRIVER}.items():
            file.parent.mkdir(parents=True)
            shutil.copy(origin, file)
        return program

    def _artifacts(self) -> Path:
        """A project in which dbt has left a manifest and what it lists."""
        project = self.folder / "listed"
        self._write_project(project, PROJECT, self.folder / "listed.duckdb")
        flags = ["--project-dir", str(project), "--profiles-dir", str(project)]
        keys = "name unique_id resource_type package_name depends_on original_file_path tags config freshness fqn"
        listing = ["--quiet", "ls", "--output", "json", "--output-keys", *keys.split()]
        listed = subprocess.run([DBT, *listing, *flags], check=True, capture_output=True).stdout
        (project / "listed.jsonl").write_bytes(listed)
        return project

    def _write_project(self, project: Path, files: Mapping[str, str], database: Path) -> None:
        for path, text in files.items():
            (project / path).parent.mkdir(parents=True, exist_ok=True)
            (project / path).write_text(f"{text}\n")
        with (project / "models" / "arrivals.sql").open("a") as model:
            model.write(f"-- {project.name}\n")
        dev = {"type": "duckdb", "path": str(database), "threads": 1}
        self._write_profile(project, dev)

    def _write_profile(self, project: Path, target: Mapping[str, Any]) -> None:
        (project / "profiles.yml").write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": target}}}))

    def _write(self, case: Case, artifacts: Path) -> None:
        project, database = self.project(case), self._database(case)
        self._write_project(project, PROJECT | (TWO_MODELS if case.has_two_models else {}), database)
        database.parent.mkdir(exist_ok=True)
        with duckdb.connect() as memory:
            # The DuckDB of dbt 2 is older than the one that makes the file.
            memory.execute(f"attach '{database}' as made (storage_version 'v1.0.0')")
            memory.execute("create table made.piers as select 1 as id, now()::timestamp as seen")
        render: dict[str, Any] = {"load_method": case.load, **json.loads(case.render)}
        project_config: dict[str, Any] = {}
        if case.load == "dbt_manifest":
            shutil.copy(artifacts / "target" / "manifest.json", project / "manifest.json")
            project_config["manifest_path"] = str(project / "manifest.json")
        if case.load == "dbt_ls_file":
            shutil.copy(artifacts / "listed.jsonl", project / "listed.jsonl")
            render["dbt_ls_path"] = str(project / "listed.jsonl")
        is_managed = case.mode == "virtualenv"
        execution: dict[str, Any] = {"execution_mode": case.mode}
        if case.mode == "airflow_async":
            self._write_profile(project, BIGQUERY)
            execution |= {"dbt_executable_path": str(self.fake_dbt), "invocation_mode": "subprocess"}
            execution["async_py_requirements"] = []
        elif is_managed:
            execution["virtualenv_dir"] = str(self.folder / "environments")
        else:
            execution["dbt_executable_path"] = str(self._native_dbt if case.engine.is_native else DBT)
        text = DAG_FILE.format(
            notes=str(project / "notes.jsonl"),
            project=str(project),
            name=case.name,
            project_config=project_config,
            execution=execution,
            render=render,
            operator_args=case.engine.arguments if is_managed else {},
            default_args={"executor": "CeleryExecutor"} if case.is_on_celery and self.has_celery else {},
            more=json.loads(case.more),
        )
        folder = self.versioned if case.is_versioned and self.versioned is not None else self.dags
        (folder / f"{case.name}.py").write_text(text)
