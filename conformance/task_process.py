"""What happens in the process in which one task runs? Airflow's own ``dag.test()`` of a DAG with that task alone.

Airflow 3 runs only what it finds as a file in its DAGs folder, so the task is written there as a DAG file, which is
three lines that call this module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .adapter import Task, open_adapter

# The file is imported twice, as the script and by Airflow; this module once. Failures of either land here.
_FAILURES: list[str] = []

_DAG_FILE = """\
# A DAG for Airflow, written by the conformance suite.
from {module} import make_dag, run_dag

dag = make_dag({adapter!r}, {request!r})
if __name__ == "__main__":
    run_dag(dag, {answer!r})
"""


def write_dag_file(dags: Path, adapter: str, task: Task, answer: Path) -> Path:
    """Write the task as a DAG file into ``dags``. Run as a script it leaves the outcome in the file ``answer``.

    :param adapter: as ``open_adapter`` takes it.
    """
    request = dags.parent / "task.json"
    request.write_text(
        json.dumps({"command": task.command, "profile": dict(task.profile), "arguments": dict(task.arguments)}),
        encoding="utf-8",
    )
    file = dags / "conformance.py"
    text = _DAG_FILE.format(module=__name__, adapter=adapter, request=str(request), answer=str(answer))
    file.write_text(text, encoding="utf-8")
    return file


def make_dag(adapter: str, request: str) -> Any:
    """The Airflow DAG with the one task that ``request`` describes."""
    from airflow import DAG

    task = Task(**json.loads(Path(request).read_text(encoding="utf-8")))
    with DAG(
        dag_id="conformance",
        schedule=None,
        start_date=datetime(2024, 1, 1, tzinfo=timezone.utc),
        default_args={"on_failure_callback": _remember},
    ) as dag:
        open_adapter(adapter).make_task(task)
    return dag


def run_dag(dag: Any, answer: str) -> None:
    """Run the DAG to its end; what it wrote about itself stands in the standard streams."""
    state = str(dag.test().state.value)
    outcome = {"state": state, "exception": _FAILURES[0] if _FAILURES else None}
    Path(answer).write_text(json.dumps(outcome), encoding="utf-8")


def _remember(context: Mapping[str, Any]) -> None:
    error = context.get("exception")
    _FAILURES.append(f"{type(error).__name__}: {error}")
