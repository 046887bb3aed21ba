"""DAGs of plain operators that call the fake dbt, for any implementation and any Airflow."""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow import DAG

try:
    from airflow.providers.standard.operators.python import PythonOperator
except ImportError:  # Airflow 2
    from airflow.operators.python import PythonOperator  # type: ignore[import-not-found, no-redef]

__all__ = ["START", "PythonOperator", "dbt", "harbor"]

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def dbt(executable: Path, *words: str, cwd: Path) -> None:
    """Run dbt as an operator does, which fails with it."""
    subprocess.run([executable, *words], cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def harbor(work: Any, *, dag_id: str = "harbor", **arguments: Any) -> Any:
    """A task that does this work and may be retried once, and a task after it."""
    options: dict[str, Any] = {"retries": 1, "retry_delay": timedelta(minutes=5), **arguments}
    with DAG(dag_id, schedule=None, start_date=START) as dag:
        load = PythonOperator(task_id="load", python_callable=work, **options)
        report = PythonOperator(task_id="report", python_callable=lambda: "sent")
    load.set_downstream(report)
    return dag
