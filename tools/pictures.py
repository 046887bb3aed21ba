"""The pictures of docs/images that are pages in a browser, taken without a screen.

    .venv/bin/python -m tools.pictures [NAME ...]

A name is one of ``PICTURES``; without names all pictures are taken. docs/images/demo.svg is what the demo prints: `make
demo ARGS="--svg docs/images/demo.svg"`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.airflows import RunningAirflow, running_airflow
from benchmarks.harness import ROOT
from conformance.reporting.html_page import page
from conformance.reporting.kept_reports import REPORT, versions
from conformance.reporting.report import read_report
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.installed import DBT, WHEELS, copy_of_example
from tests.plugin.docs_airflow import airflow_with_docs, enter_frame, text_of, wait_for
from tests.plugin.docs_folder import generate_docs
from tests.postgres import started_postgres
from tools.browser import started, wait_until
from tools.judge import KEPT

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

IMAGES = ROOT / "docs" / "images"
DEADLINE, LONGEST_RUN = 180.0, 900.0
OURS = Path(sys.executable)
DAG_FILE = """
# Airflow looks only into files in which its name stands.
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig

dag = DbtDag(
    dag_id="shop",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    project_config=ProjectConfig(Path({project!r}), manifest_path=Path({manifest!r}), install_dbt_deps=False),
    profile_config=ProfileConfig("shop", "dev", profiles_yml_filepath=Path({profile!r})),
    execution_config=ExecutionConfig(execution_mode=ExecutionMode.{mode}, dbt_executable_path={dbt!r}),
    render_config=RenderConfig(load_method=LoadMode.DBT_MANIFEST, run_summary={has_table}),
    **{more!r},
)
"""
CLICK = """
const buttons = [...document.querySelectorAll('button')]
const found = buttons.find(each => arguments[0] === (each.textContent.trim() || each.ariaLabel))
if (found) found.click()
return Boolean(found)
"""
SHOWN = {
    "stg_orders": "select * from (values (1, 7, 20.0), (2, 7, 31.5), (3, 8, null)) as o(order_id, customer_id, amount)",
    "stg_customers": "select * from (values (7, 'Ada'), (8, 'Grace')) as c(customer_id, name)",
    "orders": "select o.*, c.name from {{ ref('stg_orders') }} o join {{ ref('stg_customers') }} c using (customer_id)",
}
TESTS_OF_SHOWN = """
models:
  - name: stg_orders
    columns:
      - {name: order_id, data_tests: [unique]}
      - {name: amount, data_tests: [{not_null: {config: {severity: warn}}}]}
  - name: orders
    columns: [{name: order_id, data_tests: [unique, not_null]}]
"""
WATCHED = {
    "stg_customers": "select 1 as customer_id",
    "stg_orders": "select 1 as order_id, 1 as customer_id",
    "stg_payments": "select 1 as payment_id, amount from no_such_table",
    "orders": "select *, pg_sleep(600)::text as slept from {{ ref('stg_orders') }}",
    "customers": "select c.* from {{ ref('stg_customers') }} c join {{ ref('orders') }} o using (customer_id)",
    "payments": "select * from {{ ref('stg_payments') }}",
}
TESTS_OF_WATCHED = """
models:
  - name: stg_customers
    columns: [{name: customer_id, data_tests: [unique]}]
  - name: orders
    columns: [{name: order_id, data_tests: [unique]}]
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


def conformance(folder: Path) -> None:
    """One report of the conformance suite, in the dark.

    :param folder: for all files.
    """
    report = KEPT / versions(KEPT)[0] / "astronomer-cosmos-1.15" / REPORT
    file = folder / "report.html"
    file.write_text(page([read_report(report)]), encoding="utf-8")
    with started(folder / "profile", width=1340, height=1180, scale=1.5) as browser:
        dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
        browser.get(file.as_uri())
        browser.execute_script("document.getElementById('LOCK-002').open = true")
        _save(browser, "conformance-report.png")


