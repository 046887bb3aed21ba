"""Tests of the cost of building a DAG, beside a plain DAG that is as large."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup

from pytest_cosmos_venv.dags.budget import OverBudget, ParseBudget
from pytest_cosmos_venv.dags.cost import plain_builder
from pytest_cosmos_venv.dags.shape import dag_shape

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
budget = ParseBudget()


def _dag(tasks: int = 20, work: int = 0) -> DAG:
    with DAG("harbor", start_date=START, schedule=None) as dag, TaskGroup("outer"), TaskGroup("inner"):
        before = None
        for number in range(tasks):
            sum(range(work))
            task = EmptyOperator(task_id=f"t{number}")
            if before is not None:
                before >> task
            before = task
    return dag


def test_the_plain_dag_is_as_large_in_every_respect() -> None:
    build, size = plain_builder([_dag(tasks=3)])

    (plain,) = (dag_shape(dag).data for dag in build())

    assert (size.tasks, size.edges) == (3, 2)
    assert [task["upstream"] for task in plain["tasks"].values()] == [[], ["task_0"], ["task_1"]]
    assert plain["groups"] == {"group_1": None, "group_2": "group_1"}
    assert {task["group"] for task in plain["tasks"].values()} == {"group_2"}


@pytest.mark.long
def test_who_does_more_is_told_how_much_more() -> None:
    with pytest.raises(OverBudget, match=r"took .* ms \(.* to .*\) of CPU time, .* Allowed: 3 times as much\.$"):
        budget(lambda: _dag(work=50_000), times=3, repeats=3)
    with pytest.raises(OverBudget, match=r"20 tasks and 19 edges: .* Allowed: 0\.1 ms\.$"):
        budget(_dag, milliseconds=0.1, repeats=3)


@pytest.mark.long
def test_several_dags_are_measured_together() -> None:
    cost = budget(lambda: [_dag(2), _dag(3)], repeats=3)

    assert (cost.size.dags, cost.size.tasks, cost.size.edges) == (2, 5, 3)
    assert "2 equal plain DAGs of 5 tasks and 3 edges" in cost.text


@pytest.mark.long
def test_a_dag_file_is_built_anew_for_each_repeat(tmp_path: Path) -> None:
    file = tmp_path / "harbor.py"
    source = "from airflow.sdk import DAG\nwith DAG('harbor', schedule=None) as dag: pass\n"
    file.write_text(source, encoding="utf-8")

    assert [dag.dag_id for dag in budget(file, milliseconds=10_000, repeats=3).dags] == ["harbor"]
    file.write_text(f"{source}open({str(tmp_path / 'x')!r}, 'w').close()\n", encoding="utf-8")
    with pytest.raises(OverBudget, match=r"wrote .*/x\n    at .*harbor.py:3"):
        budget(str(file))


def test_a_dag_file_is_read_as_airflow_reads_it(tmp_path: Path) -> None:
    (tmp_path / "names_of_piers.py").write_text("NAMES = ['north', 'south']\n", encoding="utf-8")
    file = tmp_path / "harbor.py"
    file.write_text(
        "from airflow.sdk import DAG, dag\nfrom names_of_piers import NAMES\n"
        "for name in NAMES:\n    with DAG(name, schedule=None): pass\n"
        "@dag(schedule=None)\ndef flow(): pass\nflow()\nkept = DAG('kept', schedule=None)\n",
        encoding="utf-8",
    )

    cost = budget(file, repeats=3)

    assert sorted(dag.dag_id for dag in cost.dags) == ["flow", "kept", "north", "south"]
    assert "names_of_piers" not in sys.modules
    assert str(tmp_path) not in sys.path
