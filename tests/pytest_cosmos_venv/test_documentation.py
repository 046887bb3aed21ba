"""Is what the pages say true? Every Python block that begins with a file's name is that file, and is run.

``# test_fleet.py`` runs beside cosmos-venv, ``# test_fleet.py (astronomer-cosmos)`` beside that one.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "pytest_cosmos_venv" / "README.md", *sorted((ROOT / "docs" / "toolkit").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(?P<text># (?P<name>\w+\.py)(?: \((?P<beside>[\w-]+)\))?\n.*?)^```$", re.M | re.S)
PYTHONS = {
    "cosmos-venv": Path(sys.executable),
    "astronomer-cosmos": ROOT / ".cache" / "envs" / "cosmos" / "bin" / "python",
}


class Example(NamedTuple):
    """The blocks of a page that are run together.

    :param files: file name -> text; blocks of one name follow each other in one file.
    """

    page: Path
    beside: str
    files: dict[str, str]

    def __str__(self) -> str:
        return f"{self.page.stem}-{self.beside}"


def examples_of(page: Path) -> list[Example]:
    examples: dict[str, Example] = {}
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        beside = block["beside"] or "cosmos-venv"
        files = examples.setdefault(beside, Example(page, beside, {})).files
        files[block["name"]] = files.get(block["name"], "") + block["text"] + "\n\n"
    return list(examples.values())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_page_has_an_example_that_is_run(page: Path) -> None:
    assert any(name.startswith("test_") for example in examples_of(page) for name in example.files)


@pytest.mark.parametrize("example", [example for page in PAGES for example in examples_of(page)], ids=str)
def test_the_examples_of_a_page_pass(example: Example, pytester: pytest.Pytester) -> None:
    python = PYTHONS[example.beside]
    if not python.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"no {example.beside} at {python}: make test installs it")
    for name, text in example.files.items():
        (pytester.path / name).write_text(text, encoding="utf-8")

    # Made once for all pages.
    kept = f"--cosmos-cache-dir={ROOT / '.cache' / 'toolkit'}"
    result = pytester.run(python, "-m", "pytest", kept, "-W", "error::pytest.PytestUnknownMarkWarning")

    outcomes = result.parseoutcomes()
    assert outcomes.keys() <= {"passed", "skipped", "warning", "warnings"}, outcomes
    assert outcomes["passed"] >= 1
