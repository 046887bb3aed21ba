"""The files of a release, installed into an empty environment beside an Airflow, and used there as a stranger would."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.release.artifacts import ROOT, ReleaseError, output

EXAMPLES = ROOT / "examples"
DEMO_DAG = "harbor"
# The conformance suite needs both extras of cosmos-venv; the demo and the example need ``uv`` alone.
EXTRAS = {"cosmos-venv": "[uv,remote]"}


@dataclass(frozen=True, kw_only=True)
class Host:
    """Where the files are tried.

    :param python: the version of Python, as in ``3.11``.
    :param interpreter: its path.
    :param airflow: the version of Airflow.
    :param constraints: a file or an address; ``{airflow}`` and ``{python}`` in it are the two versions.
    """

    python: str
    interpreter: str
    airflow: str
    constraints: str

    def __str__(self) -> str:
        return f"Python {self.python}, Airflow {self.airflow}"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What was done in one environment.

    :param seconds: of each step.
    :param said: the last line of what the tests of a step printed.
    """

    host: Host
    seconds: dict[str, float]
    said: dict[str, str]


def try_out(host: Host, files: Sequence[Path], folder: Path) -> Trial:
    """Install the wheels, run the demo's DAG, the tests of the example project, and the conformance suite.

    :param files: of the release; from the checkout come only the examples.
    :param folder: an empty folder outside the checkout.
    :raises ReleaseError: when a step fails, with what it printed last.
    """
    place = _Place(folder=folder, wheels=[file for file in files if file.suffix == ".whl"], host=host)
    steps: dict[str, Callable[[], str]] = {
        "install": place.install,
        "demo": place.run_demo,
        "example": place.test_example,
        "suite": place.judge,
    }
    seconds: dict[str, float] = {}
    said: dict[str, str] = {}
    for name, step in steps.items():
        started = time.monotonic()
        printed = step()
        seconds[name] = round(time.monotonic() - started, 1)
        said[name] = printed.splitlines()[-1].strip("= ") if printed else ""
        print(f"{host}: {name} {seconds[name]} s  {said[name]}", flush=True)
    return Trial(host=host, seconds=seconds, said=said)


@dataclass(frozen=True, kw_only=True)
class _Place:
    folder: Path
    wheels: list[Path]
    host: Host

    @property
    def bin(self) -> Path:
        return self.folder / "venv" / "bin"

    def install(self) -> str:
        """An empty environment with Airflow and both wheels, under the constraints."""
        output([uv(), "venv", "--python", self.host.interpreter, str(self.folder / "venv")])
        constraints = self.host.constraints.format(airflow=self.host.airflow, python=self.host.python)
        wheels = [f"{_name(wheel)}{EXTRAS.get(_name(wheel), '')} @ {wheel.as_uri()}" for wheel in self.wheels]
        command = [uv(), "pip", "install", "--quiet", "--python", str(self.bin / "python"), "--compile-bytecode"]
        output([*command, "--constraint", constraints, f"apache-airflow=={self.host.airflow}", *wheels])
        return output([uv(), "pip", "check", "--python", str(self.bin / "python")])

    def run_demo(self) -> str:
        """The DAG of ``make demo``, by Airflow's own command."""
        home = self.folder / "demo"
        for name in ("dags", "dbt"):
            shutil.copytree(EXAMPLES / name, home / name, ignore=shutil.ignore_patterns("__pycache__"))
        variables = {
            "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "0",
            "AIRFLOW_CONN_HARBOR_DUCKDB": f'{{"conn_type": "duckdb", "host": "{home / "harbor.duckdb"}"}}',
        }
        self._run(["airflow", "db", "migrate"], cwd=home, variables=variables)
        printed = self._run(["airflow", "dags", "test", DEMO_DAG], cwd=home, variables=variables)
        if not re.search(r"state[=:' ]+success", printed) or not (home / "harbor.duckdb").exists():
            raise ReleaseError(f"{self.host}: the demo's DAG did not succeed:\n{printed[-4000:]}")
        return "the DAG run is a success"

    def test_example(self) -> str:
        """The tests of the project that a DAG author would copy, with the toolkit's fixtures."""
        project = self.folder / "example"
        shutil.copytree(EXAMPLES / "user_project", project, ignore=shutil.ignore_patterns("__pycache__"))
        return self._run(["pytest", "-q", "-p", "no:cacheprovider"], cwd=project)

    def judge(self) -> str:
        """The conformance suite, with every level."""
        report = self.folder / "report"
        report.mkdir()
        command = ["pytest", "--cosmos-conformance", "--cosmos-implementation=cosmos_venv", "--cosmos-level=beyond"]
        return self._run([*command, "--cosmos-installer=uv", "-n", "2", f"--cosmos-report={report}"], cwd=report)

    def _run(self, command: Sequence[str], *, cwd: Path, variables: dict[str, str] | None = None) -> str:
        """What a program of the environment prints. Nothing of the caller's Airflow, pytest or Python reaches it."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW", "PYTEST", "PYTHON", "VIRTUAL_ENV"))
        }
        environment = {
            **kept,
            "AIRFLOW_HOME": str(cwd / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "PATH": os.pathsep.join([str(self.bin), os.environ["PATH"]]),
            **(variables or {}),
        }
        # By its path: the PATH of this process decides where a bare name is looked for.
        return output([str(self.bin / command[0]), *command[1:]], cwd=cwd, environment=environment)


def uv() -> str:
    """The uv of this environment."""
    from uv import find_uv_bin

    return find_uv_bin()


def _name(wheel: Path) -> str:
    return wheel.name.partition("-")[0].replace("_", "-")
