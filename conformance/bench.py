"""With what does a test judge an implementation? A dbt project, packages to install, and processes for its tasks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import replace as with_changes
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_cosmos_venv import DbtCall, Point, Sighting, TaskRace, Timeline, Wheelhouse

from .adapter import Adapter, DagPlan, Outcome, Rendering, Shape, Task
from .places import PlaceError
from .processes import comes_true
from .task_process import ask, work

if TYPE_CHECKING:
    from pytest_cosmos_venv import RunningRace

REQUIREMENTS = ("dbt-core", "dbt-duckdb")
START_DATE = datetime(2026, 1, 1, tzinfo=timezone.utc)
DEADLINE = 60.0
"""Seconds that one task may take; a sound one takes two on a slow machine."""
GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL, as Airflow 3 has them."""
_ALONE = {"emit_datasets": False, "should_store_compiled_sql": False}
"""Without Airflow around it an operator has nobody to tell of assets, and no rendered fields to write to."""
_RENDER = {"load_method": "dbt_manifest", "test_behavior": "none", "emit_datasets": False}


class HarnessError(Exception):
    """The suite itself has failed: nothing is said about the implementation."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """Tasks that have ended, each in a process of its own.

    :param outcomes: in the order of the contenders; of one that was killed the state is ``failed``.
    :param timeline: who did what when.
    :param left_behind: processes that were there seconds after the last task had ended, in words.
    """

    outcomes: tuple[Outcome, ...]
    timeline: Timeline
    left_behind: tuple[str, ...]


class RunningTasks:
    """Tasks that run, each in a process of its own."""

    def __init__(self, race: RunningRace) -> None:
        self._race = race

    @property
    def pids(self) -> tuple[int, ...]:
        return self._race.pids

    @property
    def running(self) -> tuple[int, ...]:
        """Indexes of those that have not ended."""
        return self._race.running

    def wait_for(self, point: str | Point, *, deadline: float | None = None) -> Sighting:
        """Wait until one of them is there: ``creating``, ``locked``, ``waiting``, ``installing``, ``running``, a Point.

        :raises RaceFailure: nobody comes there in time.
        """
        __tracebackhide__ = True
        return self._race.wait_for(point, deadline=deadline)

    def wait_for_one_of(self, *points: str, deadline: float | None = None) -> Sighting:
        """The same for several, whichever is reached first."""
        __tracebackhide__ = True
        looks = [self._race.point(name).look for name in points]
        either = Point(" or ".join(points), lambda: next((seen for look in looks if (seen := look())), None))
        return self._race.wait_for(either, deadline=deadline)

    def stop(self, index: int = 0) -> None:
        """Let it stand still, with all that it started, until ``resume``."""
        self._race.stop(index)

    def resume(self, index: int = 0) -> None:
        self._race.resume(index)

    def terminate(self, index: int = 0) -> bool:
        """End it as Airflow does: SIGTERM, and SIGKILL for the task's process where it has not ended 5 s later.

        :return: whether SIGTERM was enough.
        """
        os.kill(self._race.pids[index], signal.SIGTERM)
        if comes_true(lambda: index not in self._race.running, deadline=GRACE):
            return True
        self._race.kill(index)
        return False

    def kill(self, index: int = 0) -> None:
        """End its process alone by SIGKILL, as the kernel does it that is short of memory."""
        self._race.kill(index)

    def finish(self) -> Finished:
        """Wait until all have ended, and for what they have left."""
        __tracebackhide__ = True
        race = self._race.finish(check=False)
        return Finished(
            outcomes=tuple(_outcome(each) for each in race.outcomes),
            timeline=race.timeline,
            left_behind=race.left_behind,
        )


def _outcome(contender: Any) -> Outcome:
    if isinstance(contender.value, Outcome):
        log = contender.output if len(contender.output) > len(contender.value.log) else contender.value.log
        return with_changes(contender.value, log=log)
    if contender.exception is not None:
        if contender.exception.startswith(PlaceError.__name__):
            pytest.skip(contender.exception)
        raise HarnessError(f"{contender.in_words}\n{contender.traceback}")
    return Outcome(state="failed", exception=contender.in_words, log=contender.output)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a test has.

    :param adapter: the implementation.
    :param folder: empty, for this test alone.
    :param wheelhouse: where environments are installed from; what its dbt is to do, and what it was told.
    """

    adapter: Adapter
    folder: Path
    wheelhouse: Wheelhouse
    race: TaskRace

    @property
    def project(self) -> Path:
        """A dbt project with one model, one seed, one snapshot and a source; made when it is first asked for."""
        folder = self.folder / "shop"
        if not folder.exists():
            _write(folder, _PROJECT)
        return folder

    @property
    def virtualenv_dir(self) -> Path:
        """A directory that does not exist."""
        return self.folder / "virtualenvs"

    @property
    def profile(self) -> dict[str, Any]:
        """Arguments of ``ProfileConfig``."""
        return {
            "profile_name": "shop",
            "target_name": "dev",
            "profiles_yml_filepath": str(self.project / "profiles.yml"),
        }

    @property
    def _environment_arguments(self) -> dict[str, list[str]]:
        return {"py_requirements": list(REQUIREMENTS), "pip_install_options": self.wheelhouse.pip_install_options}

    def task(
        self,
        command: str = "run",
        *,
        under_airflow: bool = False,
        standard_input: str | None = None,
        place: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> Task:
        """A task with a sound project, profile and requirements; in a temporary environment unless it is told one.

        :param arguments: of the operator, beside or instead of these.
        """
        given: dict[str, Any] = {
            "project_dir": str(self.project),
            **self._environment_arguments,
            **({"macro_name": "grant"} if command == "run-operation" else {}),
            **({} if under_airflow else _ALONE),
        }
        profile = arguments.pop("profile", self.profile)
        return Task(
            command=command,
            profile=profile,
            arguments=given | arguments,
            under_airflow=under_airflow,
            standard_input=standard_input,
            place=place or {},
        )

    def kept_task(self, command: str = "run", **arguments: Any) -> Task:
        """The same in ``virtualenv_dir``."""
        return self.task(command, **{"virtualenv_dir": str(self.virtualenv_dir), **arguments})

    def dag_plan(self, manifest: Path, *, group: str | None = None, **arguments: Any) -> DagPlan:
        """A DAG of a project in virtualenv mode, loaded from its manifest.

        :param manifest: in the ``target`` folder of the project.
        :param group: as of ``DagPlan``.
        :param arguments: ``execution``, ``render``, ``operator_args``, ``dag``: over what stands here.
        """
        project = manifest.parent.parent
        profile = {"profile_name": project.name, "target_name": "dev"}
        execution = {"execution_mode": "virtualenv", **arguments.get("execution", {})}
        return DagPlan(
            project={"dbt_project_path": str(project), "manifest_path": str(manifest), "project_name": project.name},
            profile={**profile, "profiles_yml_filepath": str(project / "profiles.yml")},
            execution=execution,
            render=_RENDER | arguments.get("render", {}),
            operator_args={
                **(self._environment_arguments if execution["execution_mode"] == "virtualenv" else {}),
                "should_store_compiled_sql": False,
                **arguments.get("operator_args", {}),
            },
            dag={"dag_id": "harbor", "schedule": None, "start_date": START_DATE, **arguments.get("dag", {})},
            group=group,
        )

    def run(self, *tasks: Task, variables: Mapping[str, str] | None = None, deadline: float = DEADLINE) -> Outcome:
        """Run one task after the other, in one process, to their ends.

        :return: the first outcome that is no success, or the last.
        :param variables: of the process's environment, beside those that lead installers to the wheelhouse.
        """
        __tracebackhide__ = True
        with self.start(tasks, contenders=1, variables=variables, deadline=deadline) as running:
            return running.finish().outcomes[0]

    @contextmanager
    def start(
        self,
        tasks: Task | Sequence[Task],
        *,
        contenders: int | None = None,
        variables: Mapping[str, str] | None = None,
        deadline: float = DEADLINE,
        **options: Any,
    ) -> Iterator[RunningTasks]:
        """Start tasks at the same instant, each in a process of its own; leaving the block ends what is left.

        :param contenders: how many processes, where not one for each task; one task is run by each of them.
        :param options: of ``cosmos_task_race``: ``kill_at``, ``stop_at``, ``continue_at``, ``victim``, ``grace`` ...
        """
        __tracebackhide__ = True
        several = [tasks] * (contenders or 1) if isinstance(tasks, Task) else list(tasks)
        environment = {**self.wheelhouse.environment, **(variables or {})}
        with self.race.start(
            work,
            self.adapter.named,
            several,
            environment,
            contenders=contenders or len(several),
            prepare=self._prepared,
            deadline=deadline,
            **options,
        ) as race:
            yield RunningTasks(race)

    def ask(self, question: str, **arguments: Any) -> Any:
        """The answer to a question about the implementation, found in a process of its own: see ``questions``.

        :raises AssertionError: the implementation cannot be asked; with what it raised.
        """
        __tracebackhide__ = True
        race = self.race(ask, self.adapter.named, question, arguments, contenders=1, prepare=self._prepared)
        return race.values[0]

    def rendering(self, **parts: Any) -> Rendering:
        """A DAG of the project in virtualenv mode.

        :param parts: of ``Rendering``, instead of these; ``execution`` and ``operator_args`` beside them.
        """
        beside = ("project", "execution", "operator_args")
        given: dict[str, Mapping[str, Any]] = {name: parts.pop(name, {}) for name in beside}
        arguments = {"py_requirements": list(REQUIREMENTS), "pip_install_options": self.wheelhouse.pip_install_options}
        return Rendering(
            project=given["project"] or {"dbt_project_path": str(self.project)},
            profile=parts.pop("profile", None) or self.profile,
            execution={"execution_mode": "virtualenv", **given["execution"]},
            operator_args={**arguments, **given["operator_args"]},
            **parts,
        )

    def render(self, rendering: Rendering) -> Shape:
        """Build a DAG, in a process of its own.

        :raises AssertionError: there is no answer; with what happened instead.
        """
        __tracebackhide__ = True
        shape: Shape = self.ask("render", rendering=rendering)
        return shape

    @property
    def _prepared(self) -> list[str]:
        """What the process has imported that tasks are forked from; the same each time, so that one is enough."""
        return [*self.adapter.modules(), f"{__package__}.prepared_airflow"]

    def calls(self, command: str | None = None) -> list[DbtCall]:
        """What installed look-alikes of dbt were told, in order; version questions apart.

        :param command: only those of it, such as ``run`` or ``docs generate``.
        """
        return [call for call in self.wheelhouse.calls if command is None or call.command == command]


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


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
