"""The harness with which a check judges an implementation: a dbt project, packages to install, processes for tasks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pytest_cosmos_venv import CosmosRace, DbtCall
from pytest_cosmos_venv.environments.sdist import Sdist
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse

from ..adapter import DagPlan, Outcome, Shape, Task
from ..declaration import Declaration
from . import probes
from .running import SLACK, TIMEOUT, RunningTasks

NATIVE_DBT = "2.0.0a4"
"""The version of a dbt that is a program of its own: there is no package to import, and no adapter to install."""
_ADAPTER = "duckdb"
TEMPORARY_PLACES = ("no virtualenv_dir", "is_virtualenv_dir_temporary")
"""Both ways to say that an environment is for one task alone."""
START_DATE = datetime(2026, 1, 1, tzinfo=timezone.utc)
_FIELDS_OF_TASK = ("profile", "under_airflow", "standard_input", "place")
_ALONE = {"emit_datasets": False, "should_store_compiled_sql": False}
"""Arguments for an operator without Airflow around it: it cannot report assets or write rendered fields."""
_XDG = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")
"""Variables that may lead to folders elsewhere than in the home directory."""
_PROJECT = {
    "dbt_project.yml": "name: shop\nversion: '1.0'\nprofile: shop\n",
    "profiles.yml": "shop: {target: dev, outputs: {dev: {type: duckdb, path: shop.duckdb}}}\n",
    "models/orders.sql": "select 1 as id\n",
    "models/sources.yml": "version: 2\nsources: [{name: raw, tables: [{name: orders}]}]\n",
    "seeds/piers.csv": "id,name\n1,north\n",
    "snapshots/history.sql": (
        "{% snapshot history %}{{ config(unique_key='id', strategy='check', check_cols='all', target_schema='main') }}"
        "select * from {{ ref('orders') }}{% endsnapshot %}\n"
    ),
    "macros/grant.sql": "{% macro grant() %}{% endmacro %}\n",
}


@dataclass(frozen=True, kw_only=True)
class Harness:
    """The harness of one test.

    :param adapter: the implementation, as far as it is known without importing it.
    :param folder: empty, for this test alone.
    :param shared_directory: a ``virtualenv_dir`` for all tests of the implementation that do not judge its content.
    :param wheelhouse: the wheelhouse from which environments are installed, with the script and the record of its dbt.
    :param race: runs tasks in processes of their own.
    :param timeout: seconds that one task may take.
    :param slack: seconds that this machine may need beyond those that a requirement names.
    :param is_glance: whether the first of several cases within a check is enough.
    :param has_native_dbt: whether the fake dbt is a program of its own, and no Python package.
    """

    adapter: Declaration
    folder: Path
    shared_directory: Path
    wheelhouse: Wheelhouse
    race: CosmosRace
    timeout: float = TIMEOUT
    slack: float = SLACK
    is_glance: bool = False
    has_native_dbt: bool = False

    def __post_init__(self) -> None:
        if self.has_native_dbt:
            self.wheelhouse.add_dbt(self.versions[0])

    @property
    def versions(self) -> tuple[str, str]:
        """Two versions of dbt-core; the first is in the wheelhouse, and is installed unless a newer one is added."""
        return ("2.0.0", "2.1.0") if self.has_native_dbt else ("1.10.0", "1.11.0")

    def requirements(self, version: str | None = None, *, adapter: str = _ADAPTER) -> list[str]:
        """Requirements that bring dbt, and its adapter where there is one to install.

        :param version: the version of dbt-core; None: the newest that is there.
        :param adapter: the name of the adapter without ``dbt-``.
        """
        core = "dbt-core" if version is None else f"dbt-core=={version}"
        if not self.has_native_dbt:
            return [core, f"dbt-{adapter}"]
        return ["dbt-core>=2" if version is None else core]

    @property
    def distributions(self) -> set[str]:
        """Names of the distributions that ``requirements`` brings, as in file names."""
        return {"dbt_core"} if self.has_native_dbt else {"dbt_core", f"dbt_{_ADAPTER}"}

    def add_sdist(self, **options: Any) -> Sdist:
        """Add a dbt-core that is built when it is installed, newer than all that is there.

        :param **options: of ``Wheelhouse.add_sdist``.
        """
        if self.has_native_dbt:
            options = {"version": "3.0", **options}
        return self.wheelhouse.add_sdist("dbt-core", **options)

    @property
    def project(self) -> Path:
        """A dbt project with one model, one seed, one snapshot and a source; made when it is first asked for."""
        folder = self.folder / "shop"
        if not folder.exists():
            for name, text in _PROJECT.items():
                file = folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
        return folder

    @property
    def virtualenv_dir(self) -> Path:
        """A directory that does not exist."""
        return self.folder / "virtualenvs"

    @property
    def own_temporary(self) -> dict[str, str]:
        """Variables that give tasks a temporary directory of their own, which is empty at first.

        A later task in the same directory may remove files that an earlier task has left.
        """
        folder = self.folder / "temporary"
        folder.mkdir(exist_ok=True)
        return {"TMPDIR": str(folder)}

    @property
    def own_home(self) -> dict[str, str]:
        """Variables that give tasks a home directory of their own, which is empty at first.

        All files that tasks leave there are seen, and no file of the user is touched. Installers have their caches
        elsewhere, so they are not slower.
        """
        folder = self.folder / "home"
        folder.mkdir(exist_ok=True)
        return {"HOME": str(folder), **{name: str(folder / name.lower()) for name in _XDG}}

    @property
    def profile(self) -> dict[str, Any]:
        """Arguments of ``ProfileConfig`` for the project."""
        return {
            "profile_name": "shop",
            "target_name": "dev",
            "profiles_yml_filepath": str(self.project / "profiles.yml"),
        }

    def mapped_profile(self, connection: str, schema: str = "public") -> dict[str, Any]:
        """Arguments of ``ProfileConfig`` for a profile that is made of an Airflow Connection to Postgres.

        :param connection: the id of the connection.
        :param schema: the schema for the tables.
        """
        mapping = {"conn_id": connection, "profile_args": {"schema": schema}}
        named = {"profile_name": "shop", "target_name": "dev"}
        return {**named, "profile_mapping": ("PostgresUserPasswordProfileMapping", mapping)}

    @property
    def _environment_arguments(self) -> dict[str, list[str]]:
        return {"py_requirements": self.requirements(), "pip_install_options": self.wheelhouse.pip_install_options}

    def task(self, command: str = "run", **arguments: Any) -> Task:
        """A task with a sound project, profile and requirements. Its environment is temporary by default.

        :param command: a key of ``OPERATOR_CLASSES``.
        :param **arguments: fields of ``Task`` beside ``command``, such as ``under_airflow``; the others are arguments
            of the operator, beside or instead of the usual ones.
        """
        named = {name: arguments.pop(name) for name in _FIELDS_OF_TASK if name in arguments}
        given: dict[str, Any] = {
            "project_dir": str(self.project),
            **self._environment_arguments,
            **({"macro_name": "grant"} if command == "run-operation" else {}),
            **({} if named.get("under_airflow") else _ALONE),
        }
        return Task(command=command, **{"profile": self.profile, **named}, arguments=given | arguments)

    def kept_task(self, command: str = "run", **arguments: Any) -> Task:
        """A task as of ``task``, with its environment in ``virtualenv_dir``.

        :param command: a key of ``OPERATOR_CLASSES``.
        :param **arguments: as for ``task``.
        """
        return self.task(command, **{"virtualenv_dir": str(self.virtualenv_dir), **arguments})

    def native_task(self, command: str = "run") -> Task:
        """A task as of ``kept_task``, with a dbt that is a program of its own.

        :param command: a key of ``OPERATOR_CLASSES``.
        """
        self.wheelhouse.add_dbt(NATIVE_DBT)
        return self.kept_task(command, py_requirements=[f"dbt-core=={NATIVE_DBT}"])

    def temporary_task(self, place: str) -> Task:
        """A task with an environment that no other task uses.

        :param place: one of ``TEMPORARY_PLACES``.
        """
        return self.task() if place == TEMPORARY_PLACES[0] else self.kept_task(is_virtualenv_dir_temporary=True)

    def shared_task(self, command: str = "run", **arguments: Any) -> Task:
        """A task as of ``task``, with its environment in ``shared_directory``. The first test has it built.

        :param command: a key of ``OPERATOR_CLASSES``.
        :param **arguments: as for ``task``.
        """
        return self.task(command, **{"virtualenv_dir": str(self.shared_directory), **arguments})

    def dag_plan(self, project: Path | None = None, /, *, load: str | None = "dbt_manifest", **parts: Any) -> DagPlan:
        """A DAG of a project in virtualenv mode, by default without tests.

        :param project: folder with a ``profiles.yml``, whose profile has the folder's name; None: the harness's own
            project.
        :param load: value of ``LoadMode``; a manifest is looked for in the project's ``target`` folder. None: the DAG
            file names none.
        :param **parts: fields of ``DagPlan``; mappings are merged into the defaults.
        """
        folder = project or self.project
        manifest = {"manifest_path": str(folder / "target/manifest.json")} if load == "dbt_manifest" else {}
        how = {} if load is None else {"load_method": load}
        given: dict[str, Any] = {
            "project": {"dbt_project_path": str(folder), **manifest},
            "profile": {
                "profile_name": folder.name,
                "target_name": "dev",
                "profiles_yml_filepath": str(folder / "profiles.yml"),
            },
            "render": {**how, "test_behavior": "none", "emit_datasets": False},
            "operator_args": {"should_store_compiled_sql": False},
            "dag": {"dag_id": "harbor", "schedule": None, "start_date": START_DATE},
        }
        execution = parts["execution"] = {"execution_mode": "virtualenv", **parts.get("execution", {})}
        if execution["execution_mode"] == "virtualenv":
            given["operator_args"] |= self._environment_arguments
        return DagPlan(**{**parts, **{name: {**own, **parts.get(name, {})} for name, own in given.items()}})

    def run(self, *tasks: Task, variables: Mapping[str, str] | None = None, timeout: float | None = None) -> Outcome:
        """Run one task after the other, in one process, to their ends.

        :param *tasks: those to run, in this order.
        :param variables: variables of the process's environment, beside those that lead installers to the wheelhouse.
        :param timeout: seconds for all of them; None: the harness's own.
        :returns: the first outcome that is no success, or the last.
        """
        __tracebackhide__ = True
        with self.start(tasks, contenders=1, variables=variables, timeout=timeout) as running:
            return running.finish().outcomes[0]

    @contextmanager
    def start(
        self,
        tasks: Task | Sequence[Task],
        *,
        contenders: int | None = None,
        variables: Mapping[str, str] | None = None,
        timeout: float | None = None,
        prepares_airflow: bool = True,
        **options: Any,
    ) -> Iterator[RunningTasks]:
        """Start tasks at the same instant, each in a process of its own. The end of the block ends the tasks left.

        :param tasks: one for each contender, or one for all.
        :param contenders: number of processes; None: one for each task. A single task is run by each process.
        :param variables: variables of the processes' environment, beside those that lead installers to the wheelhouse.
        :param timeout: seconds for all of it; None: the harness's own.
        :param prepares_airflow: whether the process that tasks are forked from prepares what only tasks under Airflow
            need. A test with settings of its own has such a process for itself, and this takes most of its time.
        :param **options: of ``cosmos_race``: ``kill_at``, ``services``, ``grace`` ...
        """
        __tracebackhide__ = True
        several = [tasks] * (contenders or 1) if isinstance(tasks, Task) else list(tasks)
        environment = {**self.wheelhouse.environment, **(variables or {})}
        seconds = self.timeout if timeout is None else timeout
        given = {**self._race_options, "contenders": contenders or len(several), "timeout": seconds, **options}
        if not prepares_airflow:
            given["prepare"] = self.adapter.modules
        with self.race.start(probes.work, self.adapter.named, several, environment, seconds, **given) as race:
            yield RunningTasks(race, {kind: path for task in several for kind, path in task.place.items()})

    def ask(self, probe: str, **arguments: Any) -> Any:
        """The answer of a probe of the implementation, found in a process of its own.

        :param probe: name of a function of ``probes``.
        :param **arguments: what the probe takes beside the adapter.
        :raises AssertionError: the implementation cannot be asked; with what it raised.
        """
        __tracebackhide__ = True
        race = self.race(probes.ask, self.adapter.named, probe, arguments, contenders=1, **self._race_options)
        return race.values[0]

    def error_of(
        self, make: Task | DagPlan | Mapping[str, Any], *calls: str, variables: Mapping[str, str] | None = None
    ) -> dict[str, Any] | None:
        """The error of making an operator or a DAG, or of calling the operator's methods one after the other.

        :param make: what the operator or the DAG is made of; arguments of an ordinary DAG.
        :param *calls: names of methods of the operator.
        :param variables: environment variables of the process.
        :returns: ``kinds``: names of the error's classes, ``text``: type and text; None: there is no error.
        """
        __tracebackhide__ = True
        error: dict[str, Any] | None = self.ask("error_of", make=make, calls=calls, variables=variables or {})
        return error

    def render(self, plan: DagPlan) -> Shape:
        """Build a DAG, in a process of its own.

        :param plan: what the DAG file would say.
        :raises AssertionError: there is no answer; with what happened instead.
        """
        __tracebackhide__ = True
        return Shape.from_plain(self.ask("render", plan=plan))

    @property
    def _race_options(self) -> dict[str, Any]:
        # The process that tasks are forked from has the same modules each time, so that one process is enough.
        modules = [*self.adapter.modules, "pytest_cosmos_venv.prepared_airflow", probes.__name__]
        return {"prepare": modules, "timeout": self.timeout, "services": self.adapter.services, "plain": True}

    def calls(self, command: str | None = None) -> list[DbtCall]:
        """The calls of installed fakes of dbt, in order, without questions for the version.

        :param command: only calls of this command, such as ``run`` or ``docs generate``; None: all.
        """
        return [call for call in self.wheelhouse.calls if command is None or call.command == command]


def install_commands(
    environment: Path, wheelhouse: Wheelhouse, uv: str | None, requirements: Sequence[str] = ("dbt-core", "dbt-duckdb")
) -> list[list[str]]:
    """The commands that make an environment and install into it, with uv where it is given, else with venv and pip.

    :param environment: path of the environment.
    :param wheelhouse: the wheelhouse from which packages come.
    :param uv: path of uv; None: it is not to be used.
    :param requirements: what is installed.
    """
    python = str(environment / "bin" / "python")
    install = ["pip", "install", *wheelhouse.pip_install_options]
    if uv:
        make, installer = [uv, "venv", "--python", sys.executable, str(environment)], [uv, *install, "--python", python]
    else:
        make, installer = [sys.executable, "-m", "venv", str(environment)], [python, "-m", *install]
    return [make, [*installer, *requirements]]
