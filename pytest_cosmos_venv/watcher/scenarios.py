"""The run of a scenario on an implementation, which the fixture ``cosmos_watcher_scenario`` gives."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from pytest_cosmos_venv.environments.fake_venv import require_dbt_version
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.project import Project
from pytest_cosmos_venv.fake_dbt.rules import Rule
from pytest_cosmos_venv.projects.projects import DbtProjects
from pytest_cosmos_venv.runs.turns import PRODUCER, is_producer
from pytest_cosmos_venv.seeds.dag_file import START, member
from pytest_cosmos_venv.watcher.outcome import WatcherOutcome
from pytest_cosmos_venv.watcher.scenario import WatcherScenario

if TYPE_CHECKING:
    from pytest_cosmos_venv.environments.fake_venv import FakeVenv
    from pytest_cosmos_venv.implementation import Implementation

NAME = "harbor"
_GROUP = "port"
_NOT_COPIED = ("logs", ".git", ".venv", "__pycache__")


@dataclass(frozen=True, kw_only=True)
class WatcherBench:
    """The parts of which a DAG of a scenario is made.

    :param scenario: the scenario.
    :param implementation: the implementation under test.
    :param project: the folder of the dbt project.
    :param dbt: the fake dbt, scripted as the scenario says.
    """

    scenario: WatcherScenario
    implementation: Implementation
    project: Path
    dbt: FakeVenv

    @property
    def manifest(self) -> Path:
        """The place of the project's manifest; in a project of your own it may not exist."""
        return self.project / "target" / "manifest.json"

    @property
    def dbt_executable(self) -> str:
        """The path of the fake dbt, for ``ExecutionConfig(dbt_executable_path=...)``."""
        return str(self.dbt.dbt)

    def make_dag(self) -> Any:
        """Return a DAG of the ready-made project, as the scenario describes it."""
        retries = {"retries": self.scenario.retries}
        if not self.scenario.is_behind_failure:
            dag_class = self.implementation.module().DbtDag
            return dag_class(dag_id=NAME, schedule=None, start_date=START, default_args=retries, **self._arguments())
        from airflow import DAG

        plain_class: Any = DAG
        with plain_class(dag_id=NAME, schedule=None, start_date=START, default_args=retries) as dag:
            group = self.implementation.module().DbtTaskGroup(group_id=_GROUP, **self._arguments())
            _failing_task() >> group
        return dag

    def _arguments(self) -> dict[str, Any]:
        scenario, module = self.scenario, self.implementation.module()
        retries = scenario.producer_retries
        return {
            "project_config": module.ProjectConfig(self.project, manifest_path=self.manifest, install_dbt_deps=False),
            "profile_config": module.ProfileConfig(NAME, "dev", profiles_yml_filepath=self.project / "profiles.yml"),
            "execution_config": module.ExecutionConfig(
                execution_mode=self._member("ExecutionMode", "watcher", "execution_mode"),
                # Otherwise a dbt that can be imported would be run inside this process: the real one.
                invocation_mode=self._member("InvocationMode", "subprocess", "invocation_mode"),
                dbt_executable_path=self.dbt_executable,
                setup_operator_args=None if retries is None else {"retries": retries},
            ),
            "render_config": module.RenderConfig(
                load_method=self._member("LoadMode", "dbt_manifest", "load_method"),
                test_behavior=self._member("TestBehavior", scenario.test_behavior, "test_behavior"),
                seed_rendering_behavior=self._member("SeedRenderingBehavior", scenario.seeds, "seeds"),
                exclude=list(scenario.exclude),
            ),
            "operator_args": dict(scenario.operator_args),
        }

    def _member(self, enum: str, text: str, parameter: str) -> Any:
        return member(self.implementation, enum, text, parameter=parameter)


@dataclass(frozen=True, kw_only=True)
class WatcherScenarios:
    """The function that the fixture ``cosmos_watcher_scenario`` gives.

    :param folder: an existing folder for projects and environments.
    :param implementation: the implementation under test.
    :param fake_venv: makes a fake environment in a folder, with a dbt of a version; None: of the usual one.
    """

    folder: Path
    implementation: Implementation
    fake_venv: Callable[[Path, str | None], FakeVenv]
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __call__(
        self,
        scenario: WatcherScenario,
        *,
        project: Path | str | None = None,
        make_dag: Callable[[WatcherBench], Any] | None = None,
        dbt_version: str | None = None,
    ) -> WatcherOutcome:
        """Run a scenario; ``check()`` of the outcome fails unless it is as required.

        :param scenario: one of ``WATCHER_SCENARIOS``, or one of your own.
        :param project: the folder of a dbt project of your own, which is copied; None: the ready-made one.
        :param make_dag: builds the DAG of your own project: it is given the ``WatcherBench``, whose ``project``,
            ``manifest`` and ``dbt_executable`` go into its configuration.
        :param dbt_version: the version of the fake dbt; None: the usual one, a dbt 1.
        :raises ToolkitMisuse: it is no scenario, there is no such version, or only one of the two is given: ``project``
            and ``make_dag``; the DAG has no producer, dbt was not called or not as scripted, or the scenario names
            nodes that the project does not have.
        """
        if not isinstance(scenario, WatcherScenario):
            raise ToolkitMisuse(f"cosmos_watcher_scenario({scenario!r}): give a WatcherScenario.")
        if (project is None) != (make_dag is None):
            raise ToolkitMisuse("project= and make_dag= go together: give both, or none for the ready-made project.")
        if dbt_version is not None:
            require_dbt_version(dbt_version)
        from pytest_cosmos_venv.runs.running import run_dag

        folder = self.folder / f"scenario-{next(self._numbers)}"
        folder.mkdir()
        bench = WatcherBench(
            scenario=scenario,
            implementation=self.implementation,
            project=_make_project(folder) if project is None else _copy_project(Path(project), folder),
            dbt=self.fake_venv(folder / "venv", dbt_version),
        )
        for rule in scenario.dbt:
            bench.dbt.script(**rule)
        dag = bench.make_dag() if make_dag is None else make_dag(bench)
        _require_producer(dag)
        bench.dbt.forget()  # what building the DAG has asked
        ended = run_dag(dag, is_producer_late=scenario.is_producer_late)
        outcome = WatcherOutcome(
            scenario=scenario,
            implementation=f"{self.implementation.import_root} {self.implementation.version}",
            dag=ended,
            calls=bench.dbt.calls,
            nodes=_nodes(bench),
        )
        outcome.require_names()
        if not scenario.is_behind_failure:
            _require_calls(outcome)
        return outcome


