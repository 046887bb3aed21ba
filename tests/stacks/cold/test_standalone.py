"""The DAG of the first tutorial in ``airflow standalone``, from nothing, unpaused and triggered in a browser."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import duckdb
import pytest

from pytest_cosmos_venv.airflow_servers import accepts, free_port, running_server
from tests.installed import ROOT, a_browser, copy_of_example, needs_dbt_wheels
from tests.stacks.deployment import install_product, plain_variables
from tests.stacks.descendants import ended_descendants
from tests.stacks.stack import Kind, on
from tests.waiting import wait_until
from tests.whole.page_blocks import blocks_in

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

STANDALONE = Kind(name="3.3-standalone", environment="airflow3")
PAGE = (ROOT / "docs" / "tutorials" / "first-dag.md").read_text(encoding="utf-8")
(DAG_FILE,) = blocks_in(PAGE, "python")
PROJECT = "/opt/airflow/dbt/harbor"
LONGEST = 600.0
HAS_TRIGGER = "button => button.textContent.includes('Trigger')"
CLICK = """
const [name, scope] = arguments
const shown = each => each.getAttribute('aria-label') || each.textContent.trim()
const found = [...document.querySelectorAll(scope)].find(each => shown(each).startsWith(name) && each.checkVisibility())
if (found) found.click()
return Boolean(found)
"""


class User:
    """Somebody at Airflow's web interface."""

    def __init__(self, browser: WebDriver, port: int) -> None:
        self._browser = browser
        self._address = f"http://127.0.0.1:{port}"

    def log_in(self, password: str) -> None:
        """Log in as the administrator that ``airflow standalone`` has made."""
        self._browser.get(self._address)
        wait_until(lambda: self._fields("input[name=username]"), "the form to log in", seconds=LONGEST)
        for name, value in {"username": "admin", "password": password}.items():
            self._fields(f"input[name={name}]")[0].send_keys(value)
        self.click("Sign in", "button")
        wait_until(lambda: "login" not in self._browser.current_url, "the first page", seconds=LONGEST)

    def open(self, dag_id: str) -> None:
        """Open the page of a DAG, once Airflow knows the DAG."""

        def is_there() -> bool:
            self._browser.get(f"{self._address}/dags/{dag_id}")
            return self._comes(f"return [...document.querySelectorAll('button')].some({HAS_TRIGGER})")

        wait_until(is_there, f"the page of {dag_id}: {self.text}", seconds=LONGEST)

    def click(self, name: str, scope: str) -> None:
        """Click a button or link.

        :param name: what is written there, or its accessible name.
        :param scope: a selector of CSS.
        """
        wait_until(
            lambda: bool(self._browser.execute_script(CLICK, name, scope)), f"{name}: {self.text}", seconds=LONGEST
        )

    @property
    def text(self) -> str:
        """What the page shows."""
        return str(self._browser.execute_script("return document.body.innerText"))

    def _comes(self, condition: str) -> bool:
        try:
            wait_until(lambda: bool(self._browser.execute_script(condition)), condition, seconds=10.0)
        except AssertionError:
            return False
        return True

    def _fields(self, selector: str) -> list[WebElement]:
        return list(self._browser.find_elements("css selector", selector))


@pytest.mark.long
@pytest.mark.timeout(1500, func_only=True)
@needs_dbt_wheels
@on(STANDALONE)
def test_the_dag_of_the_tutorial_runs_when_a_user_unpauses_and_triggers_it(kind: Kind, tmp_path: Path) -> None:
    home, database = tmp_path / "airflow", tmp_path / "data" / "harbor.duckdb"
    for folder in (home / "dags", database.parent):
        folder.mkdir(parents=True)
    install_product(tmp_path / "site")
    project = copy_of_example(tmp_path / "dbt" / "harbor")
    (home / "dags" / "harbor.py").write_text(DAG_FILE.replace(PROJECT, str(project)))
    # All servers of `airflow standalone` have its environment, which says where the API server is: the port must be
    # known before the API server could choose one.
    port = free_port()
    # The path of a socket has 107 characters at most.
    with TemporaryDirectory(prefix="cv-", dir="/tmp", ignore_cleanup_errors=True) as short:
        environment = {
            **plain_variables(home=home, short=Path(short)),
            "PATH": f"{kind.python.parent}{os.pathsep}{os.environ['PATH']}",  # as in an activated environment
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            # The two cores may be busy: the first answer of the API server took more than the five seconds of a task.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_HARBOR_DUCKDB": json.dumps({"conn_type": "duckdb", "host": str(database)}),
            "HARBOR_ENVIRONMENTS": str(tmp_path / "environments"),
            "PYTHONPATH": str(tmp_path / "site"),
            "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(tmp_path / "cache"),
        }
        command: list[str | Path] = [kind.python.with_name("airflow"), "standalone"]
        log = tmp_path / "standalone.log"
        with (
            ended_descendants(),
            running_server(command, environment=environment, log=log),
            a_browser(tmp_path / "browser") as browser,
        ):
            try:
                wait_until(lambda: accepts(port), "the web interface answers", seconds=LONGEST)
                user = User(browser, port)
                user.log_in(password_of(home))
                user.open("harbor")
                user.click("Trigger", "button")
                user.click("Trigger", "[role=dialog] button")
                wait_until(lambda: have_ended(run_states(home)), "the runs have ended", seconds=LONGEST)
                states = run_states(home)
            finally:
                browser.save_screenshot(str(tmp_path / "last.png"))
    assert set(states.values()) <= {"success", "running"}, log.read_text()[-5000:]  # a later run of the schedule
    assert any(run_id.startswith("manual") and state == "success" for run_id, state in states.items()), states
    assert list((tmp_path / "cache" / "dbt-ls-detached-v1").glob("*.log")), "the DAG processor has asked dbt itself"
    with duckdb.connect(str(database), read_only=True) as found:
        assert found.execute("select count(*) > 0 from route_days").fetchone() == (True,)


def password_of(home: Path) -> str:
    """The password that ``airflow standalone`` has made and shown."""
    passwords: dict[str, str] = json.loads((home / "simple_auth_manager_passwords.json.generated").read_text())
    return passwords["admin"]


def run_states(home: Path) -> dict[str, str]:
    """The states of the runs: that of the user, and that of the schedule once the DAG is unpaused."""
    with closing(sqlite3.connect(home / "airflow.db", timeout=LONGEST)) as database:
        return dict(database.execute("select run_id, state from dag_run").fetchall())


def have_ended(states: dict[str, str]) -> bool:
    """Whether the run of the user has ended, and each other one that has begun."""
    is_there = any(run_id.startswith("manual") for run_id in states)
    return is_there and all(state in ("success", "failed") for state in states.values())
