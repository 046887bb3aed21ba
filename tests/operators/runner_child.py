"""The scenarios of the runner's tests, in this order, for a Python of their own that has Airflow and a dbt.

Called with the folder of a project and the names of scenarios; what came of them is the last line, in JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cosmos_venv.compat import DAG
from cosmos_venv.config import ProfileConfig
from cosmos_venv.dbt.invocation import chosen_mode
from cosmos_venv.operators.local import DbtBatchLocalOperator, DbtCompileLocalOperator, DbtRunLocalOperator


def operator(cls: Any = DbtRunLocalOperator, **arguments: Any) -> Any:
    project = Path(sys.argv[1])
    return cls(
        task_id="task",
        project_dir=project,
        profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=project / "profiles.yml"),
        dbt_executable_path="no-dbt-of-that-name",
        **arguments,
    )


def state() -> tuple[Any, ...]:
    return dict(os.environ), Path.cwd(), signal.getsignal(signal.SIGINT)


def outcome(task: Any, **context: Any) -> dict[str, Any]:
    before = state()
    try:
        task.execute(context)
        said = ""
    except BaseException as error:  # noqa: BLE001 - also what ends a process
        said = f"{type(error).__name__}: {error}"
    return {"said": said, "worker_is_as_it_was": state() == before}


def succeeds() -> dict[str, Any]:
    events: list[str] = []
    seen: list[str | None] = []

    def listen(event: Any) -> None:
        events.append(event.info.name)
        seen.append(os.environ.get("OF_DBT"))

    task = operator(DbtCompileLocalOperator, select="staging", env={"OF_DBT": "yes"}, dbt_runner_callbacks=[listen])
    done = outcome(task)
    return done | {"events": events, "seen": sorted({str(each) for each in seen}), "sql": task.compiled_sql}


def chooses() -> dict[str, Any]:
    task = operator()
    return {"mode": chosen_mode(None, task.dbt_executable_path).name}


def chooses_the_executable() -> dict[str, Any]:
    return {"mode": chosen_mode(None, "/bin/sh").name}


def fails() -> dict[str, Any]:
    called: list[str] = []
    task = operator(select="staging broken", callback=lambda project_dir, **_: called.append(project_dir))
    return outcome(task) | {"called": len(called)}


def does_not_compile() -> dict[str, Any]:
    (Path(sys.argv[1]) / "models" / "broken.sql").write_text("{{ no_such_macro() }}")
    return outcome(operator(cls=DbtCompileLocalOperator, select="broken"))


def runs_a_batch() -> dict[str, Any]:
    """Run two tries of a batch, of which a model fails in the first one."""
    said, pushed = [], []
    for number in (1, 2):
        ti = SimpleNamespace(
            dag_id="harbor",
            run_id="night",
            task_id="task",
            map_index=-1,
            try_number=number,
            max_tries=2,
            xcom_push=lambda value, **_: pushed.append(
                {row["node"]: [row["status"], row["try_number"]] for row in value}
            ),
        )
        nodes = {f"model.harbor.{name}": name for name in ("staging", "broken")}
        task = operator(DbtBatchLocalOperator, nodes=nodes, indirect_selection="empty")
        said.append(outcome(task, ti=ti, run_id="night"))
        (Path(sys.argv[1]) / "models" / "broken.sql").write_text("select id from {{ ref('staging') }}")
    return {"said": said, "nodes": pushed}


def finds_plugins() -> dict[str, Any]:
    """Run dbt where Airflow has put the folders of the user's code on ``sys.path``, each with modules of its own."""
    from cosmos_venv import compat

    said = []

    def listen(_: Any) -> None:
        said.append(importlib.import_module("imported_late").__name__)

    folders = [compat.dags_folder(), *map(Path, compat.folders_of_user_code(None))]
    bundle = Path(sys.argv[1]).parent / "bundle"
    for folder in {*folders, bundle}:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dbt_hello.py").write_text("raise RuntimeError('a DAG file of a colleague')\n")
        (folder / "imported_late.py").write_text("")
        sys.path.append(str(folder))
    before = [*sys.path], [*sys.meta_path]
    task = operator(dbt_runner_callbacks=[listen])
    task.dag = DAG(dag_id="harbor", schedule=None)
    task.dag.fileloc, task.dag.relative_fileloc = f"{bundle}/dags/harbor.py", "dags/harbor.py"
    done = outcome(task)
    return done | {"late": said, "folders": len(folders), "path_is_as_it_was": before == (sys.path, sys.meta_path)}


def is_killed() -> dict[str, Any]:
    """Kill the task as Airflow 3 does: a handler of SIGTERM calls ``on_kill`` and returns."""
    task = operator()
    signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    done = outcome(task)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return done


def is_timed_out() -> dict[str, Any]:
    """Time the task out as Airflow does: a signal handler raises what is no Exception."""

    class TimedOut(BaseException):
        pass

    def stop(*_: object) -> None:
        raise TimedOut("the time-out of the task")

    signal.signal(signal.SIGTERM, stop)
    return outcome(operator())


if __name__ == "__main__":
    results = {name: globals()[name]() for name in sys.argv[2:]}
    print(f"\n{json.dumps(results)}")
