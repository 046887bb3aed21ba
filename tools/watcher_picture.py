"""A picture of a run of ExecutionMode.WATCHER half way, in the interface of a real Airflow, for the documents.

    .venv/bin/python -m tools.watcher_picture

Writes docs/images/watcher.png: the graph of a DAG on PostgreSQL in which some nodes are done, one has failed, what
depends on it is skipped, and the others wait for a model that sleeps.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.airflows import RunningAirflow, running_airflow
from benchmarks.local import DBT
from benchmarks.suite_run import ROOT
from benchmarks.workers import PYTHONS
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.postgres import Postgres, started_postgres

from .browser import started, wait_until

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

IMAGE = ROOT / "docs" / "images" / "watcher.png"
WIDTH, HEIGHT, SCALE = 1500, 640, 1.5
DEADLINE = 180.0
DAG_ID, RUN_ID = "shop", "morning"
MODELS = {
    "stg_customers": "select 1 as customer_id",
    "stg_orders": "select 1 as order_id, 1 as customer_id",
    "stg_payments": "select 1 as payment_id, amount from no_such_table",
    "orders": "select *, pg_sleep(600)::text as slept from {{ ref('stg_orders') }}",
    "customers": "select c.* from {{ ref('stg_customers') }} c join {{ ref('orders') }} o using (customer_id)",
    "payments": "select * from {{ ref('stg_payments') }}",
}
TESTS = """
models:
  - name: stg_customers
    columns: [{name: customer_id, data_tests: [unique]}]
  - name: orders
    columns: [{name: order_id, data_tests: [unique]}]
"""
DAG_FILE = """
# Airflow looks only into files in which its name stands.
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig

dag = DbtDag(
    dag_id={dag_id!r},
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig(Path({project!r}), manifest_path=Path({manifest!r}), install_dbt_deps=False),
    profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath=Path({profile!r})),
    execution_config=ExecutionConfig(execution_mode=ExecutionMode.WATCHER, dbt_executable_path={dbt!r}),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST),
)
"""
HALF_WAY = {
    "dbt_producer_watcher": "running",
    "stg_customers.test": "success",
    "stg_orders_run": "success",
    "stg_payments_run": "failed",
    "payments_run": "skipped",
    "orders.run": "deferred",
    "orders.test": "deferred",
    "customers_run": "deferred",
}


def write_project(folder: Path, postgres: Postgres) -> str:
    """Write the project, its profile and manifest; the text of the DAG file."""
    (folder / "shop" / "models").mkdir(parents=True)
    (folder / "shop" / "dbt_project.yml").write_text("name: shop\nversion: '1.0'\nprofile: shop\n")
    for name, text in MODELS.items():
        (folder / "shop" / "models" / f"{name}.sql").write_text(f"{{{{ config(materialized='table') }}}}\n{text}\n")
    (folder / "shop" / "models" / "tests.yml").write_text(TESTS)
    where = {"host": "127.0.0.1", "port": postgres.port, "dbname": postgres.database, "schema": "shop"}
    output = {"type": "postgres", "user": postgres.user, "password": postgres.password, "threads": 4, **where}
    profile = folder / "profiles.yml"
    profile.write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": output}}}))
    dbt = str(DBT / "bin" / "dbt")
    words = [dbt, "parse", "--profiles-dir", str(folder), "--target-path", str(folder / "target")]
    subprocess.run(words, cwd=folder / "shop", check=True, stdout=subprocess.DEVNULL)
    return DAG_FILE.format(
        dag_id=DAG_ID,
        project=str(folder / "shop"),
        manifest=str(folder / "target" / "manifest.json"),
        profile=str(profile),
        dbt=dbt,
    )


def take(browser: WebDriver, airflow: RunningAirflow) -> None:
    """Write the picture of the run as it is now."""
    address = f"http://127.0.0.1:{airflow.airflow.variables['AIRFLOW__API__PORT']}"
    browser.get(f"{address}/auth/token/login")
    browser.execute_script("localStorage.setItem('default_dag_view', JSON.stringify('graph'))")
    browser.get(f"{address}/dags/{DAG_ID}/runs/{RUN_ID}")
    nodes = "return document.querySelectorAll('.react-flow__node').length"
    wait_until(lambda: bool(browser.execute_script(nodes) >= len(HALF_WAY)), "the graph is drawn", seconds=DEADLINE)
    browser.save_screenshot(str(IMAGE))


def main() -> int:
    """Take the picture."""
    with (
        throwaway_folder("pictures-") as folder,
        started_postgres(folder / "postgres.log") as server,
    ):
        dags = folder / "dags"
        dags.mkdir()
        (dags / "shop.py").write_text(write_project(folder, server.apart("shop")), encoding="utf-8")
        variables = {"TMPDIR": tempfile.gettempdir()}
        with (
            running_airflow(PYTHONS["cosmos_venv"], folder, variables, has_triggerer=True) as airflow,
            started(folder / "profile", width=WIDTH, height=HEIGHT, scale=SCALE) as browser,
        ):
            airflow.begin(DAG_ID, RUN_ID)

            def is_half_way() -> bool:
                return (
                    HALF_WAY.items() <= {each.task_id: each.state for each in airflow.instances(DAG_ID, RUN_ID)}.items()
                )

            wait_until(is_half_way, "the run is half way", seconds=DEADLINE)
            take(browser, airflow)
    print(IMAGE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
