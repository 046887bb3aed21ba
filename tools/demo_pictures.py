"""The picture of the example DAG in the interface of a real Airflow, as `make demo-ui` shows it.

    .venv/bin/python -m tools.demo_pictures

Writes docs/images/airflow-ui.png. The DAG file is that of ``examples``, and dbt a real one, on DuckDB. The other
picture of the demo is what it prints: `make demo ARGS="--svg docs/images/demo.svg"`.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.airflows import RunningAirflow, running_airflow
from benchmarks.suite_run import ROOT
from benchmarks.workers import PYTHONS
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.installed import WHEELS, copy_of_example

from .browser import started, wait_until
from .dag_pictures import Pictures

DAG_ID = "harbor"
SIZE, SCALE = (1660, 960), 1.0
LONGEST_RUN = 900.0


def write_example(folder: Path) -> dict[str, str]:
    """Write the DAG file and its project as they stand in ``examples``; the environment variables for both."""
    (folder / "dags").mkdir()
    shutil.copy(ROOT / "examples" / "dags" / "harbor.py", folder / "dags")
    copy_of_example(folder / "dbt" / "harbor")
    return {
        "AIRFLOW_CONN_HARBOR_DUCKDB": json.dumps({"conn_type": "duckdb", "host": str(folder / "harbor.duckdb")}),
        "AIRFLOW__STANDARD__VENV_INSTALL_METHOD": "uv",
        "TMPDIR": tempfile.gettempdir(),
        "UV_FIND_LINKS": str(WHEELS),
        "UV_NO_INDEX": "1",
    }


def run_of_the_schedule(airflow: RunningAirflow) -> str:
    """Id of the run that the scheduler has made, once it has ended well.

    :raises TimeoutError: when there is none.
    """
    asked = f"select run_id from dag_run where dag_id = '{DAG_ID}' and state = 'success'"  # noqa: S608 - ours
    wait_until(lambda: bool(airflow.airflow.ask(asked)), f"a run of {DAG_ID} that succeeds", seconds=LONGEST_RUN)
    run_id: str = airflow.airflow.ask(asked)[0][0]
    return run_id


def main() -> int:
    """Take the picture."""
    with throwaway_folder("pictures-") as folder:
        variables = write_example(folder)
        with (
            running_airflow(PYTHONS["cosmos_venv"], folder, variables) as airflow,
            started(folder / "profile", scale=SCALE) as browser,
        ):
            page = f"/dags/{DAG_ID}/runs/{run_of_the_schedule(airflow)}"
            Pictures(browser, airflow).take("airflow-ui.png", page, "9 Task Instances", "fct_crossings.test", size=SIZE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
