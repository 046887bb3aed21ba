"""The same small DAGs with each real dbt, on DuckDB: states, errors, and the rows that are there afterwards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
from airflow.sdk import DAG

from cosmos_venv import InvocationMode, ProfileConfig
from cosmos_venv.operators import local, virtualenv
from pytest_cosmos_venv import DbtProject
from tests.replay.projects import START
from tests.replay.recorder import Bench


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release of dbt.

    :param name: the beginning of the names of its scenarios.
    :param environment: its environment below ``.cache/envs``; None: it is installed by VIRTUALENV mode.
    :param requirements: for VIRTUALENV mode.
    :param wheels: the folder below ``.cache`` from which these are installed.
    :param is_warm: whether dbt is forked from a process that has imported it.
    :param left_out: scenarios that would tell nothing more with this release.
    """

    name: str
    environment: str | None = None
    requirements: tuple[str, ...] = ()
    wheels: str = ""
    is_warm: bool = False
    left_out: tuple[str, ...] = ()

    @property
    def is_native(self) -> bool:
        """Whether it is dbt 2."""
        return self.name == "dbt2"

    def execution(self, bench: Bench) -> dict[str, Any]:
        """Arguments of ``ExecutionConfig``."""
        if self.environment is None:
            return {"execution_mode": "virtualenv", "virtualenv_dir": self.environments(bench)}
        return {"execution_mode": "local", "invocation_mode": "subprocess", "dbt_executable_path": self.program(bench)}

    def environments(self, bench: Bench) -> Path:
        """The folder in which all scenarios of a session find the environment."""
        return bench.shared / f"{self.name}-environments"

    def arguments(self, bench: Bench) -> dict[str, Any]:
        """The ``operator_args``."""
        if self.environment is None:
            links = ["--no-index", "--find-links", str(bench.checkout / ".cache" / self.wheels)]
            return {"py_requirements": list(self.requirements), "pip_install_options": links, "warm_dbt": "require"}
        return {"warm_dbt": "require"} if self.is_warm else {}

    def program(self, bench: Bench) -> Path:
        """The executable; dbt 2 needs its database driver beside itself."""
        program = bench.checkout / ".cache" / "envs" / str(self.environment) / "bin" / "dbt"
        if not self.is_native:
            return program
        place, driver = bench.shared / "dbt2", bench.checkout / ".cache" / "drivers" / "libduckdb.so"
        for file, copy in {program: place / "bin" / "dbt", driver: place / "lib" / driver.name}.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            _link(file, copy)
        return place / "bin" / "dbt"


def _link(file: Path, copy: Path) -> None:
    try:
        os.link(file.resolve(), copy)
    except FileExistsError:
        return
    except OSError:  # another file system
        shutil.copy(file, copy)


RELEASES = (
    Release(
        name="dbt112",
        requirements=("dbt-core==1.12.0", "dbt-duckdb"),
        wheels="wheelhouse-dbt112",
        left_out=("failures", "operators"),
    ),
    Release(name="dbt111", environment="dbt111", is_warm=True),
    Release(name="dbt110", environment="dbt110", is_warm=True, left_out=("failures",)),
    Release(name="dbt2", environment="dbt2"),
)


def _shop(bench: Bench) -> DbtProject:
    """A seed, a model whose test fails, a model over it, a model that fails."""
    project = bench.projects("shop", profile={"path": str(bench.folder / "shop.duckdb")})
    project.seed("piers", "id,name\n1,North\n1,South\n")
    project.model("stg_piers", "select * from {{ ref('piers') }}", tests={"id": ["unique"]}, materialized="table")
    project.model("report", "select count(*) as n from {{ ref('stg_piers') }}", materialized="table", tags=["daily"])
    project.model("broken", "select nothing_of_that_name from {{ ref('piers') }}")
    return project


def failures(bench: Bench, release: Release) -> None:
    """A task a node: a test fails, and so does a model."""
    _run(bench, release)


def batch(bench: Bench, release: Release) -> None:
    """All nodes in one build; its second try runs what is not done."""
    _run(bench, release, of_dag={"default_args": {"retries": 1}}, batch_by="all")


def watcher(bench: Bench, release: Release) -> None:
    """All nodes in one build, which the tasks of the nodes watch."""
    _run(bench, release, mode="watcher")


def dbt_ls(bench: Bench, release: Release) -> None:
    """The nodes that dbt selects."""
    bench.harbor = _shop(bench)
    given: dict[str, Any] = {"load_method": "dbt_ls", "of_dag": {"operator_args": release.arguments(bench)}}
    bench.dag(release.execution(bench), select=["+tag:daily"], exclude=["resource_type:seed"], **given)


def operators(bench: Bench, release: Release) -> None:
    """A selection of nothing, a macro that is not there."""
    bench.harbor = _shop(bench)
    kind, package = ("Virtualenv", virtualenv) if release.environment is None else ("Local", local)
    given: dict[str, Any] = {"project_dir": bench.harbor.path, "install_deps": False, **release.arguments(bench)}
    if release.environment is None:
        given["virtualenv_dir"] = release.environments(bench)
    else:
        given |= {"dbt_executable_path": release.program(bench), "invocation_mode": InvocationMode.SUBPROCESS}
    given["profile_config"] = ProfileConfig("shop", "dev", profiles_yml_filepath=bench.harbor.profiles_yml)
    with DAG("operators", schedule=None, start_date=START) as dag:
        getattr(package, f"DbtRun{kind}Operator")(task_id="no_node", select="nobody", **given)
        getattr(package, f"DbtRunOperation{kind}Operator")(task_id="no_macro", macro_name="nothing", **given)
    bench.see(dag)
    bench.run(dag)


def _run(
    bench: Bench, release: Release, *, mode: str | None = None, of_dag: dict[str, Any] | None = None, **render: Any
) -> None:
    bench.harbor = _shop(bench)
    bench.harbor.manifest()
    execution = release.execution(bench) | ({} if mode is None else {"execution_mode": mode})
    settings = {"max_active_tasks": 1, "operator_args": release.arguments(bench), **(of_dag or {})}
    bench.run(bench.dag(execution, of_dag=settings, **render))
    with duckdb.connect(str(bench.folder / "shop.duckdb"), read_only=True) as database:
        found = database.execute("select table_name from information_schema.tables order by 1").fetchall()
        counted = {name: database.execute(f'select count(*) from "{name}"').fetchall()[0][0] for (name,) in found}  # noqa: S608 - a table's name
    bench.tell("rows", counted)


SCENARIOS: dict[str, Callable[[Bench], None]] = {
    f"{release.name}_{scenario.__name__}": partial(scenario, release=release)
    for release in RELEASES
    for scenario in (failures, batch, watcher, dbt_ls, operators)
    if scenario.__name__ not in release.left_out
}
# One as a plain process: each start takes seconds.
SCENARIOS["dbt111_watcher"] = partial(watcher, release=replace(RELEASES[1], is_warm=False))
