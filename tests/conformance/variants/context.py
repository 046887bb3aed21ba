"""Variants of what a task makes of the context that it is handed."""

from __future__ import annotations

import os
from typing import Any

from ..mutants.inside import part
from .variant import Variant


class ReadsItsTaskFromTheContext(Variant):
    """Says at the beginning which task of which run it is, as Airflow tells each, and leaves that as an XCom."""

    keeps = ("CMD-001", "ENV-001", "API-011", "ENV-019")

    def begin(self) -> None:
        base = part("operators.virtualenv").DbtVirtualenvBaseOperator
        sound = {name: getattr(base, name) for name in ("execute", "run_command")}

        def execute(operator: Any, context: Any, **named: Any) -> Any:
            say(operator, context)
            return sound["execute"](operator, context, **named)

        def run_command(operator: Any, cmd: list[str], env: dict[str, str], context: Any, **named: Any) -> Any:
            say(operator, context)
            return sound["run_command"](operator, cmd, env, context, **named)

        base.execute, base.run_command = execute, run_command


def say(operator: Any, context: Any) -> None:
    """Log what Airflow documents to be in a context, and push it as an XCom."""
    ti, run, task = context["ti"], context["dag_run"], context["task"]
    dags = {context["task_instance"].dag_id, context["dag"].dag_id, os.environ["AIRFLOW_CTX_DAG_ID"]}
    dags |= {ti.dag_id, task.dag_id, run.dag_id}
    if len(dags) != 1 or not task.task_id == ti.task.task_id == ti.task_id == operator.task_id:
        raise LookupError(f"{context} knows not which task {operator.task_id} is.")
    whole = f"{ti.dag_id}.{ti.task_id}[{ti.map_index}] of {run.run_id}, try {ti.try_number}, {context['ds']}"
    operator.log.info("This is %s; parameters %s", whole, dict(context["params"]))
    ti.xcom_push(key="whoami", value=whole)
