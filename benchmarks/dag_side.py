"""One measurement of building a DAG, in a process of its own. Prints JSON; ``benchmarks.dags`` starts it.

    python dag_side.py build cosmos_venv PROJECT MANIFEST ROUNDS SMALL_MANIFEST [WATCHER|batches|run_params|domains]
    python dag_side.py parse DAG_FILE PLAIN_FILE DAG_ID TASK_ID ROUNDS
    python dag_side.py imports cosmos_venv

Runs in the environment of either implementation and imports nothing of this project but by the name it is given.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

KIB = 1024
DOMAINS = "domains"


def main(argv: list[str]) -> None:
    """Run the side that the first word names."""
    os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
    sides: dict[str, Callable[..., dict[str, Any]]] = {"build": build, "parse": parse, "imports": imports}
    print(json.dumps(sides[argv[0]](*argv[1:])))


def build(what: str, project: str, manifest: str, rounds: str, small: str, kind: str = "") -> dict[str, Any]:
    """CPU seconds of building one DAG, the least of the rounds; tasks, groups, edges; the most memory beyond the start.

    Memory is that of one build in a process of its own, which has built a small DAG before, with all its imports.

    :param small: manifest of a project of a few models.
    :param kind: of the DAG, see ``dbt_dag``.
    """
    import airflow.sdk  # noqa: F401 - what every DAG file has imported
    import msgspec

    def parsing() -> float:
        started = time.process_time()
        msgspec.json.decode(Path(manifest).read_bytes())
        return time.process_time() - started

    def maker(manifest: str) -> Callable[[], Any]:
        if what not in ("plain", "direct"):
            return dbt_dag(what, project, manifest, kind)
        shape = in_a_fork(lambda: shape_of(msgspec.json.decode(Path(manifest).read_bytes())))
        return plain_dag(shape, draws_directly=what == "direct")

    make, make_small = maker(manifest), maker(small)
    memory = in_a_fork(lambda: most_memory(make, make_small))
    best = float("inf")
    dag: Any = None
    for _ in range(int(rounds)):
        dag = None
        gc.collect()
        started = time.process_time()
        dag = make()
        best = min(best, time.process_time() - started)
    counted = [counts(each) for each in (dag.values() if kind == DOMAINS else [dag])]
    summed = {name: sum(each[name] for each in counted) for name in counted[0]}
    return {"seconds": best, "memory": memory, **summed, "parsed": parsing()}


def most_memory(make: Callable[[], Any], make_small: Callable[[], Any]) -> int:
    """Bytes that this process has resident at its highest, beyond what it had before."""
    make_small()
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
    made = make()
    after = resident("VmHWM")
    del made
    return after - before


def resident(field: str) -> int:
    """Bytes, as the kernel tells them of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * KIB
    raise SystemExit(f"/proc/self/status has no {field}")


def counts(dag: Any) -> dict[str, int]:
    """The numbers of tasks, groups and edges of a DAG."""
    edges = sum(len(task.downstream_task_ids) for task in dag.tasks)
    groups = sum(hasattr(child, "children") for child in dag.task_group.children.values())
    return {"tasks": len(dag.tasks), "groups": groups, "edges": edges}


