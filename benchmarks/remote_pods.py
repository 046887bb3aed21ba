"""Benchmark of a small dbt task in a fresh pod, beside one in a worker that is ready. Prints and stores a table.

    .venv/bin/python -m benchmarks.remote_pods [--rounds 5]

A pod is a process that has imported the operators and run nothing, with empty folders of its own at the paths of the
pod before it. The remote store, on loopback as in ``benchmarks.remote_environments``, has the environment and the parse
file. The worker that is ready is such a process too, whose folders hold both. None has a warm server. What is compared
is measured in turns; processor time is that of the process and of what it starts.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from benchmarks.environments import Row
from benchmarks.remote_environments import (
    BUCKET,
    PROVIDERS,
    REQUIREMENTS,
    WHEELS,
    Series,
    Taken,
    connection_to,
    report,
    s3_server,
    worker,
)
from benchmarks.workers import ROOT, Implementation, workers, write_project

POD_BOUND = 1.3
KEY = "a key of all the pods"
LOCAL = ("--no-index", "--find-links", str(WHEELS))
ARGUMENTS = {"py_requirements": list(REQUIREMENTS), "pip_install_options": list(LOCAL), "install_deps": False}


class WithStorage(Implementation):
    """Ours in an environment that has Airflow and its provider of the storage."""

    @property
    def python(self) -> Path:
        return PROVIDERS


def run_task(folder: Path, disk: Path, project: Path, variables: Mapping[str, str]) -> Taken:
    """One task in a process of its own, whose environment and temporary files stand on a disk."""
    (disk / "tmp").mkdir(parents=True, exist_ok=True)
    own = {**variables, "TMPDIR": str(disk / "tmp"), "AIRFLOW__COSMOS_VENV__CACHE_DIR": str(disk / "cache")}
    with workers(WithStorage(root="cosmos_venv", installer="uv"), own, folder) as (process,):
        run = process.run(project, {**ARGUMENTS, "virtualenv_dir": str(disk / "environments")})
    return Taken(run.seconds, run.cpu)


def measure(folder: Path, rounds: int) -> Series:
    """Measure everything in turns, once before that is not counted. Nothing is deleted meanwhile."""
    series = Series()
    project = folder / "project"
    project.mkdir()
    write_project(project)
    key = folder / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    with s3_server(folder) as endpoint, worker(folder, endpoint, LOCAL) as do:
        do("push", folder / "builder")  # makes the bucket, and the one archive that is unpacked bare
        variables = {
            "AIRFLOW_CONN_AWS_DEFAULT": connection_to(endpoint),
            "AIRFLOW__COSMOS_VENV__REMOTE_ENVIRONMENT_DIR": f"s3://{BUCKET}/pods",
            "AIRFLOW__COSMOS_VENV__REMOTE_KEY_FILE": str(key),
            "AIRFLOW__COSMOS_VENV__REMOTE_CACHE_DIR": f"s3://{BUCKET}/cache",
            "AIRFLOW__COSMOS_VENV__REMOTE_CACHE_PARSE_FILES": "True",
            "AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT": "off",
            "PYTHONPATH": str(ROOT),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        do("bare", folder / "bare")
        run_task(folder, folder / "ready", project, variables)  # builds, and fills the store
        for number in range(-1, rounds):
            found = {
                "ready": run_task(folder, folder / "ready", project, variables),
                "pod": run_task(folder, folder / "pod", project, variables),
                "bare": do("bare", folder / f"bare-{number}"),
            }
            # Pods of one image have the same paths.
            (folder / "pod").rename(folder / f"pod-{number}")
            for what, taken in found.items():
                if number >= 0:
                    series.add(what, taken)
    return series


def rows_of(series: Series) -> list[Row]:
    """The lines of the table: wall time, then processor time."""
    rows = []
    for name, of in (("wall", series.seconds), ("processor", series.processors)):
        pods, ready, bare = of("pod"), of("ready"), of("bare")
        ratios = [(pod - floor) / task for pod, task, floor in zip(pods, ready, bare, strict=True)]
        figures = (
            f"{median(pods):.2f} s; ready {median(ready):.2f} s, bare {median(bare):.2f} s "
            f"({min(pods):.2f}; {min(ready):.2f}, {min(bare):.2f} at best)"
        )
        what = f"a task in a fresh pod less bare download and unpacking, of one in a ready worker: {name} time"
        rows.append(Row(what=what, figures=figures, judged=median(ratios), bound=POD_BOUND))
    return rows


def main() -> int:
    """Measure, print, store; 1 when the promise is not kept."""
    return report(
        "remote-pods",
        (__doc__ or "").partition("\n")[0],
        measure,
        rows_of,
        rounds=5,
        title="A small task in a fresh pod",
        subject=", one model, no warm server",
    )


if __name__ == "__main__":
    sys.exit(main())
