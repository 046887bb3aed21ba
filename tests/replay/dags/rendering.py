"""How nodes become tasks: tests, seeds, sources, groups, converters, names, and what a node says of its own tasks."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator

from cosmos_venv import DbtResourceType
from tests.replay.recorder import Bench


def tests_shapes(bench: Bench) -> None:
    """Where tests stand."""
    for behavior in ("after_each", "after_all", "none", "build"):
        bench.dag(dag_id=behavior, test_behavior=behavior)
    for behavior in ("after_each", "build"):
        bench.dag(dag_id=f"detached_{behavior}", test_behavior=behavior, should_detach_multiple_parents_tests=True)


def tests_build(bench: Bench) -> None:
    """``dbt build`` of each node with its tests, of which one fails."""
    bench.know_tests("build", failing_test="unique_stg_piers_id")
    bench.run(bench.dag(test_behavior="build", select=["+report"]))


def tests_after_all(bench: Bench) -> None:
    """One task for all tests; a warning calls back."""
    warned: list[Any] = []
    bench.know_tests("test", failing_test="unique_stg_piers_id", status="warn")
    arguments = {"operator_args": {"on_warning_callback": lambda context: warned.append(context["test_names"])}}
    bench.run(bench.dag(test_behavior="after_all", select=["piers", "stg_piers"], of_dag=arguments))
    bench.tell("warned", warned)


def tests_detached(bench: Bench) -> None:
    """A test of two models runs once, behind both."""
    bench.know_tests("test")
    bench.run(bench.dag(should_detach_multiple_parents_tests=True, select=["stg_piers", "fct_crossings"]))


def tests_indirect_selection(bench: Bench) -> None:
    """``--indirect-selection`` of the tests."""
    bench.know_tests("test")
    bench.run(bench.dag({**bench.local, "test_indirect_selection": "cautious"}, select=["fct_crossings"]))


def seeds_shapes(bench: Bench) -> None:
    """Each behaviour of seeds, and what does not go together."""
    for behavior in ("always", "when_seed_changes", "render_only", "none"):
        bench.dag(dag_id=behavior, seed_rendering_behavior=behavior, select=["+stg_piers"])
    refused: dict[str, Any] = {"seed_rendering_behavior": "when_seed_changes", "test_behavior": "build"}
    bench.refused("with BUILD", lambda: bench.dag(dag_id="refused", **refused))


def seeds_when_changed(bench: Bench) -> None:
    """A seed is loaded, then left alone, then loaded again because it has changed, or because it must be."""
    _ = bench.fixture("cosmos_airflow")
    dag = bench.dag(seed_rendering_behavior="when_seed_changes", select=["piers"], test_behavior="none")
    bench.run(dag, "first")
    bench.run(dag, "unchanged")
    bench.harbor.edit("piers", "id,name\n1,North\n2,West\n")
    bench.run(dag, "changed")
    bench.fake.script("seed", nodes={"piers": "error"})
    bench.harbor.edit("piers", "id,name\n1,South\n")
    bench.run(dag, "fails")
    bench.fake.script("seed", nodes={"piers": "success"})
    bench.run(dag, "after the failure")
    full = {"operator_args": {"full_refresh": True}}
    again = bench.dag(seed_rendering_behavior="when_seed_changes", select=["piers"], test_behavior="none", of_dag=full)
    bench.run(again, "full refresh")


def seeds_when_changed_virtualenv(bench: Bench) -> None:
    """The same in environments that are kept."""
    _ = bench.fixture("cosmos_airflow")
    given: dict[str, Any] = {
        "seed_rendering_behavior": "when_seed_changes",
        "select": ["piers"],
        "test_behavior": "none",
    }
    arguments = {"operator_args": {"py_requirements": ["dbt-duckdb"]}}
    dag = bench.dag(bench.virtualenv, of_dag=arguments, **given)
    bench.run(dag, "first")
    bench.run(dag, "unchanged")


def seeds_render_only(bench: Bench) -> None:
    """A placeholder, and the tests behind it."""
    bench.know_tests("test")
    bench.run(bench.dag(seed_rendering_behavior="render_only", select=["piers"]))


def sources_shapes(bench: Bench) -> None:
    """Each behaviour of sources, pruned, waited for."""
    for behavior in ("none", "all", "with_tests_or_freshness"):
        bench.dag(dag_id=behavior, source_rendering_behavior=behavior)
    bench.dag(dag_id="pruned", source_rendering_behavior="all", source_pruning=True)
    bench.dag(dag_id="waits", source_rendering_behavior="all", wait_for_sources=True)
    bench.refused("no tasks to wait", lambda: bench.dag(dag_id="refused", wait_for_sources=True))


def sources_fresh(bench: Bench) -> None:
    """Looks at the freshness, one of which is too old."""
    bench.fake.script("source freshness", select="source:raw.crew", nodes={"source.harbor.raw.crew": "error"})
    select = ["source:raw", "stg_ships"]
    arguments = {"operator_args": {"emit_source_assets": True}}
    bench.run(bench.dag(source_rendering_behavior="all", select=select, of_dag=arguments))


def sources_waited_for(bench: Bench) -> None:
    """A sensor looks twice: the source is too old, then fresh."""
    bench.fake.script("source freshness", nodes={"source.harbor.raw.ships": "pass"})
    bench.fake.script("source freshness", nth=1, nodes={"source.harbor.raw.ships": "error"})
    arguments = {"operator_args": {"poke_interval": 0.01, "timeout": 60}}
    select = ["source:raw.ships", "stg_ships"]
    bench.run(bench.dag(source_rendering_behavior="all", wait_for_sources=True, select=select, of_dag=arguments))


def groups_by_folder(bench: Bench) -> None:
    """A group of each folder."""
    bench.dag(dag_id="by_folder", group_nodes_by_folder=True)
    bench.set(enable_hierarchical_naming_for_group_nodes_by_folder=True)
    bench.dag(dag_id="hierarchical", group_nodes_by_folder=True)


def node_converters(bench: Bench) -> None:
    """Tasks of one's own for exposures, models and tests."""

    def converted(*, dag: Any, task_group: Any, task_id: str, node: Any, **_: Any) -> EmptyOperator:
        name = "all" if node is None else node.name.replace(".", "_")
        return EmptyOperator(task_id=f"my_{name}_{task_id}", dag=dag, task_group=task_group)

    def none(**_: Any) -> None:
        return None

    bench.dag(dag_id="exposures", node_converters={DbtResourceType.EXPOSURE: converted})
    bench.dag(dag_id="models", node_converters={DbtResourceType.MODEL: converted})
    bench.dag(dag_id="tests", node_converters={DbtResourceType.TEST: converted})
    bench.dag(dag_id="within", node_converters={DbtResourceType.MODEL: converted}, node_conversion_by_task_group=False)
    bench.dag(dag_id="nothing", node_converters={DbtResourceType.SNAPSHOT: none})