def dbt_dag(root: str, project: str, manifest: str, kind: str = "") -> Callable[[], Any]:
    """Builds the project as the implementation builds it, with virtual environments.

    :param kind: empty: a task a node; ``WATCHER``: the mode; ``batches``: by wave; ``run_params``: with a form for each
        run; ``domains``: five DAGs of the project, from the first models to the last.
    """
    package = importlib.import_module(root)
    mode = "WATCHER" if kind == "WATCHER" else "VIRTUALENV"
    render = {"batch_by": "wave"} if kind == "batches" else {}
    further: dict[str, Any] = {"run_params": True} if kind == "run_params" else {}
    profile = package.ProfileConfig(
        profile_name="large", target_name="dev", profiles_yml_filepath=Path(project, "profiles.yml")
    )

    def make() -> Any:
        if kind == DOMAINS:
            return package.DbtProjectDags(split_by=fifth, schedules={"0": None}, dag_id="large", **arguments())
        return package.DbtDag(dag_id="large", **arguments(), **further)

    def arguments() -> dict[str, Any]:
        return {
            "project_config": package.ProjectConfig(project, manifest_path=manifest),
            "profile_config": profile,
            "execution_config": package.ExecutionConfig(execution_mode=package.ExecutionMode[mode]),
            "render_config": package.RenderConfig(load_method=package.LoadMode.DBT_MANIFEST, **render),
            "operator_args": {"py_requirements": ["dbt-duckdb"]},
        }

    def fifth(node: Any) -> str:
        """The domain of a model: its number is the end of its name, and each model reads models of smaller numbers."""
        return str(5 * int(node.name.rpartition("_")[2]) // int(project.rpartition("_")[2]))

    return make


Shape = list[tuple[str, bool, list[str]]]


def shape_of(manifest: dict[str, Any]) -> Shape:
    """Each node that becomes tasks: its name, whether it is tested, and the nodes before it."""
    nodes = manifest["nodes"]
    tested = {parent for entry in nodes.values() if entry["resource_type"] == "test" for parent in parents(entry)}
    drawn = {name: entry for name, entry in nodes.items() if entry["resource_type"] in ("model", "seed", "snapshot")}
    return [
        (name.replace(".", "_"), name in tested, [each.replace(".", "_") for each in parents(entry) if each in drawn])
        for name, entry in drawn.items()
    ]


def parents(entry: dict[str, Any]) -> list[str]:
    """Unique ids of the nodes before one."""
    return list(entry.get("depends_on", {}).get("nodes") or [])


def plain_dag(shape: Shape, *, draws_directly: bool) -> Callable[[], Any]:
    """Builds a DAG of empty operators in this shape, its edges with ``>>`` or written straight into the tasks."""
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG, TaskGroup

    def order(before: Any, after: Any) -> None:
        before.downstream_task_ids.add(after.task_id)
        after.upstream_task_ids.add(before.task_id)

    def make() -> Any:
        with DAG("plain") as dag:
            outer: dict[str, Any] = {}
            first: dict[str, Any] = {}
            last: dict[str, Any] = {}
            for name, is_tested, _ in shape:
                if not is_tested:
                    outer[name] = first[name] = last[name] = EmptyOperator(task_id=name)
                    continue
                with TaskGroup(name) as outer[name]:
                    first[name], last[name] = EmptyOperator(task_id="run"), EmptyOperator(task_id="test")
                    if draws_directly:
                        order(first[name], last[name])
                    else:
                        first[name] >> last[name]
            for name, _, before in shape:
                for each in before:
                    if draws_directly:
                        order(last[each], first[name])
                    else:
                        outer[each] >> outer[name]
        return dag

    return make


def parse(dag_file: str, plain_file: str, dag_id: str, task_id: str, rounds: str) -> dict[str, Any]:
    """Seconds that a worker takes to parse a DAG file for one task: from a process that Airflow has made ready.

    Each round is a fork of that process, as each task is. A plain file with a DAG of the same id is parsed in turns
    with the DAG file.
    """
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.execution_time import task_runner

    os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = dag_id
    os.environ["_AIRFLOW_PARSING_CONTEXT_TASK_ID"] = task_id
    task_runner.SUPERVISOR_COMMS = object()  # type: ignore[assignment] # in such a process there is one

    # LocalExecutor and Celery's executor freeze what they have imported before they fork. Without that, a collection of
    # all of Airflow (185 ms) falls into a parse or not, depending on the number of objects made before.
    gc.freeze()

    def one_round(file: str) -> dict[str, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        bag = DagBag(dag_folder=file, safe_mode=False, load_op_links=False)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return {"wall": wall, "cpu": cpu, "made": dict.__len__(bag.dags[dag_id].task_dict)}

    # A minute of this machine differs from the next by a fifth: a figure and its floor come from the same seconds.
    turns = [[in_a_fork(partial(one_round, file)) for file in (dag_file, plain_file)] for _ in range(int(rounds))]
    return {"rounds": [each[0] for each in turns], "plain": [each[1] for each in turns]}


def in_a_fork(run: Callable[[], Any]) -> Any:
    """The result of ``run`` in a process that is forked for it, as JSON has it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with os.fdopen(writing, "w") as answers:
                json.dump(run(), answers)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        text = answers.read()
    os.waitpid(pid, 0)
    return json.loads(text)


def imports(root: str) -> dict[str, Any]:
    """CPU seconds of importing Airflow's SDK with what a DAG file takes of it, and of the implementation's DAG."""
    started = time.process_time()
    airflow = importlib.import_module("airflow.sdk")
    _ = airflow.DAG, airflow.TaskGroup, airflow.BaseOperator
    sdk = time.process_time() - started
    _ = importlib.import_module(root).DbtDag
    return {"sdk": sdk, "both": time.process_time() - started}


if __name__ == "__main__":
    main(sys.argv[1:])