def _require_producer(dag: Any) -> None:
    if not any(map(is_producer, dag.task_ids)):
        raise ToolkitMisuse(
            f"DAG {dag.dag_id!r} has no task {PRODUCER!r}, so it does not run in ExecutionMode.WATCHER: give that mode "
            "in its ExecutionConfig."
        )


def _require_calls(outcome: WatcherOutcome) -> None:
    """Refuse a run that has not met what the scenario scripts: nothing that is required of it would say anything."""
    calls, scenario = outcome.calls, outcome.scenario
    if not calls:
        raise ToolkitMisuse(
            f"Scenario {scenario.id}: dbt was never called. Give bench.dbt_executable and InvocationMode.SUBPROCESS in "
            f"the ExecutionConfig of the DAG, and look at its tasks:\n\n{outcome.dag}"
        )
    for given in scenario.dbt:
        rule = Rule(command=given.get("command"), select=given.get("select"), nth=given.get("nth"))
        number = sum(call.fits(rule) for call in calls)
        if number < (rule.nth or 1):
            words = ", ".join(f"{name}={value!r}" for name, value in given.items())
            raise ToolkitMisuse(
                f"Scenario {scenario.id}: no call of dbt was the one of dbt=({{{words}}}, ...). {number} have its "
                f"command and selection.\n\n{outcome}"
            )


def _nodes(bench: WatcherBench) -> dict[str, tuple[str, ...]]:
    """Unique id -> names of each node: those that the fake dbt finds or has run, and those of the manifest."""
    found: dict[str, tuple[str, ...]] = {each: (each.split(".")[2],) for call in bench.dbt.calls for each in call.nodes}
    found |= {node.unique_id: (node.name,) for node in Project(bench.project).nodes}
    if bench.manifest.is_file():
        manifest = json.loads(bench.manifest.read_text(encoding="utf-8"))
        for unique_id, node in {**manifest["nodes"], **manifest.get("unit_tests", {})}.items():
            version = node.get("version")
            found[unique_id] = (node["name"], *([] if version is None else [f"{node['name']}_v{version}"]))
    return found


def _make_project(folder: Path) -> Path:
    project = DbtProjects(folder=folder)(NAME)
    project.seed("piers", "id,name\n1,North\n")
    for name, sql in {
        "staging": "select * from {{ ref('piers') }}",
        "mart": "select * from {{ ref('staging') }}",
        "report": "select * from {{ ref('mart') }}",
        "ships": "select 1 as id",
    }.items():
        project.model(name, sql)
    # Singular ones: the fake dbt reads no YAML.
    project.test("staging_is_whole", "select * from {{ ref('staging') }} where id is null")
    project.test("ships_at_piers", "select * from {{ ref('ships') }} join {{ ref('staging') }} using (id)")
    project.manifest()
    return project.path


def _copy_project(project: Path, folder: Path) -> Path:
    if not project.is_dir():
        raise ToolkitMisuse(f"project={str(project)!r}: there is no such folder.")
    return Path(shutil.copytree(project, folder / project.name, ignore=shutil.ignore_patterns(*_NOT_COPIED)))


def _fail() -> None:
    raise RuntimeError("the scenario wants this task to fail")


def _failing_task() -> Any:
    try:
        module = import_module("airflow.providers.standard.operators.python")
    except ImportError:  # Airflow 2 without that provider
        module = import_module("airflow.operators.python")
    return module.PythonOperator(task_id="before", python_callable=_fail)


@contextmanager
def watcher_scenarios(implementation: Implementation, folder: Path) -> Iterator[WatcherScenarios]:
    """The runs of one test: they share Airflow's Variables, which are in memory.

    :param implementation: the implementation under test.
    :param folder: an empty folder for projects and environments.
    """
    from pytest_cosmos_venv.airflow.variables import VariableStore
    from pytest_cosmos_venv.airflow.versions import this_airflow
    from pytest_cosmos_venv.environments.fake_venv import fake_venvs

    surroundings = {
        # Implementations that tell their makers about each run are asked not to; a test has no network.
        "DO_NOT_TRACK": "true",
        f"AIRFLOW__{implementation.import_root.upper()}__CACHE_DIR": str(folder / "cache"),
    }
    with (
        fake_venvs() as make_venv,
        mock.patch.dict("os.environ", surroundings),
        this_airflow().variables_in(VariableStore()),
    ):
        yield WatcherScenarios(folder=folder, implementation=implementation, fake_venv=make_venv)
