"""dbt docs of a real dbt in the UI of a real Airflow, in a real browser."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.installed import OLDER_AIRFLOWS_3, a_browser, is_missing, needs_dbt
from tests.plugin.docs_airflow import WEB_KEY, AirflowWithDocs, airflow_with_docs, enter_frame, text_of, wait_for
from tests.plugin.docs_folder import generate_docs
from tests.plugin.docs_server import Server, serving

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

pytestmark = [pytest.mark.long, pytest.mark.timeout(600, func_only=True), needs_dbt]

# What a page tries that wants to get at the session, or out of its frame. Each try says what it got.
HOSTILE = """
<html><script>
const tries = {
  cookie: () => document.cookie,
  localStorage: () => localStorage.getItem("secret"),
  sessionStorage: () => sessionStorage.getItem("secret"),
  above: () => parent.document.title,
  top: () => top.document.title,
  leave: () => { if (top !== self) top.location = "about:blank"; },
};
const got = {origin: origin};
for (const [name, attempt] of Object.entries(tries)) {
  try { got[name] = ["got", String(attempt())]; } catch (error) { got[name] = ["refused", error.name]; }
}
const ask = (name, url) => fetch(url, {credentials: "include"}).then(
  answer => { got[name] = ["got", String(answer.status)]; }, error => { got[name] = ["refused", error.name]; });
const image = new Promise(done => {
  const made = new Image();
  made.onload = () => { got.image = ["got", ""]; done(); };
  made.onerror = () => { got.image = ["refused", ""]; done(); };
  made.src = new URL("../../static/pin_32.png", location.href);
});
Promise.all([ask("api", new URL("../../api/v2/dags", location.href)), ask("itself", location.href), image]).then(
  () => { document.title = JSON.stringify(got); });
</script><body>hostile</body></html>
"""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A web server with a small page."""
    folder = tmp_path_factory.mktemp("web")
    (folder / "index.html").write_text("a page of the web")
    with serving(folder) as server:
        yield server


@pytest.fixture(scope="module")
def settings(web: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings of three projects: of a real dbt, of somebody hostile, and of a web server."""
    hostile = tmp_path_factory.mktemp("hostile")
    (hostile / "index.html").write_text(HOSTILE)
    projects = {
        "harbor": {"dir": str(generate_docs(tmp_path_factory.mktemp("dbt")))},
        "hostile": {"dir": str(hostile)},
        "web": {"dir": f"{web.address}/docs", "conn_id": "web"},
    }
    return {"AIRFLOW__COSMOS__DBT_DOCS_PROJECTS": json.dumps(projects)}


@pytest.fixture(scope="module")
def airflow(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowWithDocs]:
    folder = tmp_path_factory.mktemp("airflow")
    with airflow_with_docs(Path(sys.executable), folder, settings, below="/airflow") as found:
        yield found


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[WebDriver]:
    with a_browser(tmp_path / "browser") as found:
        yield found


def shows_the_project(browser: WebDriver, airflow: AirflowWithDocs) -> None:
    browser.get(f"{airflow.address}/plugin/dbt-docs-harbor")
    enter_frame(browser, "/dbt-docs/harbor/")
    enter_frame(browser, "/dbt-docs/harbor/page.html")
    wait_for(lambda: "Projects\nharbor" in text_of(browser), "the tree of the project")
    assert browser.execute_script("return origin") == "null"


def test_the_menu_leads_to_docs_in_a_frame_without_an_origin(airflow: AirflowWithDocs, browser: WebDriver) -> None:
    airflow.log_in(browser)

    shows_the_project(browser, airflow)


def test_a_path_leads_to_the_page_of_a_node(airflow: AirflowWithDocs, browser: WebDriver) -> None:
    from cosmos_venv.plugin.docs_projects import docs_path

    airflow.log_in(browser)

    browser.get(f"{airflow.address}{docs_path('harbor', 'model.harbor.stg_vessels')}")

    enter_frame(browser, "page.html")
    wait_for(lambda: "stg_vessels view\n" in text_of(browser), "the page of the model")
    # Types of columns are of the catalog.
    assert "VARCHAR" in text_of(browser)


def shows_the_page_of_the_web(airflow: AirflowWithDocs, web: Server) -> None:
    web.asked.clear()

    answer = httpx.get(f"{airflow.address}/dbt-docs/web/page.html", cookies={"_token": airflow.token()})

    assert (answer.status_code, answer.text) == (200, "a page of the web")
    assert [asked.key for asked in web.asked] == [WEB_KEY]


def test_a_connection_of_airflows_database_counts(airflow: AirflowWithDocs, web: Server) -> None:
    shows_the_page_of_the_web(airflow, web)


@pytest.mark.parametrize("is_framed", [True, False], ids=["in-its-frame", "opened-apart"])
def test_a_hostile_page_reaches_nothing(airflow: AirflowWithDocs, browser: WebDriver, is_framed: bool) -> None:
    airflow.log_in(browser)
    browser.execute_script("localStorage.setItem('secret', '1'); sessionStorage.setItem('secret', '1')")

    browser.get(f"{airflow.address}/dbt-docs/hostile/{'' if is_framed else 'page.html'}")
    if is_framed:
        enter_frame(browser, "page.html")
    got = json.loads(wait_for(lambda: browser.execute_script("return document.title"), "what the page got"))

    assert got.pop("origin") == "null"
    reached = {name: got.pop(name)[0] for name in ("above", "top", "leave")}
    assert is_framed or reached == dict.fromkeys(reached, "got"), "there is nothing above it"
    assert not is_framed or reached == dict.fromkeys(reached, "refused")
    refusals = {**dict.fromkeys(("cookie", "localStorage", "sessionStorage"), "SecurityError"), "image": ""}
    refusals |= dict.fromkeys(("api", "itself"), "TypeError")
    assert got == {name: ["refused", error] for name, error in refusals.items()}


def test_the_frame_cannot_be_led_to_another_site(airflow: AirflowWithDocs, web: Server, browser: WebDriver) -> None:
    airflow.log_in(browser)
    browser.get(f"{airflow.address}/dbt-docs/hostile/")
    enter_frame(browser, "page.html")
    web.asked.clear()

    browser.execute_script("location.href = arguments[0]", f"{web.address}/docs/index.html?what-is-in-the-docs")

    wait_for(lambda: browser.execute_script("return location.href") == "chrome-error://chromewebdata/", "a refusal")
    assert web.asked == []


@pytest.mark.parametrize("path", ["", "harbor/page.html"])
def test_nothing_is_shown_without_login(airflow: AirflowWithDocs, path: str) -> None:
    answer = httpx.get(f"{airflow.address}/dbt-docs/{path}")

    assert answer.status_code == 401
    assert "harbor" not in answer.text


@pytest.fixture(params=["airflow31", "airflow32"])
def older_airflow(
    request: pytest.FixtureRequest, settings: dict[str, str], tmp_path: Path
) -> Iterator[AirflowWithDocs]:
    python = OLDER_AIRFLOWS_3[request.param]
    if is_missing(python):
        pytest.skip(f"no {request.param} at .cache/envs: make test makes it")
    with airflow_with_docs(python, tmp_path / "airflow", settings) as found:
        yield found


def test_older_releases_show_the_docs(older_airflow: AirflowWithDocs, web: Server, browser: WebDriver) -> None:
    assert httpx.get(f"{older_airflow.address}/dbt-docs/harbor/page.html").status_code == 401
    shows_the_page_of_the_web(older_airflow, web)
    older_airflow.log_in(browser)
    shows_the_project(browser, older_airflow)
