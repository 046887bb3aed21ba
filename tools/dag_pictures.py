"""Pictures of DAGs in the interface of a real Airflow: the form of a run's params, versions, and the table of a run.

    .venv/bin/python -m tools.dag_pictures

Writes run-params.png, dag-versions.png and run-summary.png to docs/images. The project runs on DuckDB with a real dbt;
its SQL changes between the second run and the third.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.airflows import RunningAirflow, running_airflow
from benchmarks.local import DBT
from benchmarks.suite_run import ROOT
from benchmarks.workers import PYTHONS
from pytest_cosmos_venv.throwaway import throwaway_folder

from .browser import started, wait_until

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

IMAGES = ROOT / "docs" / "images"
SCALE = 1.2
DEADLINE = 180.0
DAG_ID, SUMMARY = "shop", "dbt_run_summary"
RUNS = ("monday", "tuesday", "wednesday")
MODELS = {
    "stg_orders": "select * from (values (1, 7, 20.0), (2, 7, 31.5), (3, 8, null)) as o(order_id, customer_id, amount)",
    "stg_customers": "select * from (values (7, 'Ada'), (8, 'Grace')) as c(customer_id, name)",
    "orders": "select o.*, c.name from {{ ref('stg_orders') }} o join {{ ref('stg_customers') }} c using (customer_id)",
}
TESTS = """
models:
  - name: stg_orders
    columns:
      - {name: order_id, data_tests: [unique]}
      - {name: amount, data_tests: [{not_null: {config: {severity: warn}}}]}
  - name: orders
    columns: [{name: order_id, data_tests: [unique, not_null]}]
"""
DAG_FILE = """
# Airflow looks only into files in which its name stands.
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig

project = Path({project!r})
dag = DbtDag(
    dag_id={dag_id!r},
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    max_active_tasks=1,
    project_config=ProjectConfig(project, manifest_path={manifest!r}, install_dbt_deps=False),
    profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath=Path({profile!r})),
    execution_config=ExecutionConfig(execution_mode=ExecutionMode.LOCAL, dbt_executable_path={dbt!r}),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, run_summary=True),
    run_params=True,
)
"""
CLICK = """
const buttons = [...document.querySelectorAll('button')]
const found = buttons.find(each => arguments[0] === (each.textContent.trim() || each.ariaLabel))
if (found) found.click()
return Boolean(found)
"""
HAS_WORDS = "return document.body.innerText.includes(arguments[0])"


class Pictures:
    """Takes pictures of an Airflow's pages."""

    def __init__(self, browser: WebDriver, airflow: RunningAirflow) -> None:
        self._browser = browser
        self._address = f"http://127.0.0.1:{airflow.airflow.variables['AIRFLOW__API__PORT']}"
        browser.get(f"{self._address}/auth/token/login")

    def take(self, name: str, page: str, *words: str, size: tuple[int, int], click: str | None = None) -> None:
        """Write one picture.

        :param page: its path below the address of the interface.
        :param *words: that the page shows when it is whole.
        :param size: width and height of the window, in CSS pixels.
        :param click: the name of a button that is clicked before; None: none.
        """
        self._browser.set_window_size(*size)
        self._browser.get(f"{self._address}{page}")
        if click is not None:
            wait_until(lambda: bool(self._browser.execute_script(CLICK, click)), "the button", seconds=DEADLINE)
        wait_until(lambda: all(map(self._shows, words)), ", ".join(words), seconds=DEADLINE)
        time.sleep(1.0)  # dialogues and menus fade in
        self._browser.save_screenshot(str(IMAGES / name))
        print(f"docs/images/{name}", flush=True)

    def _shows(self, text: str) -> bool:
        return bool(self._browser.execute_script(HAS_WORDS, text))


def write_project(folder: Path) -> str:
    """Write the project, its profile and manifest; the text of the DAG file."""
    project = folder / "shop"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: shop\nversion: '1.0'\nprofile: shop\n")
    for name, text in MODELS.items():
        (project / "models" / f"{name}.sql").write_text(f"{text}\n")
    (project / "models" / "tests.yml").write_text(TESTS)
    output = {"type": "duckdb", "path": str(folder / "shop.duckdb")}
    profile = folder / "profiles.yml"
    profile.write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": output}}}))
    dbt = str(DBT / "bin" / "dbt")
    words = [dbt, "parse", "--profiles-dir", str(folder), "--target-path", str(folder / "target")]
    subprocess.run(words, cwd=project, check=True, stdout=subprocess.DEVNULL)
    return DAG_FILE.format(
        dag_id=DAG_ID,
        project=str(project),
        manifest=str(folder / "target" / "manifest.json"),
        profile=str(profile),
        dbt=dbt,
    )


def main() -> int:
    """Take the pictures."""
    with throwaway_folder("pictures-") as folder:
        dags = folder / "dags"
        dags.mkdir()
        (dags / "shop.py").write_text(write_project(folder), encoding="utf-8")
        variables = {"TMPDIR": tempfile.gettempdir()}
        with (
            running_airflow(PYTHONS["cosmos_venv"], folder, variables) as airflow,
            started(folder / "profile", scale=SCALE) as browser,
        ):
            pictures = Pictures(browser, airflow)
            pictures.take("run-params.png", f"/dags/{DAG_ID}", "--full-refresh", size=(1000, 1180), click="Trigger")
            for run in RUNS:
                if run == RUNS[-1]:
                    (folder / "shop" / "models" / "orders.sql").write_text(f"{MODELS['orders']}\nwhere amount > 20\n")
                    airflow.airflow.airflow("dags", "reserialize")
                airflow.run(DAG_ID, run)
            pictures.take("dag-versions.png", f"/dags/{DAG_ID}/runs", *RUNS, size=(1900, 760))
            page = f"/dags/{DAG_ID}/runs/{RUNS[0]}/tasks/{SUMMARY}"
            pictures.take("run-summary.png", page, "stg_orders", size=(1700, 760))
    return 0


if __name__ == "__main__":
    sys.exit(main())
