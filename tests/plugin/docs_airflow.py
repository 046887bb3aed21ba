"""A real Airflow 3 whose UI shows dbt docs to a user who may see DAGs, and how a browser gets at them."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from pytest_cosmos_venv.airflow_servers import free_port, server_variables
from tests.installed import ROOT
from tests.machine_lock import only_airflow
from tests.operators.real_scheduler import api_server
from tests.operators.whole_airflow import WholeAirflow
from tests.waiting import wait_until

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

USER, ROLE = "ann", "viewer"
WEB_KEY = "the key of the connection web"


@dataclass(frozen=True, kw_only=True)
class AirflowWithDocs:
    """:param address: of Airflow, with the path below which it stands.
    :param password: of the user.
    """

    address: str
    password: str

    def token(self) -> str:
        """The token of the user's session."""
        said = {"username": USER, "password": self.password}
        token: str = httpx.post(f"{self.address}/auth/token", json=said).json()["access_token"]
        return token

    def log_in(self, browser: WebDriver) -> None:
        """Log the browser in, with the cookie that Airflow's login gives."""
        browser.get(f"{self.address}/static/pin_32.png")
        browser.add_cookie({"name": "_token", "value": self.token(), "path": "/", "httpOnly": True})


def entry_points() -> dict[str, str]:
    """The plugins of Airflow that the wheel of cosmos-venv names."""
    text = (ROOT / "pyproject.toml").read_text()
    (section,) = re.findall(r'(?ms)^\[project.entry-points."airflow.plugins"\]\n(.*?)\n\n', text)
    return dict(re.findall(r'(\w+) = "(.*)"', section))


def write_entry_points(folder: Path) -> Path:
    """Return a folder for PYTHONPATH that names the plugins of this checkout, as its wheel does."""
    said = folder / "cosmos_venv-0.dist-info"
    said.mkdir(parents=True)
    lines = [f"{name} = {place}" for name, place in entry_points().items()]
    (said / "entry_points.txt").write_text("\n".join(["[airflow.plugins]", *lines, ""]))
    (said / "METADATA").write_text("Metadata-Version: 2.1\nName: cosmos-venv\nVersion: 0\n")
    return folder


@contextmanager
def airflow_with_docs(
    python: Path, folder: Path, variables: dict[str, str], *, below: str = ""
) -> Iterator[AirflowWithDocs]:
    """An API server whose plugins are those of this checkout.

    :param python: of the Airflow.
    :param folder: of its files.
    :param variables: settings.
    :param below: the path of the host where it stands, such as ``/airflow``.
    """
    port, password = free_port(), secrets.token_hex(8)
    packages = write_entry_points(folder / "packages")
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({USER: password}))
    address = f"http://127.0.0.1:{port}{below}"
    settings = {
        **server_variables(port, executor="LocalExecutor"),
        "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:{ROLE}",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "PYTHONPATH": f"{packages}:{ROOT}",
        **variables,
    }
    airflow = replace(WholeAirflow(python=python, folder=folder), variables=settings)
    airflow.dag_file.parent.mkdir(parents=True)
    airflow.make_database()
    # In the database, where people have them.
    airflow.airflow("connections", "add", "web", "--conn-type", "http", "--conn-extra", json.dumps({"X-Key": WEB_KEY}))
    with only_airflow(), api_server(airflow):
        yield AirflowWithDocs(address=address, password=password)


def wait_for(find: Callable[[], Any], what: str) -> Any:
    """What is found, once it is there."""
    return wait_until(find, what)


def enter_frame(browser: WebDriver, page: str) -> None:
    """Go into the only frame, whose page has such a path."""
    frame = wait_for(lambda: browser.find_elements("css selector", "iframe"), "a frame")[0]
    browser.switch_to.frame(frame)
    wait_for(lambda: page in browser.execute_script("return location.href"), f"a frame with {page}")


def text_of(browser: WebDriver) -> str:
    """The text that the page shows."""
    text: str = browser.execute_script("return document.body ? document.body.innerText : ''")
    return text
