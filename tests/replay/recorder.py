"""The bench on which a scenario builds and runs DAGs, and the record of what is seen of them from outside.

Of cosmos_venv and pytest_cosmos_venv only public names are imported: the recorder works with each release.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from airflow.serialization.serialized_objects import DagSerialization

from cosmos_venv import DbtDag, ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from pytest_cosmos_venv import CosmosAirflow, CosmosProject, DagOutcome, DbtCall, DbtProject, FakeVenv, NodeOutcome
from pytest_cosmos_venv.dags.shape import dag_shape
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.replay.normal import Normal, last_line
from tests.replay.projects import START, make_harbor

DEPTH_OF_TEMPORARY_FILES = 3
_OF_TASK = {f"AIRFLOW_CTX_{name}" for name in "DAG_ID DAG_OWNER DAG_RUN_ID LOGICAL_DATE TASK_ID TRY_NUMBER".split()}
_OF_THE_SESSION = (
    "PYTEST",
    "PYTHON",
    "COLUMNS",
    "LINES",
    "REPLAY",
    "__AIRFLOW",
    "_AIRFLOW",
    "XDG",
    "PWD",
    "SHLVL",
    "LANG",
    "UV_CACHE",
)


@dataclass(kw_only=True)
class Bench:
    """One scenario's folders, dbts and record.

    :param folder: the folder of the scenario; everything that it makes is below.
    :param temporary: the folder for temporary files of this process and its children.
    :param projects: makes dbt projects below ``folder``.
    :param airflow: runs a DAG to its end.
    :param patch: sets environment variables until the end of the scenario.
    :param fixture: returns a further fixture of the toolkit, by name.
    :param checkout: the checkout, with the environments of the real dbts.
    :param shared: a folder of all processes of the replay, for what is the same in several scenarios.
    :param further_calls: returns the calls of a dbt that is no fake of the toolkit.
    """

    folder: Path
    temporary: Path
    projects: CosmosProject
    airflow: CosmosAirflow
    patch: pytest.MonkeyPatch
    fixture: Callable[[str], Any]
    checkout: Path
    shared: Path
    further_calls: Callable[[], Sequence[str]] = list
    _further_fakes: list[FakeVenv] = field(default_factory=list)
    _steps: list[dict[str, Any]] = field(default_factory=list)
    _dags: dict[str, Any] = field(default_factory=dict)
    _told_calls: int = 0
    _told_further: int = 0
    _files_before: dict[Path, frozenset[Path]] = field(default_factory=dict)

    @cached_property
    def harbor(self) -> DbtProject:
        """The dbt project of most scenarios, with its manifest."""
        project = make_harbor(self.projects)
        project.manifest()
        return project

    @cached_property
    def fake(self) -> FakeVenv:
        """The fake dbt of LOCAL mode."""
        return self.fixture("cosmos_fake_venv")(dbt_version="1.11.0")  # type: ignore[no-any-return]

    @cached_property
    def wheels(self) -> Wheelhouse:
        """The packages that VIRTUALENV mode installs, the fake dbt among them."""
        return self.fixture("cosmos_dbt")  # type: ignore[no-any-return]

    @property
    def local(self) -> dict[str, Any]:
        """Arguments of ``ExecutionConfig`` for the fake dbt as a process."""
        return {"execution_mode": "local", "invocation_mode": "subprocess", "dbt_executable_path": self.fake.dbt}

    @property
    def virtualenv(self) -> dict[str, Any]:
        """Arguments of ``ExecutionConfig`` for environments that are kept."""
        _ = self.wheels
        return {"execution_mode": "virtualenv", "virtualenv_dir": self.folder / "environments"}

    @property
    def profiles_yml(self) -> dict[str, Any]:
        """Arguments of ``ProfileConfig`` for the project's own file."""
        return {
            "profile_name": self.harbor.name,
            "target_name": "dev",
            "profiles_yml_filepath": self.harbor.profiles_yml,
        }

    def another_fake(self, **given: Any) -> FakeVenv:
        """Return a further fake dbt, whose calls are recorded too.

        :param given: arguments of ``cosmos_fake_venv``.
        """
        made: FakeVenv = self.fixture("cosmos_fake_venv")(**given)
        self._further_fakes.append(made)
        return made

    def know_tests(
        self,
        command: str,
        *,
        of: FakeVenv | Wheelhouse | None = None,
        failing_test: str | None = None,
        status: str = "fail",
        nth: int | None = None,
        crash: signal.Signals | None = None,
        after: str | None = None,
        **nodes: str,
    ) -> None:
        """Let the fake dbt know the tests of YAML files, which it does not read, and say how nodes end.

        :param command: for which command of dbt.
        :param of: the fake; None: that of LOCAL mode.
        :param failing_test: the name of a test that does not pass; None: all pass.
        :param status: how that test ends.
        :param nth: only for the call of this number.
        :param crash: the signal by which dbt dies.
        :param after: the node after which it dies.
        :param nodes: name of a model or seed -> how it ends.
        """
        known: dict[str, str | NodeOutcome] = dict(nodes)
        for unique_id in self.harbor.manifest_data()["nodes"]:
            kind, _, name, *digest = unique_id.split(".")
            if kind == "test" and digest:
                known[unique_id] = status if name == failing_test else "pass"
        (of or self.fake).script(command, nodes=known, nth=nth, crash=crash, after=after)

    def run_fake(self, *words: str) -> str:
        """Run the fake dbt in the project, and return what it prints."""
        done = subprocess.run(
            [self.fake.dbt, "--quiet", *words], cwd=self.harbor.path, capture_output=True, text=True, check=True
        )
        return done.stdout

    def set(self, **settings: object) -> None:
        """Set options of ``[cosmos_venv]``."""
        for name, value in settings.items():
            self.patch.setenv(f"AIRFLOW__COSMOS_VENV__{name.upper()}", str(value))

    def configs(
        self,
        execution: Mapping[str, Any] | None = None,
        *,
        project: Mapping[str, Any] | None = None,
        profile: Mapping[str, Any] | None = None,
        **render: Any,
    ) -> dict[str, Any]:
        """Return the configurations of a DbtDag or DbtTaskGroup, which loads the manifest unless told otherwise.

        :param execution: arguments of ``ExecutionConfig``; None: ``local``.
        :param project: further arguments of ``ProjectConfig``.
        :param profile: arguments of ``ProfileConfig``; None: ``profiles_yml``.
        :param render: arguments of ``RenderConfig``.
        """
        render = {"load_method": "dbt_manifest", **render}
        given = {"dbt_project_path": self.harbor.path, "install_dbt_deps": False, **(project or {})}
        if render["load_method"] in ("dbt_manifest", "automatic"):
            given.setdefault("manifest_path", self.harbor.path / "target" / "manifest.json")
        return {
            "project_config": ProjectConfig(**given),
            "profile_config": ProfileConfig(**(self.profiles_yml if profile is None else profile)),
            "execution_config": ExecutionConfig(**(self.local if execution is None else execution)),
            "render_config": RenderConfig(**render),
        }

    def dag(
        self,
        execution: Mapping[str, Any] | None = None,
        *,
        dag_id: str = "harbor",
        of_dag: Mapping[str, Any] | None = None,
        **configured: Any,
    ) -> DbtDag:
        """Build a DAG and record its tasks.

        :param execution: as for ``configs``.
        :param dag_id: id of the DAG.
        :param of_dag: further arguments of ``DbtDag``.
        :param configured: as for ``configs``.
        """
        dag = self.unseen_dag(execution, dag_id=dag_id, of_dag=of_dag, **configured)
        self.see(dag)
        return dag

    def unseen_dag(
        self,
        execution: Mapping[str, Any] | None = None,
        *,
        dag_id: str,
        of_dag: Mapping[str, Any] | None = None,
        **configured: Any,
    ) -> DbtDag:
        """Build a DAG as ``dag`` does, and record nothing."""
        self._look_at_files()
        fixed: dict[str, Any] = {"dag_id": dag_id, "schedule": None, "start_date": START}
        return DbtDag(**fixed, **self.configs(execution, **configured), **(of_dag or {}))

    def count(self, dag: Any) -> None:
        """Record how many tasks of each kind a DAG has, how many edges, and its size."""
        tasks = dag_shape(dag).data["tasks"].values()
        self._dags[dag.dag_id] = {
            "tasks": dict(sorted(Counter(task["type"] for task in tasks).items())),
            "edges": sum(len(task["upstream"]) for task in tasks),
            "bytes": self._size(dag),
        }

    def see(self, dag: Any, name: str | None = None) -> None:
        """Record the tasks of a DAG.

        :param name: its name in the record; None: its id.
        """
        data = dag_shape(dag).data
        calls = self._calls_since()
        self._dags[name or dag.dag_id] = {
            "tasks": {task_id: _told_task(task) for task_id, task in data["tasks"].items()},
            "bytes": self._size(dag),
            **(calls if calls["calls"] else {}),
        }

    def run(self, dag: Any, name: str | None = None, **options: Any) -> DagOutcome:
        """Run a DAG to its end and record what became of its tasks.

        :param name: the name of the run in the record; None: the id of the DAG.
        :param options: those of ``cosmos_airflow``.
        """
        self._look_at_files()
        outcome: DagOutcome = self.airflow.run(dag, logical_date=START, **options)
        failed = {
            task.task_id: f"{type(task.exception).__name__}: {self._normal(last_line(str(task.exception)))}"
            for task in outcome.tasks.values()
            if task.exception is not None
        }
        tries = {task.task_id: task.tries for task in outcome.tasks.values() if task.tries > 1}
        self._steps.append(
            {
                "run": name or dag.dag_id,
                "states": dict(sorted(outcome.states.items())),
                "errors": dict(sorted(failed.items())),
                **({"tries": dict(sorted(tries.items()))} if tries else {}),
                "assets": sorted(self._normal(asset.uri) for asset in outcome.assets),
                **self._calls_since(),
            }
        )
        return outcome

    def tell(self, what: str, value: object) -> None:
        """Record something else, such as the rows of a table."""
        self._steps.append({what: json.loads(self._normal(json.dumps(value, sort_keys=True)))})

    def refused(self, what: str, build: Callable[[], object]) -> None:
        """Record with which error something is refused.

        :param build: what should raise it.
        """
        try:
            build()
        except Exception as error:  # noqa: BLE001 - the error is what is recorded
            self.tell(what, f"{type(error).__name__}: {last_line(str(error))}")
        else:
            self.tell(what, "no error")

    def record(self) -> dict[str, Any]:
        """Return what was seen, as plain data that is equal in each run of equal code."""
        left = {
            "project": self._new_files(self.harbor.path),
            "temporary": self._new_files(self.temporary, depth=DEPTH_OF_TEMPORARY_FILES),
        }
        return {"dags": self._dags, "steps": self._steps, "left": left}

    def _size(self, dag: Any) -> int:
        return len(self._normal(json.dumps(DagSerialization.to_dict(dag), sort_keys=True)).encode())

    @cached_property
    def _normal(self) -> Normal:
        places = {
            self.harbor.path: "<project>",
            self.temporary: "<temp>",
            self.folder: "<folder>",
            Path(os.environ["AIRFLOW_HOME"]): "<home>",
            self.checkout: "<checkout>",
        }
        return Normal(places)

    def _fakes(self) -> Iterator[FakeVenv | Wheelhouse]:
        yield from self._further_fakes
        yield from (vars(self)[name] for name in ("fake", "wheels") if name in vars(self))

    def _calls_since(self) -> dict[str, Any]:
        """The calls of dbt since the last look: command lines with exit codes, and names of variables by command."""
        calls = sorted((call for fake in self._fakes() for call in fake.calls), key=lambda call: call.started_at)
        new, self._told_calls = calls[self._told_calls :], len(calls)
        variables: dict[str, set[str]] = {}
        for call in new:
            variables.setdefault(str(call.command), set()).update(_names_of_variables(call))
        further = list(self.further_calls())
        new_further, self._told_further = further[self._told_further :], len(further)
        return {
            # Airflow takes tasks that do not depend on each other in any order.
            "calls": sorted(
                [
                    *(f"dbt {self._normal(shlex.join(call.arguments))} = {call.exit_code}" for call in new),
                    *map(self._normal, new_further),
                ]
            ),
            "variables": _by_set(variables),
            **({"environments": len({call.prefix for call in new})} if new else {}),
        }

    def _look_at_files(self) -> None:
        """Remember the files that are there before the first DAG."""
        for folder in (self.harbor.path, self.temporary):
            self._files_before.setdefault(folder, frozenset(folder.rglob("*")))

    def _new_files(self, folder: Path, *, depth: int = 100) -> list[str]:
        new = set(folder.rglob("*")) - self._files_before.get(folder, frozenset())
        return sorted({self._normal(str(path)) for path in new if len(path.relative_to(folder).parts) <= depth})


