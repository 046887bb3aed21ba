"""What did a task's dbt see, and what is in the environment that it ran in?"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pytest_cosmos_venv import DbtCall, Point, Sighting

from .bench import Bench
from .tasks import Task


def ran(bench: Bench, task: Task, variables: Mapping[str, str] | None = None) -> DbtCall:
    """The one ``dbt run`` of a task that has to succeed."""
    __tracebackhide__ = True
    before = len(bench.calls("run"))
    outcome = bench.run(task, variables=variables)
    assert outcome.succeeded, f"the task must succeed; seen: {outcome}"
    calls = bench.calls("run")[before:]
    assert len(calls) == 1, f"the task must run dbt once; seen: {calls}"
    return calls[0]


@contextmanager
def dbt_running(bench: Bench, task: Task, **variables: str) -> Iterator[DbtCall]:
    """The call of a dbt run that is in the middle of its work; afterwards the task goes on, and has to succeed."""
    __tracebackhide__ = True
    before = len(bench.calls("run"))
    held = bench.wheelhouse.script("run", hold=True)
    with bench.start(task, variables=variables) as running:
        running.wait_for(run_begins(bench))
        held.take_back()
        yield bench.calls("run")[before]
        held.release()
        outcome = running.finish().outcomes[0]
    assert outcome.succeeded, f"the task must succeed; seen: {outcome}"


def run_begins(bench: Bench) -> Point:
    """One more ``dbt run`` has begun; other commands of dbt do not count."""
    before = len(bench.calls("run"))

    def look() -> Sighting | None:
        calls = bench.calls("run")[before:]
        return Sighting(at=calls[0].started_at, pid=calls[0].pid, what="dbt run") if calls else None

    return Point("dbt run", look)


def is_below(place: Path, folder: Path) -> bool:
    """Whether the place is the folder, or lies in it, whatever links lead there."""
    return folder.resolve() in (place.resolve(), *place.resolve().parents)


def installed(prefix: Path) -> dict[str, Path]:
    """Of each distribution in an environment its RECORD, by name and version as files have them: ``dbt_core-1.10.0``.

    What environments are seeded with does not count.
    """
    found = {
        file.parent.name.removesuffix(".dist-info"): file
        for file in prefix.glob("lib*/python3*/site-packages/*.dist-info/RECORD")
    }
    return {name: file for name, file in found.items() if name.split("-")[0] not in ("pip", "setuptools", "wheel")}


def unpacked(prefix: Path) -> dict[str, tuple[int, int]]:
    """What tells whether a distribution was unpacked anew: inode and time (ns) of each RECORD."""
    return {name: (file.stat().st_ino, file.stat().st_mtime_ns) for name, file in installed(prefix).items()}


def damage(prefix: Path) -> list[str]:
    """Files of installed distributions that are not there, or have another size than their RECORD says."""
    found = []
    for record in installed(prefix).values():
        for name, _, size in csv.reader(record.read_text(encoding="utf-8").splitlines()):
            file = record.parent.parent / name
            if not file.exists():
                found.append(f"{name} is not there")
            elif size and file.stat().st_size != int(size):
                found.append(f"{name} has {file.stat().st_size} bytes of {size}")
    return found


def files_in(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, time (ns) and size of each file in a folder, byte code apart."""
    found = {}
    # Others may be at work there: this passes over what vanishes meanwhile.
    for place, _, names in os.walk(folder):
        for file in (Path(place, name) for name in names if Path(place).name != "__pycache__"):
            with suppress(FileNotFoundError):
                status = file.lstat()
                found[str(file.relative_to(folder))] = (status.st_ino, status.st_mtime_ns, status.st_size)
    return found
