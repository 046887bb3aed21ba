"""Prints whether tasks made and put in order by us serialise as those that Airflow's own constructors and ``>>`` make.

A script, so that either Airflow can run it: ``python serialised_dags.py SEED [SEED ...]``.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from cosmos_venv import ProfileConfig
from cosmos_venv.compat import DAG, BaseOperator, EmptyOperator, TaskGroup
from cosmos_venv.rendering.airflow_tasks import TaskMaker, TaskOrGroup, draw_edges, draw_outer_edges

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def main(seeds: list[int]) -> None:
    """Compare both ways, for a DAG of each seed, and print the verdict as JSON."""
    edges, sizes = [], []
    for seed in seeds:
        rng = random.Random(seed)  # noqa: S311 - shapes by chance, the same for each seed
        shape = [(f"n{number}", rng.random() < 0.5) for number in range(12)]
        pairs = [pair for pair in itertools.combinations(range(12), 2) if rng.random() < 0.3]
        ours, airflows = (serialised(shape, pairs, way) for way in (by_us, by_airflow))
        edges.append(ours == airflows)
        sizes.append(len(json.dumps(ours)))
    copied, made = (serialised_operators(way) for way in (True, False))
    print(json.dumps({"edges": edges, "operators": copied == made, "sizes": sizes}))


def serialised(shape: list[tuple[str, bool]], pairs: list[tuple[int, int]], order: Order) -> Any:
    """Nodes that are tasks or groups of two, each pair of them in order, within a group of the DAG."""
    with DAG("edges", start_date=START, schedule=None) as dag, TaskGroup("outer"):
        nodes: list[Node] = []
        for name, is_group in shape:
            if is_group:
                with TaskGroup(name) as group:
                    nodes.append((group, EmptyOperator(task_id="run"), EmptyOperator(task_id="test")))
            else:
                task = EmptyOperator(task_id=name)
                nodes.append((task, task, task))
        order(nodes, pairs)
    return to_dict(dag)


Node = tuple[TaskOrGroup, BaseOperator, BaseOperator]
Order = Callable[[list[Node], list[tuple[int, int]]], None]


def by_airflow(nodes: list[Node], pairs: list[tuple[int, int]]) -> None:
    """Join the nodes with ``>>``."""
    for _, first, last in nodes:
        if first is not last:
            first >> last
    for before, after in pairs:
        nodes[before][0] >> nodes[after][0]


def by_us(nodes: list[Node], pairs: list[tuple[int, int]]) -> None:
    """All at once."""
    draw_edges((first, last) for _, first, last in nodes if first is not last)
    draw_edges((nodes[before][2], nodes[after][1]) for before, after in pairs)
    draw_outer_edges((nodes[before][0], nodes[after][0]) for before, after in pairs)


def serialised_operators(may_copy: bool) -> Any:
    """One DAG with several tasks of each operator, which may be copies, or come from a maker of their own each."""
    from cosmos_venv.operators import local, virtualenv

    shared = {
        "project_dir": "/harbor",
        "profile_config": ProfileConfig("harbor", "dev", profiles_yml_filepath="/harbor/profiles.yml"),
        "env": {"A": "b"},
        "vars": {"day": "{{ ds }}"},
        "py_requirements": ["dbt-duckdb"],
        "params": {"depth": 3},
        "retries": 2,
        "pool": "dbt",
        "emit_datasets": False,  # Airflow 2 would look for its aliases in its database
    }
    defaults = {"owner": "harbour", "fail_fast": True, "retry_delay": 5.0}
    with DAG("operators", start_date=START, schedule=None, default_args=defaults, params={"p": 1}) as dag:
        group = TaskGroup("marts", default_args={"email_on_retry": False})  # type: ignore[arg-type]
        # Each makes the tasks of one project: these stand in one group, whose default_args are those of all of them.
        places = [(place, TaskMaker(shared=shared, dag=dag)) for place in (None, group)]
        for verb, mode, (place, of_place) in itertools.product(
            ("Build", "Run", "Seed", "Snapshot", "Source", "Test"), (local, virtualenv), places
        ):
            kind = mode.__name__.rpartition(".")[2].title()
            for number in range(3):
                maker = of_place if may_copy else TaskMaker(shared=shared, dag=dag)
                own = {"select": f"n{number}", "extra_context": {"n": number}, "doc_md": f"node {number}"}
                maker.make(getattr(mode, f"Dbt{verb}{kind}Operator"), f"{verb}_{kind}_{number}", place, own)
    return to_dict(dag)


def to_dict(dag: DAG) -> Any:
    """The DAG as Airflow keeps it in its database."""
    from airflow.serialization import serialized_objects

    # Its name is another one from Airflow 3.2 on.
    module: Any = serialized_objects
    kind = module.DagSerialization if hasattr(module, "DagSerialization") else module.SerializedDAG
    return json.loads(json.dumps(kind.to_dict(dag), sort_keys=True, default=str))


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]])
