"""A picture of the form that Airflow draws of a run's params, in the interface of a real Airflow, for the documents.

    .venv/bin/python -m tools.run_params_picture

Writes docs/images/run-params.png: the dialogue that triggers a DAG with ``run_params=True``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from typing import TYPE_CHECKING

from benchmarks.airflows import RunningAirflow, running_airflow
from benchmarks.suite_run import ROOT
from benchmarks.workers import PYTHONS
from pytest_cosmos_venv.throwaway import throwaway_folder

from .browser import started, wait_until

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

IMAGE = ROOT / "docs" / "images" / "run-params.png"
PROJECT = ROOT / "tests" / "data" / "rendering-project"
WIDTH, HEIGHT, SCALE = 1000, 1180, 1.2
DEADLINE = 60.0
DAG_ID = "harbor"
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
    project_config=ProjectConfig(project, manifest_path=project / "manifest.json", install_dbt_deps=False),
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=project / "profiles.yml"),
    execution_config=ExecutionConfig(execution_mode=ExecutionMode.LOCAL),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST),
    run_params=True,
)
"""
CLICK = """
const buttons = [...document.querySelectorAll('button')]
const found = buttons.find(each => arguments[0] === (each.textContent.trim() || each.ariaLabel))
if (found) found.click()
return Boolean(found)
"""
HAS_FORM = "return document.body.innerText.includes(arguments[0])"


def take(browser: WebDriver, airflow: RunningAirflow) -> None:
    """Write the picture of the form."""
    address = f"http://127.0.0.1:{airflow.airflow.variables['AIRFLOW__API__PORT']}"
    browser.get(f"{address}/auth/token/login")
    browser.get(f"{address}/dags/{DAG_ID}")
    wait_until(lambda: bool(browser.execute_script(CLICK, "Trigger")), "the button", seconds=DEADLINE)
    wait_until(lambda: bool(browser.execute_script(HAS_FORM, "--full-refresh")), "the form", seconds=DEADLINE)
    time.sleep(1.0)  # the dialogue fades in
    browser.save_screenshot(str(IMAGE))


def main() -> int:
    """Take the picture."""
    with throwaway_folder("pictures-") as folder:
        dags = folder / "dags"
        dags.mkdir()
        (dags / "harbor.py").write_text(DAG_FILE.format(project=str(PROJECT), dag_id=DAG_ID), encoding="utf-8")
        variables = {"TMPDIR": tempfile.gettempdir()}
        with (
            running_airflow(PYTHONS["cosmos_venv"], folder, variables) as airflow,
            started(folder / "profile", width=WIDTH, height=HEIGHT, scale=SCALE) as browser,
        ):
            take(browser, airflow)
    print(IMAGE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
