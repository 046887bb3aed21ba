"""Every requirement that is written for users resolves and installs where nothing but a package index is reachable.

What this proves: the wheels of ``.cache/wheelhouse`` came from a package index, so a set that resolves and installs
from them does so from an index with these releases. It does not prove that an index has no newer release that breaks;
of dbt-core, that is what the upper bound is for. Pages of the toolkit are left out: what their tests install are
fakes of dbt, and their examples are run.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.installed import ROOT, WHEELS, needs_dbt_wheels

PAGES = [
    ROOT / "README.md",
    # Pages about tests name requirements of fakes.
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "testing"),
    *sorted(path for path in (ROOT / "examples").rglob("*") if path.suffix in (".md", ".py", ".yml", ".txt")),
    *sorted((ROOT / "cosmos_venv").rglob("*.py")),
]
NAME = r"dbt-[a-z]+"
LIST = re.compile(rf"\[\s*(?P<quote>[\"'])(?={NAME}).*?\]", re.DOTALL)
COMMAND = re.compile(rf"pip install (?P<words>[^\n|`]*{NAME}[^\n|`]*)")
WITH_VERSION = re.compile(rf"(?P<quote>[\"'`])(?P<text>{NAME}(?:~=|==|>=|<|!=)[^\"'`\s]+)(?P=quote)")
# Of the code itself: names of dbt's own parts, and of what is looked for on an index.
PARTS = re.compile(r"PARTS_OF_DBT = \([^)]*\)")
# Of what comes later, these are had from an index: dbt 2 itself, and what dbt 1.12 would build. Each with its wheels.
WHEELS_ALONE = {
    "dbt-core==2.0.0a4": WHEELS.with_name("wheelhouse-dbt2"),
    "dbt-core-experimental-parser==2.0.0a4": WHEELS.with_name("wheelhouse-dbt112"),
}
# It comes with half a gigabyte of Google's libraries. What it does stands recorded in tests/data/bigquery.
NOT_FETCHED = ("dbt-bigquery",)

pytestmark = needs_dbt_wheels


def written_in(text: str) -> Iterator[tuple[str, ...]]:
    """Every set of requirements in a text: a list, the words of an installation, a text with a version."""
    text = PARTS.sub("", text)
    for found in LIST.finditer(text):
        try:
            listed = ast.literal_eval(found.group())
        except (SyntaxError, ValueError):
            continue
        yield tuple(each for each in listed if "{" not in each)  # what a message names is known when it is shown
    rest = LIST.sub("", text)
    for found in COMMAND.finditer(rest):
        words = [word.strip("\"'") for word in found["words"].split()]
        yield tuple(word for word in words if not word.startswith("-") and word.startswith("dbt-"))
    for found in WITH_VERSION.finditer(COMMAND.sub("", rest)):
        yield (found["text"],)


WRITTEN = sorted(
    {(wanted, str(page.relative_to(ROOT))) for page in PAGES for wanted in written_in(page.read_text(encoding="utf-8"))}
)


def wheels_for(wanted: tuple[str, ...]) -> Path:
    """The folder that ``make test`` has fetched these into."""
    return next((WHEELS_ALONE[text] for text in wanted if text in WHEELS_ALONE), WHEELS)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "environment"
    uv("venv", "--quiet", "--python", sys.executable, str(folder))
    return folder


def uv(*words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "uv"
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)


def from_wheels(environment: Path, wanted: tuple[str, ...], *more: str) -> subprocess.CompletedProcess[str]:
    words = ["--python", str(environment / "bin" / "python"), "--no-index", "--find-links", str(wheels_for(wanted))]
    return uv("pip", "install", *words, *more, *wanted)


@pytest.mark.parametrize(
    "wanted", sorted({wanted for wanted, _ in WRITTEN if not {*NOT_FETCHED} & {*wanted}}), ids="-".join
)
def test_every_written_requirement_resolves(environment: Path, wanted: tuple[str, ...]) -> None:
    names = {text: Requirement(text).name.replace("-", "_") for text in wanted}
    if adapters := [text for text, name in names.items() if not list(wheels_for(wanted).glob(f"{name}-*"))]:
        pytest.fail(f"{adapters}: no wheel of it is kept. Write an adapter of requirements/dbt.in.")

    done = from_wheels(environment, wanted, "--dry-run")

    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_what_readme_shows_installs_and_runs(environment: Path) -> None:
    (wanted,) = {wanted for wanted, page in WRITTEN if page == "README.md"}

    done = from_wheels(environment, wanted, "--no-build")
    said = subprocess.run([str(environment / "bin" / "dbt"), "--version"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "installed: 1.11." in said.stdout
    assert "duckdb: 1.11." in said.stdout
