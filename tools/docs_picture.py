"""A picture of dbt docs in the interface of a real Airflow, for the documents.

    .venv/bin/python -m tools.docs_picture

Writes docs/images/dbt-docs.png: the page of a model of the example project, as dbt docs generate has made it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.suite_run import ROOT
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.plugin.docs_airflow import AirflowWithDocs, airflow_with_docs, enter_frame, text_of, wait_for
from tests.plugin.docs_folder import generate_docs

from .browser import started

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

IMAGE = ROOT / "docs" / "images" / "dbt-docs.png"
WIDTH, HEIGHT, SCALE = 1300, 760, 1.5
MODEL = "model.harbor.fct_crossings"


def take(browser: WebDriver, airflow: AirflowWithDocs) -> None:
    """Write the picture."""
    airflow.log_in(browser)
    browser.get(f"{airflow.address}/plugin/dbt-docs-default")
    enter_frame(browser, "/dbt-docs/default/")
    enter_frame(browser, "page.html")
    browser.execute_script("location.hash = arguments[0]", f"#!/model/{MODEL}")
    wait_for(lambda: "Depends On" in text_of(browser), "the page of the model")
    browser.switch_to.default_content()
    browser.save_screenshot(str(IMAGE))


def main() -> int:
    """Take the picture."""
    with throwaway_folder("pictures-") as folder:
        settings = {"AIRFLOW__COSMOS__DBT_DOCS_DIR": str(generate_docs(folder))}
        with (
            airflow_with_docs(Path(sys.executable), folder / "airflow", settings) as airflow,
            started(folder / "profile", width=WIDTH, height=HEIGHT, scale=SCALE) as browser,
        ):
            take(browser, airflow)
    print(IMAGE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
