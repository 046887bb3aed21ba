"""A project of DAG files that pytest --cosmos-dags is run on, and what it says of each check."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from pytest_cosmos_venv.projects.projects import CosmosProject

ROOT = Path(__file__).resolve().parents[3]
DEADLINE = 280.0
HEAD = """
from datetime import datetime, timezone
from pathlib import Path

import {root} as cosmos
from {root}.constants import TestBehavior
from {root}.profiles import PostgresUserPasswordProfileMapping

PROJECT = Path(__file__).resolve().parents[1] / "dbt" / "harbor"


def make(dag_id="harbor", render=None, profile=None, **arguments):
    return cosmos.DbtDag(
        dag_id=dag_id,
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        project_config=cosmos.ProjectConfig(PROJECT, manifest_path=PROJECT / "target" / "manifest.json"),
        profile_config=profile
        or cosmos.ProfileConfig(
            "harbor", "dev", profile_mapping=PostgresUserPasswordProfileMapping("warehouse", {{"schema": "port"}})
        ),
        render_config=cosmos.RenderConfig(load_method=cosmos.LoadMode.DBT_MANIFEST, **(render or {{}})),
        execution_config=cosmos.ExecutionConfig(execution_mode=cosmos.ExecutionMode.VIRTUALENV),
        operator_args={{"py_requirements": ["dbt-core", "dbt-duckdb"], **arguments}},
    )


# DbtDag
"""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A run of the checks that has ended.

    :param report: JUnit's report of pytest; empty where there is none.
    """

    returncode: int
    output: str
    report: str

    def verdicts(self, file: str, dbt: str | None = None) -> dict[str, str]:
        """The verdict of each check of a file, with a release of dbt where the run names several."""
        return {name: verdict for name, (verdict, _) in self._checks(file, dbt).items()}

    def text(self, file: str, check: str, dbt: str | None = None) -> str:
        """What a check has found."""
        return self._checks(file, dbt)[check][1]

    def _checks(self, file: str, dbt: str | None) -> dict[str, tuple[str, str]]:
        assert self.report, self.output
        found: dict[str, tuple[str, str]] = {}
        for case in ElementTree.fromstring(self.report).iter("testcase"):  # noqa: S314 - pytest has written it
            name, _, release = case.attrib["name"].partition("[")
            place = case.attrib["classname"].replace(".", "/") + ".py"
            if (place, release.removesuffix("]")) != (file, f"dbt-{dbt}" if dbt else ""):
                continue
            failure, skipped = case.find("failure"), case.find("skipped")
            if failure is not None:
                found[name] = "failed", failure.text or ""
            elif skipped is not None:
                found[name] = "not checked", skipped.attrib["message"].partition(": ")[2]
            else:
                found[name] = "passed", ""
        return found


@dataclass(frozen=True, kw_only=True)
class CheckedProject:
    """The project: a dbt project without faults, and DAG files that are added to it.

    :param folder: an existing folder.
    :param cache_dir: where Airflow's database is kept between runs.
    :param root: the import root of the implementation that the DAG files use.
    :param python: the Python that runs pytest.
    """

    folder: Path
    cache_dir: Path
    root: str = "cosmos_venv"
    python: Path = Path(sys.executable)

    def __post_init__(self) -> None:
        (self.folder / "dags").mkdir()
        self.ini()
        project = CosmosProject(folder=self.folder / "dbt")("harbor")
        project.seed("piers", "id,name\n1,North\n")
        project.model("ships", "select * from {{ ref('piers') }}", tests={"id": ["unique", "not_null"]})
        project.model("arrivals", "select * from {{ ref('ships') }}", tests={"id": ["unique"]})
        project.test("no_late_ship", "select * from {{ ref('arrivals') }} where false")
        project.manifest()

    @property
    def dbt(self) -> Path:
        """The folder of the dbt project."""
        return self.folder / "dbt" / "harbor"

    def ini(self, *lines: str) -> None:
        """Write the ini file."""
        (self.folder / "pytest.ini").write_text("\n".join(["[pytest]", *lines, ""]), encoding="utf-8")

    def add(self, **files: str) -> None:
        """Write DAG files: name without suffix -> what comes after the function ``make``."""
        for name, text in files.items():
            source = HEAD.format(root=self.root) + textwrap.dedent(text)
            (self.folder / "dags" / f"{name}.py").write_text(source, encoding="utf-8")

    def run(self, *options: str, variables: Mapping[str, str] | None = None) -> Checked:
        """Check the DAG files."""
        report = self.folder / "out.xml"
        report.unlink(missing_ok=True)
        done = self.pytest("--cosmos-dags", f"--junitxml={report}", "dags", *options, variables=variables)
        told = report.read_text(encoding="utf-8") if report.is_file() else ""
        return Checked(returncode=done.returncode, output=done.stdout, report=told)

    def pytest(self, *options: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run pytest in the project."""
        left_behind = ("AIRFLOW", "COV_", "PYTEST_", "PYTHONDONTWRITE", "CI")
        kept = {
            name: value
            for name, value in os.environ.items()
            if name == "PYTEST_ADDOPTS" or not name.startswith(left_behind)
        }
        command = [str(self.python), "-W", "ignore", "-m", "pytest", "-p", "no:cacheprovider", "-ra", "--color=no"]
        return subprocess.run(
            [*command, f"--cosmos-cache-dir={self.cache_dir}", f"--basetemp={self.folder / 'base'}", *options],
            cwd=self.folder,
            env={**kept, "PYTHONPATH": str(ROOT), "DO_NOT_TRACK": "1", **(variables or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
