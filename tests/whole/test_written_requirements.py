"""Every requirement that is written for users resolves and installs where nothing but a package index is reachable.

dbt-core 1.12 does not: a dependency of it downloads a program while it is built. So a requirement that would take it
today, or a later one, is refused here, whoever copies it.

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
BEYOND = ("1.12.0", "1.13.0", "2.0.0", "2.0.0a4")

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


def why_not_today(wanted: tuple[str, ...]) -> str:
    """Why an index alone is not enough for these; empty where it is."""
    if wheels_for(wanted) != WHEELS:
        return ""
    of_dbt = [Requirement(text) for text in wanted if re.match(r"dbt-core\b", text)]
    if not of_dbt:
        return "names no dbt-core, so the newest is taken"
    beyond = [
        version for version in BEYOND if all(each.specifier.contains(version, prereleases=True) for each in of_dbt)
    ]
    return f"takes dbt-core {beyond[0]}" if beyond else ""


def test_requirements_are_found_where_they_are_written() -> None:
    text = """
        operator_args={"py_requirements": ["dbt-core~=1.11.0",
                                           "dbt-duckdb"]}, such as ``["dbt-postgres~=1.9"]`` or 'dbt-spark>=1'
        py_requirements: ['dbt-core', "-r more.txt"]
        $ .venv/bin/pip install --quiet "dbt-core<1.12" dbt-trino && dbt parse
    """

    assert list(written_in(text)) == [
        ("dbt-core~=1.11.0", "dbt-duckdb"),
        ("dbt-postgres~=1.9",),
        ("dbt-core", "-r more.txt"),
        ("dbt-core<1.12", "dbt-trino"),
        ("dbt-spark>=1",),
    ]
    pages = {page for _, page in WRITTEN}
    assert {
        "README.md",
        "docs/how-to/moving.md",
        "examples/dags/harbor.py",
        "cosmos_venv/operators/virtualenv.py",
    } <= pages


@pytest.mark.parametrize(
    ("wanted", "is_enough"),
    [
        (("dbt-core~=1.11.0", "dbt-duckdb"), True),
        (("dbt-core>=1.10,<1.12",), True),
        (("dbt-core~=1.10",), False),
        (("dbt-duckdb~=1.11.0",), False),
        (("dbt-core>=1.10,<2",), False),
        (("dbt-core==1.12.0",), False),
        (("dbt-core==1.12.0", "dbt-core-experimental-parser==2.0.0a4"), True),
        (("dbt-core==2.0.0a4",), True),
    ],
)
def test_what_would_take_a_dbt_that_needs_more_than_an_index_is_told(wanted: tuple[str, ...], is_enough: bool) -> None:
    assert (why_not_today(wanted) == "") is is_enough


@pytest.mark.parametrize(("wanted", "page"), WRITTEN, ids=[f"{page}-{'-'.join(wanted)}" for wanted, page in WRITTEN])
def test_no_written_requirement_takes_a_dbt_that_needs_more_than_an_index(wanted: tuple[str, ...], page: str) -> None:
    assert why_not_today(wanted) == "", f"{page}: {wanted}"


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
