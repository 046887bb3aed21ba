"""A DAG without dbt that tells which environment variables Airflow's processes have, and calls ``cosmos-venv``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DAG_ID = "ordinary"
TEXT = '''
"""A DAG of airflow."""
import json, os, sys
from datetime import datetime, timezone
from pathlib import Path

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.providers.standard.operators.python import PythonOperator
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
    from airflow.operators.bash import BashOperator
    from airflow.operators.python import PythonOperator

def tell(where):
    file = Path({folder!r}, where + ".json")
    if not file.exists():
        file.write_text(json.dumps(dict(os.environ)))

tell("task-import" if "_AIRFLOW_PARSING_CONTEXT_TASK_ID" in os.environ else "processor")
with DAG("ordinary", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
    PythonOperator(task_id="python", python_callable=tell, op_args=["task"])
    BashOperator(task_id="bash", bash_command=sys.executable + " -m cosmos_venv.cli render " + {rendered!r})
'''


@dataclass(frozen=True, kw_only=True)
class OrdinaryDag:
    """The DAG and what it has told.

    :param folder: for what it tells.
    """

    folder: Path

    def write(self, dags: Path, *, rendered: Path) -> None:
        """Write its file.

        :param dags: the folder of DAG files.
        :param rendered: another DAG file, which its task shows by ``cosmos-venv render``.
        """
        self.folder.mkdir(parents=True)
        (dags / f"{DAG_ID}.py").write_text(TEXT.format(folder=str(self.folder), rendered=str(rendered)))

    def environment(self, where: str) -> Mapping[str, str]:
        """The environment variables at one place.

        :param where: ``processor``, ``task-import`` or ``task``.
        """
        found: dict[str, str] = json.loads((self.folder / f"{where}.json").read_text())
        return found
