"""The first release beside this one: both installed, each in processes of its own, on the same folders.

The first release is that of ``tests/data/releases``, built and installed as pip would do it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.installed import ROOT, WHEELS
from tests.waiting import wait_until

ARCHIVE = ROOT / "tests" / "data" / "releases" / "cosmos_venv-0.1.0.tar.xz"
DEADLINE = 180.0


def install_first_release(folder: Path) -> Path:
    """Build and install the first release below a folder, without what it requires, and return its packages.

    :param folder: an empty one.
    """
    source, packages = folder / "source", folder / "packages"
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(source, filter="data")
    own = {"UV_FIND_LINKS": str(WHEELS), "UV_NO_INDEX": "1", "UV_OFFLINE": "1"}
    command = [sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--target", str(packages), str(source)]
    done = subprocess.run(
        [*command, "--python", sys.executable],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stderr
    return packages


@dataclass
class Process:
    """A process of one release that runs.

    :param log: of what it writes.
    """

    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> str:
        """What it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_until_it_says(self, words: str) -> None:
        """Wait for words in its log."""
        wait_until(lambda: words in self.said or self.popen.poll() is not None, f"{words!r} does not come")
        assert words in self.said, self.said

    def result(self) -> dict[str, Any]:
        """Wait for its end, which must be a good one, and return what it has told."""
        code, said = self.popen.wait(timeout=DEADLINE), self.said
        assert code == 0, said
        told: dict[str, Any] = json.loads(said.rpartition("RESULT")[2])
        return told


@dataclass(frozen=True, kw_only=True)
class Release:
    """One of the two releases.

    :param packages: the folder from which it is imported.
    :param folder: for the logs of its processes.
    :param python: with Airflow.
    :param variables: of the environment of its processes.
    """

    packages: Path
    folder: Path
    python: str
    variables: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its processes."""
        path = os.pathsep.join(map(str, dict.fromkeys((self.packages, ROOT))))
        return {**os.environ, **self.variables, "PYTHONPATH": path}

    def start(self, asked: Mapping[str, Any], variables: Mapping[str, str]) -> Process:
        """Start a process that does what ``tests.whole.release_child`` tells of.

        :param asked: what it is to do.
        :param variables: more variables of its environment.
        """
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        with log.open("wb") as file:
            popen = subprocess.Popen(
                [self.python, "-m", "tests.whole.release_child", json.dumps(asked)],
                env={**self.environment, **variables},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        return Process(popen, log)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``cosmos-venv`` of this release.

        :param arguments: words of its command line.
        """
        return subprocess.run(
            [self.python, "-m", "cosmos_venv.cli", *arguments],
            env=self.environment,
            cwd=self.folder,  # Python looks there first
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )


@dataclass(frozen=True, kw_only=True)
class TwoReleases:
    """Both releases on one dbt project, one home of Airflow, one folder of caches and the same Variables.

    :param folder: of the test.
    """

    folder: Path
    project: Path
    old: Release
    new: Release
    started: list[Process] = field(default_factory=list)

    @classmethod
    def on(cls, project: Path, folder: Path, first_release: Path, python: str = sys.executable) -> TwoReleases:
        """Return both for a test.

        :param folder: of the test.
        :param first_release: the folder from which the first release is imported.
        :param python: with Airflow.
        """
        variables = {
            "AIRFLOW_HOME": str(folder / "home"),
            "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(folder / "cache"),
        }
        made = []
        for name, packages in (("old", first_release), ("new", ROOT)):
            logs = folder / "logs" / name
            logs.mkdir(parents=True)
            made.append(Release(packages=packages, folder=logs, python=python, variables=variables))
        for name in ("home", "variables"):
            (folder / name).mkdir()
        return cls(folder=folder, project=project, old=made[0], new=made[1])

    def start(self, release: Release, *tasks: str, variables: Mapping[str, str], **asked: Any) -> Process:
        """Start a process that builds the DAG of the project and executes tasks of it.

        :param release: which of the two.
        :param variables: more variables of its environment.
        :param asked: as in ``tests.whole.release_child``.
        """
        process = release.start(
            {
                "project": str(self.project),
                "variables": str(self.folder / "variables"),
                "run_id": f"run {len(self.started)}",
                "tasks": tasks,
                "seeds": "when_seed_changes",
                **asked,
            },
            variables,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.started:
            process.popen.kill()
            process.popen.wait()