def names_of_tasks(bench: Bench) -> None:
    """Ids and displayed names by functions."""
    bench.dag(
        dag_id="names",
        test_behavior="none",
        normalize_task_id=lambda node: f"my_{node.name}",
        normalize_task_display_name=lambda node: f"{node.name} of the harbor",
    )
    bench.refused(
        "one id for all", lambda: bench.dag(dag_id="same", test_behavior="none", normalize_task_id=lambda _: "same")
    )


def what_a_node_says(bench: Bench) -> None:
    """``meta.cosmos``: arguments and profile of one node's tasks; its owner."""
    cosmos = {
        "operator_kwargs": {"retries": 1, "full_refresh": True, "pool": "default_pool"},
        "profile_config": {"target_name": "prod"},
    }
    bench.harbor.model("marts/special", "select 1 as id", meta={"owner": "me", "cosmos": cosmos})
    bench.harbor.manifest()
    outcome = bench.run(bench.dag(select=["special", "report"]))
    bench.tell("tries", {task_id: task.tries for task_id, task in sorted(outcome.tasks.items())})
    bench.harbor.model("marts/wrong", "select 1 as id", meta={"cosmos": {"operator_kwarg": {}}})
    bench.harbor.manifest()
    bench.refused("an unknown key", lambda: bench.dag(dag_id="wrong"))


def run_summary(bench: Bench) -> None:
    """A last task with a table of all nodes."""
    bench.know_tests("test", failing_test="unique_stg_piers_id")
    outcome = bench.run(bench.dag(run_summary=True, select=["piers", "stg_piers", "report"]))
    told = outcome.tasks["dbt_run_summary"].returned
    bench.tell("counts", {"nodes": told["nodes"], "tests": told["tests"]})


def large_project(bench: Bench) -> None:
    """Two hundred models in layers: how much of each there is, and the size."""
    project = {"manifest_path": bench.projects.large(200).manifest()}
    bench.count(bench.unseen_dag(dag_id="tasks", project=project))
    bench.count(bench.unseen_dag(dag_id="batches", project=project, batch_by="folder"))


SCENARIOS = (
    tests_shapes,
    tests_build,
    tests_after_all,
    tests_detached,
    tests_indirect_selection,
    seeds_shapes,
    seeds_when_changed,
    seeds_when_changed_virtualenv,
    seeds_render_only,
    sources_shapes,
    sources_fresh,
    sources_waited_for,
    groups_by_folder,
    node_converters,
    names_of_tasks,
    what_a_node_says,
    run_summary,
    large_project,
)
