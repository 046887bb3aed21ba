"""The pages tell the truth: every Python block begins with the name of a file, is that file, and is run.

``# test_fleet.py`` runs beside cosmos-venv, ``# test_fleet.py (astronomer-cosmos)`` beside that one. What stands for
``(any-implementation)`` is run for each by the tests of that name.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "pytest_cosmos_venv" / "README.md", *sorted((ROOT / "docs" / "how-to" / "testing").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(?P<text># (?P<name>\w+\.py)(?: \((?P<beside>[\w-]+)\))?\n.*?)^```$", re.M | re.S)
MARKED = re.compile(r"^@pytest\.mark\.cosmos_race\(contenders=(?P<contenders>\d+)\)$", re.M)
ANY = "any-implementation"
PYTHONS = {
    "cosmos-venv": Path(sys.executable),
    "astronomer-cosmos": ROOT / ".cache" / "envs" / "cosmos" / "bin" / "python",
}


def blocks_of(page: Path, beside: str) -> dict[str, str]:
    """The files of a page that run beside this implementation: name -> text; blocks of one name follow each other."""
    files: dict[str, str] = {}
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if (block["beside"] or "cosmos-venv") == beside:
            files[block["name"]] = files.get(block["name"], "") + block["text"] + "\n\n"
    return files


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_python_block_is_a_file(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    named = [block["beside"] for block in BLOCK.finditer(text)]
    assert len(named) == text.count("\n```python\n")
    assert set(named) <= {None, ANY, *PYTHONS}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_has_an_example_that_is_run(page: Path) -> None:
    assert any(name.startswith("test_") for beside in PYTHONS for name in blocks_of(page, beside))


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("beside", PYTHONS)
def test_the_examples_of_all_pages_pass(
    beside: str, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One project has a package for each page, so that Airflow starts once. The output names the page."""
    python = PYTHONS[beside]
    if not python.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"no {beside} at {python}: make test installs it")
    tests = {}
    copies = 0
    for page in PAGES:
        files = blocks_of(page, beside)
        for name, text in {"__init__.py": "", **files}.items():
            file = pytester.path / f"page_{page.stem.replace('-', '_')}" / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        tests[page.stem] = sum(text.count("\ndef test_") for text in files.values())
        copies += sum(int(mark["contenders"]) - 1 for text in files.values() for mark in MARKED.finditer(text))

    # As where its environment is activated; astronomer-cosmos would report each run to its makers.
    monkeypatch.setenv("PATH", os.pathsep.join([str(python.parent), os.environ["PATH"]]))
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    # Made once for all runs.
    kept = f"--cosmos-cache-dir={ROOT / '.cache' / 'toolkit'}"
    result = pytester.run(python, "-m", "pytest", kept, "-W", "error::pytest.PytestUnknownMarkWarning")

    outcomes = result.parseoutcomes()
    # Without workers one test runs all copies of a race, and the others are deselected.
    assert outcomes.pop("deselected", 0) == copies
    assert outcomes.keys() <= {"passed", "skipped", "warning", "warnings"}, outcomes
    assert outcomes["passed"] + outcomes.get("skipped", 0) >= sum(tests.values()) > 0
