"""Tasks of another implementation and of ours that use one ``virtualenv_dir``, in turns and at once.

The other one is astronomer-cosmos, as a black box in an environment of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.workers import COSMOS, OURS, Implementation, TaskFailed, Worker, workers, write_project
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse

VERSIONS = ("1.9.0", "1.10.0", "1.11.0")
LOCK = "cosmos_virtualenv.lock"

State = dict[str, tuple[int, int, int, int]]


@dataclass
class SharingCounts:
    """The counts of one way to share.

    :param faults: of ours, or of what both have promised.
    :param theirs: tasks of the other implementation that failed by themselves, with its words.
    """

    tasks: int = 0
    faults: list[str] = field(default_factory=list)
    theirs: list[str] = field(default_factory=list)


def share(folder: Path, installer: str, turns: int, *, at_once: bool) -> SharingCounts:
    """Run ``turns`` tasks of each implementation in one directory, each with other requirements than the one before.

    :param folder: an existing one for everything that is made.
    """
    wheelhouse = build_wheelhouse(folder / "wheelhouse")
    for version in VERSIONS:
        wheelhouse.add_dbt(version)
    project, directory = write_project(folder / "harbor"), folder / "kept"
    counts = SharingCounts()
    ours = Implementation(root="cosmos_venv", installer=installer, python=OURS)
    theirs = Implementation(root="cosmos", installer=installer, python=COSMOS)
    with (
        workers(ours, wheelhouse.environment, folder) as (our_worker,),
        workers(theirs, wheelhouse.environment, folder) as (their_worker,),
    ):
        for turn in range(turns):
            published = _state_of_builds(directory)
            our_order = _arguments(directory, wheelhouse, VERSIONS[turn % len(VERSIONS)])
            their_order = _arguments(directory, wheelhouse, VERSIONS[(turn + 1) % len(VERSIONS)])
            our_worker.start(project, our_order)
            if not at_once:
                _finish(our_worker, counts.faults, "ours")
            their_worker.start(project, their_order)
            if at_once:
                _finish(our_worker, counts.faults, "ours")
            _finish(their_worker, counts.theirs, "theirs")
            counts.tasks += 2
            now = _state_of_builds(directory)
            counts.faults += [f"turn {turn}: {name} changed" for name in published if now.get(name) != published[name]]
    if (directory / LOCK).exists():
        counts.faults.append(f"{LOCK} is still there")
    return counts


def _finish(worker: Worker, failures: list[str], whose: str) -> None:
    try:
        worker.finish()
    except TaskFailed as error:
        failures.append(f"{whose}: {error}")


def _arguments(directory: Path, wheelhouse: Wheelhouse, version: str) -> dict[str, object]:
    return {
        "py_requirements": [f"dbt-core=={version}", "dbt-duckdb"],
        "pip_install_options": wheelhouse.pip_install_options,
        "virtualenv_dir": str(directory),
        "install_deps": False,
    }


def _state_of_builds(directory: Path) -> State:
    """Inode, size, time and mode of every file below the builds that records name."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in (directory / "envs-v2").glob("*.json")]
    state: State = {}
    for build in [directory / "envs-v2" / record["build"] for record in records]:
        for path in build.rglob("*"):
            status = path.lstat()
            state[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode)
    return state
