"""What stands in the DAG file of a scenario? A project as a DbtDag or as DbtTaskGroups, of any implementation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from pytest_cosmos_venv.implementation import Implementation
from pytest_cosmos_venv.seeds.dag_setup import Setup, member
from pytest_cosmos_venv.seeds.places import Place
from pytest_cosmos_venv.seeds.project import SeedProject
from pytest_cosmos_venv.seeds.workbench import Dbt

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
_MODES_WITH_INVOCATION = ("local",)


@dataclass(frozen=True, kw_only=True)
class DagFile:
    """What one parse of the file needs.

    :param operator_args: of every task.
    """

    implementation: Implementation
    setup: Setup
    project: SeedProject
    dbt: Dbt
    operator_args: Mapping[str, Any]

    def build(self, dag_id: str) -> Any:
        """The DAG, as parsing its file makes it."""
        places = [place for place in self.setup.places if place.dag_id == dag_id]
        if not places[0].groups:
            dag_class = self.implementation.module().DbtDag
            return dag_class(dag_id=dag_id, schedule=None, start_date=START, **self._arguments())
        from airflow import DAG

        dag_class = DAG
        dag = dag_class(dag_id=dag_id, schedule=None, start_date=START)
        for place in places:
            self._add_group(dag, place)
        return dag

    def _add_group(self, dag: Any, place: Place) -> None:
        *outer, own = place.groups
        with ExitStack() as stack:
            stack.enter_context(dag)
            for group in outer:
                stack.enter_context(_outer_group(dag, group))
            self.implementation.module().DbtTaskGroup(group_id=own, **self._arguments())

    def _arguments(self) -> dict[str, Any]:
        module = self.implementation.module()
        profile, target, profiles_yml = self.project.profile
        manifest = {"manifest_path": self.project.manifest} if self.setup.load == "manifest" else {}
        return {
            "project_config": module.ProjectConfig(self.project.path, **manifest),
            "profile_config": module.ProfileConfig(profile, target, profiles_yml_filepath=profiles_yml),
            "execution_config": module.ExecutionConfig(**self._execution()),
            "render_config": module.RenderConfig(**self._render()),
            "operator_args": dict(self.operator_args),
        }

    def _execution(self) -> dict[str, Any]:
        mode = self.setup.execution_mode
        given = {"execution_mode": self._member("ExecutionMode", mode, "execution_mode"), **self.dbt.execution}
        if self.dbt.executable is not None:
            given["dbt_executable_path"] = str(self.dbt.executable)
        # Where dbt can be imported, it would be run inside this process otherwise: the real one.
        if mode.lower() in _MODES_WITH_INVOCATION:
            given["invocation_mode"] = self._member("InvocationMode", "subprocess", "invocation_mode")
        return given

    def _render(self) -> dict[str, Any]:
        setup = self.setup
        load = "dbt_manifest" if setup.load == "manifest" else "dbt_ls"
        given: dict[str, Any] = {"load_method": self._member("LoadMode", load, "load"), **self.dbt.render}
        if setup.load == "dbt_ls" and self.dbt.executable is not None:
            given["dbt_executable_path"] = str(self.dbt.executable)
            given["invocation_mode"] = self._member("InvocationMode", "subprocess", "invocation_mode")
        if setup.behavior is not None:
            behavior = self._member("SeedRenderingBehavior", setup.behavior, "behavior")
            given["seed_rendering_behavior"] = behavior
        if setup.test_behavior is not None:
            given["test_behavior"] = self._member("TestBehavior", setup.test_behavior, "test_behavior")
        return given

    def _member(self, enum: str, text: str, parameter: str) -> Any:
        return member(self.implementation, enum, text, parameter=parameter)


def _outer_group(dag: Any, group_id: str) -> Any:
    """The plain group of this id."""
    try:
        from airflow.sdk import TaskGroup
    except ImportError:  # Airflow 2
        from airflow.utils.task_group import TaskGroup  # type: ignore[import-not-found, no-redef, unused-ignore]
    group_class: Any = TaskGroup
    return group_class(group_id=group_id, dag=dag)
