"""The site is built without a warning, not at all where something has no entry, and is read from the disk."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.installed import ENVIRONMENTS, ROOT, is_missing
from tools.browser import wait_until

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

PYTHON = ENVIRONMENTS / "docs" / "bin" / "python"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        sys.version_info < (3, 11) or is_missing(PYTHON),
        reason="no Sphinx at .cache/envs/docs: make test makes it (Python 3.11 and later)",
    ),
]
(MAKE_DOCS,) = re.findall(
    r"^SPHINX = .* -m sphinx (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
)
OPTIONS = ("--no-color", *MAKE_DOCS.split())
"""Those of `make docs`, so that what is tested is what it builds."""
SILENCED = """
import ast
from dataclasses import replace
from cosmos_venv import ProjectConfig
from cosmos_venv.cli import doctor
from cosmos_venv.settings.table import SETTINGS
from tools.site import generated, toolkit_page

SETTINGS["cache_dir"] = replace(SETTINGS["cache_dir"], meaning="")
ProjectConfig.__doc__ = ProjectConfig.__doc__.replace(":param manifest_path:", ":param manifest:")
add = doctor.add_to
def add_to(subjects):
    add(subjects)
    subjects.choices["doctor"].add_argument("--silent")
doctor.add_to = add_to
read = ast.get_docstring
ast.get_docstring = lambda node: None if node.name == "cosmos_airflow" else read(node)
"""


def build(into: Path, *, before: str = "", pages: Path = ROOT / "docs") -> subprocess.CompletedProcess[str]:
    """Build the site.

    :param into: its folder.
    :param before: Python that runs first, in the process of Sphinx.
    :param pages: the folder of the pages.
    """
    words = [*OPTIONS, "-d", str(into.with_name(f"{into.name}-doctrees")), "-b", "html", str(pages), str(into)]
    first = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{before}"
    code = f"{first}\nfrom sphinx.cmd.build import main\nsys.exit(main({words!r}))"
    return subprocess.run([str(PYTHON), "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = build(folder)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", ""), "a warning is an error"
    return folder


def test_the_site_is_built_without_a_warning(site: Path) -> None:
    assert (site / "index.html").is_file()


def test_a_browser_reads_it_from_the_disk_with_search_and_diagrams(site: Path, browser: WebDriver) -> None:
    browser.get((site / "explanation" / "architecture.html").as_uri())
    drawn = "[...document.querySelectorAll('pre.diagram[data-drawn] svg')].map(it => it.ariaLabel)"
    wait_until(lambda: bool(browser.execute_script(f"return {drawn}.length")), "the diagram", seconds=60)
    names = browser.execute_script(f"return {drawn}")
    browser.find_element("css selector", "input[name=q]").send_keys("virtualenv_prune_max_count\n")
    results = "ul.search li > a"
    wait_until(lambda: bool(browser.find_elements("css selector", results)), "a result", seconds=60)

    found = [each.get_attribute("href") or "" for each in browser.find_elements("css selector", results)]
    log = browser.get_log("performance")  # type: ignore[no-untyped-call]
    events = [json.loads(entry["message"])["message"] for entry in log]
    asked = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
    assert names == ["Diagram: Architecture"]
    assert any("/reference/settings.html" in each for each in found), found
    assert asked
    assert [url for url in asked if not url.startswith(("file:", "data:", "chrome:"))] == []


def written(folder: Path, pages: dict[str, str]) -> Path:
    """A site of these pages, with the configuration of ours."""
    conf = ROOT / "docs" / "conf.py"
    for name, text in {**pages, "index.md": "\n".join(["# Index", "```{toctree}", *pages, "```"])}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "conf.py").write_text(conf.read_text(encoding="utf-8").replace("__file__", repr(str(conf))))
    (folder / "_static").symlink_to(conf.parent / "_static")
    return folder


def test_nothing_is_built_where_something_has_no_entry(tmp_path: Path) -> None:
    names = [f"reference/{name}.md" for name in ("command-line", "configs", "fixtures", "settings")]
    pages = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in names}

    done = build(tmp_path / "site", before=SILENCED, pages=written(tmp_path / "docs", pages))

    assert done.returncode == 1
    assert re.findall(r"docs/reference/([\w-]+)\.md:\d+: WARNING: (.* has no .*)", done.stderr) == [
        ("command-line", "--silent of the command cosmos-venv doctor has no help"),
        ("configs", "the parameter manifest_path of ProjectConfig has no sentence"),
        ("fixtures", "the fixture cosmos_airflow has no docstring"),
        ("settings", "the setting cache_dir has no meaning"),
    ]


def test_what_leads_nowhere_is_a_warning(tmp_path: Path) -> None:
    page = "# One\n\n[a](nowhere.md)\n[a](../index.md#no-such)\n{measured}`no-figure`\n"

    done = build(tmp_path / "site", pages=written(tmp_path / "docs", {"tutorials/one.md": page}))

    assert done.returncode == 1
    found = re.findall(r"one\.md:\d+: WARNING: .*(nowhere\.md|no-such|no measured figure 'no-figure')", done.stderr)
    assert len(found) == 3
