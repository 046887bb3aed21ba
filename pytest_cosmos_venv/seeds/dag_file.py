"""The DAG file of a scenario: the places where the project is rendered, the author's choices, and the resulting DAG.

The project is rendered as a DbtDag or as DbtTaskGroups of any implementation. The choices are names of members of
Cosmos's enums.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.implementation import Implementation
from pytest_cosmos_venv.seeds.environment import Dbt
from pytest_cosmos_venv.seeds.project import SeedProject

SEPARATOR = "/"
"""The character between a DAG and its groups; Airflow allows it in no id."""
_ENUMS = {"SeedRenderingBehavior": "behavior", "TestBehavior": "test_behavior", "ExecutionMode": "execution_mode"}
LOADS = {"manifest": "a manifest", "dbt_ls": "dbt ls"}
START = datetime(2026, 1, 1, tzinfo=timezone.utc)
_MODES_WITH_INVOCATION = ("local",)


@dataclass(frozen=True, kw_only=True)
class Place:
    """One rendering of the project.

    :param dag_id: the id of the DAG.
    :param groups: the ids of the groups, from the outermost group to the project's; empty: the DAG is a DbtDag.
    """

    dag_id: str
    groups: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """The beginning of the ids of its tasks."""
        return "".join(f"{group}." for group in self.groups)

    def __str__(self) -> str:
        return SEPARATOR.join((self.dag_id, *self.groups))


def read_places(texts: Iterable[str]) -> tuple[Place, ...]:
    """Return the places of texts such as ``("harbor", "port/north")``: a DbtDag, and a DbtTaskGroup in a DAG.

    :param texts: the texts; one text alone is one place.
    :raises ToolkitMisuse: there is no text, a text is empty or given twice, or a DAG would be a DbtDag and hold groups.
    """
    texts = (texts,) if isinstance(texts, str) else tuple(texts)
    places = tuple(_read_place(text) for text in texts)
    if not places or len(set(places)) < len(places):
        raise ToolkitMisuse(
            f"places={texts!r}: give each place once, and at least one, such as 'harbor' or 'port/north'."
        )
    own = {place.dag_id for place in places if not place.groups}
    shared = sorted(own.intersection(place.dag_id for place in places if place.groups))
    if shared:
        raise ToolkitMisuse(
            f"places={texts!r}: {shared[0]!r} alone is a DbtDag, which holds no other groups; give one another name."
        )
    return places


def find_place(places: Sequence[Place], text: str | None) -> Place:
    """Return the place of a text.

    :param places: the existing places, at least one.
    :param text: the text; None: the first place.
    :raises ToolkitMisuse: no place has this text.
    """
    found = next((place for place in places if text in (None, str(place))), None)
    if found is None:
        raise ToolkitMisuse(f"place={text!r}: there is {', '.join(map(str, places))}.")
    return found


def _read_place(text: str) -> Place:
    dag_id, *groups = text.split(SEPARATOR)
    if not all((dag_id, *groups)):
        raise ToolkitMisuse(f"place {text!r}: write 'harbor' for a DbtDag, 'port/north' for a DbtTaskGroup in a DAG.")
    return Place(dag_id=dag_id, groups=tuple(groups))


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The choices of a DAG file; None leaves a parameter to the implementation.

    :param places: the renderings of the project.
    :param behavior: a name of ``SeedRenderingBehavior``.
    :param load: ``manifest`` or ``dbt_ls``.
    :param test_behavior: a name of ``TestBehavior``.
    :param execution_mode: a name of ``ExecutionMode``.
    """

    places: tuple[Place, ...]
    behavior: str | None = None
    load: str = "manifest"
    test_behavior: str | None = None
    execution_mode: str = "local"

    def __post_init__(self) -> None:
        if self.load not in LOADS:
            raise ToolkitMisuse(f"load={self.load!r}: give one of {', '.join(LOADS)}.")

    def check(self, implementation: Implementation) -> None:
        """Refuse a choice that the enums of the implementation do not have.

        :param implementation: the implementation under test.
        :raises ToolkitMisuse: an enum has no such member; the text names the parameter and the existing members.
        """
        for enum, parameter in _ENUMS.items():
            text = getattr(self, parameter)
            if text is not None:
                member(implementation, enum, text, parameter=parameter)

    def __str__(self) -> str:
        words = [f"{'DbtTaskGroup' if place.groups else 'DbtDag'} {place}" for place in self.places]
        words += [self.behavior or "no seed_rendering_behavior given", f"loaded from {LOADS[self.load]}"]
        words += [f"test behavior {self.test_behavior}"] if self.test_behavior else []
        return ", ".join([*words, f"execution mode {self.execution_mode}"])


def member(implementation: Implementation, enum: str, text: str, *, parameter: str) -> Any:
    """Return a member of an enum of the implementation's ``constants``.

    :param implementation: the implementation under test.
    :param enum: the name of the enum.
    :param text: the name or the value of the member, in upper or lower case.
    :param parameter: the parameter of the fixture, for the error.
    :raises ToolkitMisuse: the implementation has no such enum or member.
    """
    members: type[Enum] | None = getattr(implementation.module("constants"), enum, None)
    if members is None:
        raise ToolkitMisuse(f"{parameter}={text!r}: {implementation.import_root}.constants has no {enum}.")
    found = next((one for one in members if text.lower() in (one.name.lower(), str(one.value).lower())), None)
    if found is None:
        raise ToolkitMisuse(
            f"{parameter}={text!r}: {enum} of {implementation.import_root} has "
            f"{', '.join(one.name.lower() for one in members)}."
        )
    return found


@dataclass(frozen=True, kw_only=True)
class ScenarioDagFile:
    """The content of the DAG file, for one parse.

    :param implementation: the implementation under test.
    :param setup: the author's choices.
    :param project: the project on the disk.
    :param dbt: the dbt of the execution mode.
    :param operator_args: arguments of every operator.
    """

    implementation: Implementation
    setup: Setup
    project: SeedProject
    dbt: Dbt
    operator_args: Mapping[str, Any]

    def build(self, dag_id: str) -> Any:
        """Return the DAG, as parsing its file makes it.

        :param dag_id: the id of the DAG, which one of the places names.
        """
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
        # With InvocationMode.DBT_RUNNER, an installed real dbt would run inside this process instead of the fake.
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
