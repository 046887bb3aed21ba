"""A project with tests of its own, run from a test of ours, and what that run leaves behind."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest

from pytest_cosmos_venv import plugin
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".cache" / "envs"
EVERYTHING = ROOT / "tests" / "data" / "everything"
"""The inner project that uses all fixtures; its files get their ``test_`` only where they are to be run."""
DEADLINE = 280.0
_SET_CHILD_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, <linux/prctl.h>
_ENDS_SOON = 1.0

BEFORE_3_13 = pytest.mark.skipif(sys.version_info >= (3, 13), reason="Airflow 2.11 is for Python 3.10 to 3.12")


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run that has ended.

    :param processes: command lines of what still runs, whoever has become its parent.
    :param files: what stands outside the run's own folder and was not there before.
    """

    returncode: int
    output: str
    processes: list[str]
    files: list[str]

    @property
    def outcomes(self) -> dict[str, int]:
        """The counts of pytest's last line: ``{"passed": 3}``; warnings and what was deselected left out."""
        told = re.findall(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed|rerun)", self.output.splitlines()[-1])
        return {name: int(count) for count, name in told}


@dataclass
class InnerRun:
    """A project that pytest is run in, with a home, a folder for temporary files and a minimal environment of its own.

    :param environment: under ``.cache/envs``.
    :param folder: an existing empty one.
    :param cache_dir: where Airflow's database is kept between runs.
    """

    environment: str
    folder: Path
    cache_dir: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.python = python_of(self.environment)
        self.interpreter = [str(self.python)]
        self.project = self.folder / "project"
        for place in (self.project, self._home, self._scratch):
            place.mkdir()
        (self.project / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")

    @property
    def _home(self) -> Path:
        return self.folder / "home"

    @property
    def _scratch(self) -> Path:
        return self.folder / "scratch"

    @property
    def _report(self) -> Path:
        return self.folder / "report"

    @property
    def reports(self) -> list[dict[str, Any]]:
        """The notes that ``tests/data/everything/remembering.py`` has made in each process of the run."""
        return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(self._report.iterdir())]

    def add(self, **files: str) -> None:
        """Write test files: name without suffix -> text."""
        for name, text in files.items():
            (self.project / f"{name}.py").write_text(text, encoding="utf-8")

    def add_everything(self, *parts: str) -> None:
        """Copy these parts of ``tests/data/everything``, and what remembers."""
        shutil.copy(EVERYTHING / "remembering.py", self.project / "conftest.py")
        for part in parts:
            shutil.copy(EVERYTHING / f"{part}.py", self.project / f"test_{part}.py")

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start pytest."""
        command = [*self.interpreter, "-m", "pytest", "-p", "no:cacheprovider", "--color=no", "--tb=short"]
        places = [f"--basetemp={self.folder / 'base'}", f"--cosmos-cache-dir={self.cache_dir}"]
        return subprocess.Popen(
            [*command, *places, *options],
            cwd=self.project,
            env={
                "PATH": os.pathsep.join([str(self.python.parent), os.defpath]),
                "HOME": str(self._home),
                "TMPDIR": str(self._scratch),
                "PYTHONDONTWRITEBYTECODE": "1",
                "EVERYTHING_REPORT": str(self._report),
                # What implementations keep and tell by themselves is not the toolkit's.
                "AIRFLOW__COSMOS__CACHE_DIR": str(self.folder / "cache-of-cosmos"),
                "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(self.folder / "cache-of-cosmos-venv"),
                "DO_NOT_TRACK": "true",
                "AIRFLOW__STANDARD__VENV_INSTALL_METHOD": "uv",
                **self.variables,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *options: str) -> Finished:
        """Run pytest to its end."""
        with self.watching() as watch:
            return watch.finish(self.start(*options))

    @contextmanager
    def watching(self) -> Iterator[Watch]:
        """Sees, for the length of the block, what becomes of the processes that a run starts."""
        watch = Watch(self)
        with _adopting_orphans():
            yield watch

    @property
    def places(self) -> tuple[Path, ...]:
        """The folders in which a run has no business to leave anything."""
        return self.project, self._home, self._scratch


class Watch:
    """A look at files and processes before a run, and so at those that are left after it."""

    def __init__(self, run: InnerRun) -> None:
        self._run = run
        self._files = set(self._present_files())
        self._processes = set(psutil.Process().children(recursive=True))

    def finish(self, process: subprocess.Popen[str], *, patience: float = _ENDS_SOON) -> Finished:
        """Wait for the end of pytest.

        :param patience: seconds for what it started to end, too.
        """
        try:
            output, _ = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
            left = self._left(patience)
        files = sorted(str(path.relative_to(self._run.folder)) for path in set(self._present_files()) - self._files)
        return Finished(returncode=process.returncode, output=output, processes=left, files=files)

    def _left(self, patience: float) -> list[str]:
        """Return the processes that are left, and end them: a test that finds something leaves no more than others."""
        found = [one for one in psutil.Process().children(recursive=True) if one not in self._processes]
        _, alive = psutil.wait_procs(found, timeout=patience)
        told = [" ".join(one.cmdline()) or one.name() for one in alive if one.status() != psutil.STATUS_ZOMBIE]
        for one in alive:
            one.kill()
        psutil.wait_procs(alive, timeout=DEADLINE)
        return told

    def _present_files(self) -> Sequence[Path]:
        return [path for place in self._run.places for path in place.rglob("*")]


@contextmanager
def _adopting_orphans() -> Iterator[None]:
    """A process that loses its parent becomes this process's child instead of that of PID 1, so that it is found."""
    if sys.platform != "linux":
        pytest.skip("only on Linux can a test find the orphans of what it starts")
    prctl = ctypes.CDLL(None).prctl
    prctl(_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(_SET_CHILD_SUBREAPER, 0)


def python_of(environment: str) -> Path:
    """Return the Python of an environment under ``.cache/envs``; the test is skipped where there is none."""
    python = ENVIRONMENTS / environment / "bin" / "python"
    if not python.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"no environment at .cache/envs/{environment}: make test makes it")
    return python