def dbt_docs(folder: Path) -> None:
    """The page of a model of the example project, as dbt docs generate has made it, in Airflow.

    :param folder: for all files.
    """
    settings = {"AIRFLOW__COSMOS__DBT_DOCS_DIR": str(generate_docs(folder))}
    with (
        airflow_with_docs(OURS, folder / "airflow", settings) as airflow,
        started(folder / "profile", width=1300, height=760, scale=1.5) as browser,
    ):
        airflow.log_in(browser)
        browser.get(f"{airflow.address}/plugin/dbt-docs-default")
        enter_frame(browser, "/dbt-docs/default/")
        enter_frame(browser, "page.html")
        browser.execute_script("location.hash = '#!/model/model.harbor.fct_crossings'")
        wait_for(lambda: "Depends On" in text_of(browser), "the page of the model")
        browser.switch_to.default_content()
        _save(browser, "dbt-docs.png")


def dags(folder: Path) -> None:
    """The form of a run's params, versions of a DAG, and the table of a run. The SQL changes before the third run.

    :param folder: for all files.
    """
    output = {"type": "duckdb", "path": str(folder / "shop.duckdb")}
    more = {"run_params": True, "max_active_tasks": 1}
    write_project(folder, SHOWN, TESTS_OF_SHOWN, output, mode="LOCAL", has_table=True, more=more)
    with _airflow_and_browser(folder, scale=1.2) as (airflow, browser):
        _take(browser, airflow, "run-params.png", "/dags/shop", "--full-refresh", size=(1000, 1180), click="Trigger")
        runs = ("monday", "tuesday", "wednesday")
        for run in runs:
            if run == runs[-1]:
                (folder / "shop" / "models" / "orders.sql").write_text(f"{SHOWN['orders']}\nwhere amount > 20\n")
                airflow.airflow("dags", "reserialize")
            airflow.run("shop", run)
        _take(browser, airflow, "dag-versions.png", "/dags/shop/runs", *runs, size=(1900, 760))
        of_table = f"/dags/shop/runs/{runs[0]}/tasks/dbt_run_summary"
        _take(browser, airflow, "run-summary.png", of_table, "stg_orders", size=(1700, 760))


def watcher(folder: Path) -> None:
    """A run of WATCHER half way: some nodes are done, one has failed, and the others wait for a model that sleeps.

    :param folder: for all files.
    """
    with started_postgres(folder / "postgres.log") as server:
        postgres = server.apart("shop")
        where = {"host": "127.0.0.1", "port": postgres.port, "dbname": postgres.database, "schema": "shop"}
        output = {"type": "postgres", "user": postgres.user, "password": postgres.password, "threads": 4, **where}
        models = {name: f"{{{{ config(materialized='table') }}}}\n{text}" for name, text in WATCHED.items()}
        write_project(folder, models, TESTS_OF_WATCHED, output, mode="WATCHER", has_table=False, more={})
        with _airflow_and_browser(folder, scale=1.5, has_triggerer=True) as (airflow, browser):
            airflow.begin("shop", "morning")

            def is_half_way() -> bool:
                states = {each.task_id: each.state for each in airflow.instances("shop", "morning")}
                return HALF_WAY.items() <= states.items()

            wait_until(is_half_way, "the run is half way", seconds=DEADLINE)
            browser.set_window_size(1500, 640)
            browser.execute_script("localStorage.setItem('default_dag_view', JSON.stringify('graph'))")
            browser.get(f"{airflow.address}/dags/shop/runs/morning")
            nodes = "return document.querySelectorAll('.react-flow__node').length"
            wait_until(lambda: bool(browser.execute_script(nodes) >= len(HALF_WAY)), "the graph", seconds=DEADLINE)
            _save(browser, "watcher.png")


def demo(folder: Path) -> None:
    """The DAG of ``examples`` in Airflow, as `make demo-ui` shows it, with a real dbt on DuckDB.

    :param folder: for all files.
    """
    (folder / "dags").mkdir()
    shutil.copy(ROOT / "examples" / "dags" / "harbor.py", folder / "dags")
    copy_of_example(folder / "dbt" / "harbor")
    variables = {
        "AIRFLOW_CONN_HARBOR_DUCKDB": json.dumps({"conn_type": "duckdb", "host": str(folder / "harbor.duckdb")}),
        "AIRFLOW__STANDARD__VENV_INSTALL_METHOD": "uv",
        "UV_FIND_LINKS": str(WHEELS),
        "UV_NO_INDEX": "1",
    }
    with _airflow_and_browser(folder, scale=1.0, variables=variables) as (airflow, browser):
        asked = "select run_id from dag_run where dag_id = 'harbor' and state = 'success'"
        wait_until(lambda: bool(airflow.ask(asked)), "a run of the schedule that succeeds", seconds=LONGEST_RUN)
        of_run = f"/dags/harbor/runs/{airflow.ask(asked)[0][0]}"
        words = ("9 Task Instances", "fct_crossings.test")
        _take(browser, airflow, "airflow-ui.png", of_run, *words, size=(1660, 960))