def _told_task(task: Mapping[str, Any]) -> str:
    marks = [mark for mark in ("mapped", "setup", "teardown") if mark in task]
    rule = [] if task["trigger_rule"] == "all_success" else [task["trigger_rule"]]
    after = f" after {', '.join(task['upstream'])}" if task["upstream"] else ""
    return f"{' '.join([task['type'], *marks, *rule])}{after}"


def _by_set(variables: Mapping[str, set[str]]) -> dict[str, str]:
    """Names of variables -> the commands that got them."""
    commands: dict[str, list[str]] = {}
    for command, names in sorted(variables.items()):
        commands.setdefault(" ".join(sorted(names)), []).append(command)
    return {", ".join(of): names for names, of in commands.items()}


def _names_of_variables(call: DbtCall) -> set[str]:
    """The names of the variables that only dbt has, and, with a minus, of the variables that only the worker has."""
    own, of_worker = (
        {name for name in variables if not name.startswith(_OF_THE_SESSION)} for variables in (call.env, os.environ)
    )
    of_worker -= _OF_TASK  # left there by the task of an earlier scenario
    if own.issuperset(_OF_TASK):
        own = (own - _OF_TASK) | {"AIRFLOW_CTX_*"}
    return (own - of_worker) | {f"-{name}" for name in of_worker - own}
