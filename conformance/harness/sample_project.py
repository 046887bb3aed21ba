"""The project that DAGs show, with its manifest: a seed and four models, two of which have tests."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosProject, DbtProject

from ..adapter import COMMANDS, Shape, WholeDag
from .harness import Harness

MODELS = ("arrivals", "berths", "crossings", "departures")
PARENTS = {("arrivals", "crossings"), ("berths", "crossings"), ("crossings", "departures")}
"""Pairs of a model and a model that reads it."""
_TESTS: dict[str | None, list[str]] = {"id": ["unique", "not_null"]}


@dataclass(frozen=True, kw_only=True)
class Harbor:
    """The project, and the harness that builds DAGs of it.

    :param harness: the harness of the test.
    :param project: the project; its files may be changed.
    :param manifest: the project's manifest, outside the project's folder.
    """

    harness: Harness
    project: DbtProject
    manifest: Path

    def render(self, *, load: str | None = "dbt_manifest", **parts: Any) -> Shape:
        """The shape of a DAG of the project, in virtualenv mode, built where no dbt is on PATH.

        :param load: value of ``LoadMode``; None: the DAG file names none.
        :param **parts: as of ``Harness.dag_plan``.
        """
        __tracebackhide__ = True
        manifest = {"manifest_path": str(self.manifest)} if load == "dbt_manifest" else {}
        parts["project"] = {**manifest, **parts.get("project", {})}
        parts["variables"] = {"PATH": path_without_dbt(), **parts.get("variables", {})}
        return self.harness.render(self.harness.dag_plan(self.project.path, load=load, **parts))

    def whole_dag(self, *, retries: int = 0, **parts: Any) -> WholeDag:
        """A DAG of the project, with its environment in a directory that is shared, to be run to its end.

        :param retries: how often each task is tried again.
        :param **parts: as of ``Harness.dag_plan``.
        """
        parts["project"] = {"manifest_path": str(self.manifest), **parts.get("project", {})}
        environments = {"virtualenv_dir": str(self.harness.shared_directory)}
        tries = {"default_args": {"retries": retries, "retry_delay": 0}}
        return WholeDag(plan=self.harness.dag_plan(self.project.path, execution=environments, dag=tries, **parts))


def harbor_of(harness: Harness, project: DbtProject) -> Harbor:
    """A project, and the harness that builds DAGs of it.

    :param harness: the harness of the test.
    :param project: the project, whose manifest is written.
    """
    manifest = project.manifest(harness.folder / f"{project.path.name}-manifest.json")
    return Harbor(harness=harness, project=project, manifest=manifest)


@pytest.fixture
def harbor(harness: Harness, cosmos_project: CosmosProject) -> Harbor:
    """A project that reads its models in the order of ``PARENTS``.

    :param harness: the harness of the test.
    :param cosmos_project: makes the project.
    """
    project = cosmos_project("harbor")
    # An implementation without an operator for seeds cannot show a seed.
    has_seeds = COMMANDS["seed"] in harness.adapter.has
    if has_seeds:
        project.seed("piers", "id,name\n1,north\n")
    project.model("arrivals", "select * from {{ ref('piers') }}" if has_seeds else "select 1 as id", tests=_TESTS)
    project.model("berths", "select 1 as id")
    project.model("crossings", "select id from {{ ref('arrivals') }} join {{ ref('berths') }} using (id)", tests=_TESTS)
    project.model("departures", "select * from {{ ref('crossings') }}")
    return harbor_of(harness, project)


def path_without_dbt() -> str:
    """PATH without the folders in which a dbt lies."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if not Path(folder, "dbt").exists())


def tasks_of(shape: Shape, node: str, *, operator: str = "Run") -> list[str]:
    """Ids of tasks for this node whose operator's class has this word in its name.

    :param shape: the shape of the DAG.
    :param node: name of a model, seed or snapshot.
    :param operator: a part of the class's name; empty: any class.
    """
    word = re.compile(rf"(?:^|[._]){re.escape(node)}(?:[._]|$)")
    return [name for name, task in shape.tasks.items() if word.search(name) and operator in task.operator]


def comes_before(shape: Shape, first: str, then: str) -> bool:
    """Whether a path leads from one task to the other.

    :param shape: the shape of the DAG.
    :param first: id of a task.
    :param then: id of the other task.
    """
    reached, to_look_at = set[str](), [then]
    while to_look_at:
        new = set(shape.tasks[to_look_at.pop()].upstream) - reached
        reached |= new
        to_look_at.extend(new)
    return first in reached