def write_project(
    folder: Path,
    models: Mapping[str, str],
    tests: str,
    output: Mapping[str, object],
    *,
    mode: str,
    has_table: bool,
    more: Mapping[str, object],
) -> None:
    """Write the project ``shop``, its profile and manifest, and a DAG file in ``folder/dags``.

    :param folder: an existing folder.
    :param models: name to SQL.
    :param tests: the YAML file of the models.
    :param output: the target of the profile.
    :param mode: name of the ExecutionMode.
    :param has_table: whether the DAG ends with the table of the run.
    :param more: more arguments of DbtDag.
    """
    project, profile, target = folder / "shop", folder / "profiles.yml", folder / "target"
    (project / "models").mkdir(parents=True)
    (project / "dbt_project.yml").write_text("name: shop\nversion: '1.0'\nprofile: shop\n")
    for name, text in models.items():
        (project / "models" / f"{name}.sql").write_text(f"{text}\n")
    (project / "models" / "tests.yml").write_text(tests)
    profile.write_text(json.dumps({"shop": {"target": "dev", "outputs": {"dev": output}}}))
    words = [str(DBT), "parse", "--profiles-dir", str(folder), "--target-path", str(target)]
    subprocess.run(words, cwd=project, check=True, stdout=subprocess.DEVNULL)
    text = DAG_FILE.format(
        project=str(project),
        manifest=str(target / "manifest.json"),
        profile=str(profile),
        dbt=str(DBT),
        mode=mode,
        has_table=has_table,
        more=dict(more),
    )
    (folder / "dags").mkdir()
    (folder / "dags" / "shop.py").write_text(text, encoding="utf-8")


@contextmanager
def _airflow_and_browser(
    folder: Path, *, scale: float, variables: Mapping[str, str] | None = None, has_triggerer: bool = False
) -> Iterator[tuple[RunningAirflow, WebDriver]]:
    """Airflow with the DAGs of ``folder/dags``, and a browser that is logged in."""
    told = {"TMPDIR": tempfile.gettempdir(), **(variables or {})}
    with (
        running_airflow(OURS, folder, told, has_triggerer=has_triggerer) as airflow,
        started(folder / "profile", scale=scale) as browser,
    ):
        browser.get(f"{airflow.address}/auth/token/login")
        yield airflow, browser


def _take(
    browser: WebDriver,
    airflow: RunningAirflow,
    name: str,
    path: str,
    *words: str,
    size: tuple[int, int],
    click: str | None = None,
) -> None:
    """Take a picture of a page of Airflow once it shows some words, after a click on a button."""
    browser.set_window_size(*size)
    browser.get(f"{airflow.address}{path}")
    if click is not None:
        wait_until(lambda: bool(browser.execute_script(CLICK, click)), "the button", seconds=DEADLINE)
    wait_until(lambda: all(word in text_of(browser) for word in words), ", ".join(words), seconds=DEADLINE)
    time.sleep(1.0)  # dialogues and menus fade in
    _save(browser, name)


def _save(browser: WebDriver, name: str) -> None:
    browser.save_screenshot(str(IMAGES / name))
    print(f"docs/images/{name}", flush=True)


PICTURES: dict[str, Callable[[Path], None]] = {
    "conformance": conformance,
    "dbt-docs": dbt_docs,
    "dags": dags,
    "watcher": watcher,
    "demo": demo,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Take the pictures.

    :param argv: words of the command line; None: those of this process.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", nargs="*", choices=[*PICTURES, []], help=f"one of {', '.join(PICTURES)}")
    for name in parser.parse_args(argv).name or PICTURES:
        with throwaway_folder("pictures-") as folder:
            PICTURES[name](folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
