"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from pytest_cosmos_venv.dags.budget import ParseBudget
    from pytest_cosmos_venv.dags.shape import DagShape


class ShapeOfDag(Protocol):
    """What ``cosmos_dag_shape`` is."""

    def __call__(self, dag: Any, *, fields: Sequence[str] = ()) -> DagShape:
        """As ``dag_shape``."""


@pytest.fixture
def cosmos_dag_shape() -> ShapeOfDag:
    """A DAG as data, for comparison with a diff one can read: ``cosmos_dag_shape(dag)``.

    ``.data`` is plain data (tasks, groups, edges), ``.text`` a tree; both are the same in every process and on
    Airflow 2 and 3, so that a snapshot of syrupy or inline-snapshot keeps them. ``fields=("select",)`` takes in
    arguments of operators.
    """
    from pytest_cosmos_venv.dags.shape import dag_shape

    return dag_shape


@pytest.fixture
def cosmos_parse_budget() -> ParseBudget:
    """Fails when building a DAG starts a process, opens a connection, changes a file, or costs too much.

    ``cosmos_parse_budget(build, times=5)`` calls ``build`` and compares its cost with that of an equal plain DAG;
    ``milliseconds=200`` is an absolute bound; a path stands for a DAG file. ``with cosmos_parse_budget():`` only
    watches. What is meant so is allowed: ``may_run=["dbt"]``, ``may_connect=[...]``, ``may_write=[...]``.
    """
    from pytest_cosmos_venv.dags.budget import ParseBudget

    return ParseBudget()