def run_pytest(
    environment: str, *arguments: str, folder: Path, cwd: Path, python_path: Sequence[Path] = ()
) -> subprocess.CompletedProcess[str]:
    """Run pytest as a project without any configuration would, with an Airflow home that the toolkit makes.

    :param environment: under ``.cache/envs``.
    :param folder: the folder of the tests; no ``conftest.py`` above it counts.
    :param python_path: folders of modules that the environment does not have.
    """
    left_behind = ("AIRFLOW", "COV_", "PYTEST_", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_behind)}
    if python_path:
        kept["PYTHONPATH"] = os.pathsep.join(map(str, python_path))
    options = ["-c", os.devnull, f"--rootdir={folder}", f"--confcutdir={folder}", "-p", "no:cacheprovider"]
    command = [str(python_of(environment)), "-W", "ignore", "-m", "pytest", *options, f"--basetemp={cwd / 'inner'}"]
    return subprocess.run(
        [*command, *arguments],
        cwd=cwd,
        env={**kept, "DO_NOT_TRACK": "1"},  # astronomer-cosmos would report each run to its makers
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


def write_distribution(folder: Path, name: str, version: str, **files: str) -> None:
    """Write what tells that a distribution is installed.

    :param folder: a folder on ``sys.path``.
    :param files: texts of other files of its metadata, by their names without suffix.
    """
    information = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    for file, text in files.items():
        (information / f"{file}.txt").write_text(text, encoding="utf-8")


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    """Until the file is there."""

    def killed_and_told() -> str:
        process.send_signal(signal.SIGKILL)
        return process.communicate()[0]

    wait_until(lambda: file.exists() or process.poll() is not None, killed_and_told)
    assert file.exists(), killed_and_told()


def public_fixtures() -> set[str]:
    """Return the names of the fixtures that the modules of the toolkit offer."""
    return {name for module in plugin.FIXTURES for name in vars(import_module(module)) if name.startswith("cosmos_")}
