"""Benchmark of a whole task whose dbt starts warm, beside tasks of astronomer-cosmos. A part of ``benchmarks.warm``.

Each task has a worker of its own, as in Airflow, which has imported the operators and no dbt. Implementations, modes
and the bare dbt take turns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.environments import REAL, REAL_WHEELS, Row
from benchmarks.local import DBT, Bench, Contestant
from benchmarks.workers import ROOT, Implementation, TaskRun, workers

OURS_WARM = "cosmos_venv virtualenv, warm"
COSMOS_UV = "cosmos virtualenv with uv"
COSMOS_RUNNER = "cosmos dbt_runner"


@dataclass(frozen=True, kw_only=True)
class VirtualenvContestant:
    """Tasks that keep their environment, of one implementation with one installer."""

    root: str
    installer: str

    @property
    def name(self) -> str:
        return OURS_WARM if self.root == "cosmos_venv" else f"{self.root} virtualenv with {self.installer}"

    def task(self, bench: Bench, project: Path, *, select: str, alone: Path | None = None) -> TaskRun:
        """One task, in a worker of its own; right after it that dbt alone."""
        implementation = Implementation(root=self.root, installer=self.installer)
        directory = bench.folder / f"kept-{self.root}-{self.installer}"
        arguments = {
            "select": select,
            "install_deps": False,
            "py_requirements": list(REAL),
            "pip_install_options": ["--no-index", "--find-links", str(REAL_WHEELS)],
            "virtualenv_dir": str(directory),
            **({"warm_dbt": "require"} if self.root == "cosmos_venv" else {}),
        }
        variables = {
            "PYTHONPATH": str(ROOT),
            "TMPDIR": tempfile.gettempdir(),  # servers are looked for there
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
        with workers(implementation, variables, bench.folder) as (worker,):
            return worker.run(project, arguments, alone=alone)


CONTESTANTS: Sequence[VirtualenvContestant | Contestant] = (
    VirtualenvContestant(root="cosmos_venv", installer="uv"),
    VirtualenvContestant(root="cosmos", installer="uv"),
    VirtualenvContestant(root="cosmos", installer="pip"),
    Contestant(root="cosmos", mode="subprocess"),
    Contestant(root="cosmos", mode="dbt_runner"),
)


def beside_cosmos(what: str, bench: Bench, project: Path, select: str, bounds: tuple[float, float, float]) -> list[Row]:
    """Ours over the bare dbt, over VIRTUALENV with uv, and over LOCAL with dbt_runner; the others stand beside.

    :param bounds: for these three.
    """
    runs: dict[str, list[TaskRun]] = {each.name: [] for each in CONTESTANTS}
    for number in range(bench.rounds + 1):
        for each in CONTESTANTS:
            alone = DBT / "bin" / "dbt" if each.name == OURS_WARM else None
            run = each.task(bench, project, select=select, alone=alone)
            if number:  # the first round builds, starts the server and fills caches
                runs[each.name].append(run)
    ours = runs[OURS_WARM]
    others = {"bare dbt": [run.alone for run in ours]}
    others |= {name: [run.seconds for run in found] for name, found in runs.items() if name != OURS_WARM}
    figures = ", ".join(f"{name} {median(seconds):.2f} s" for name, seconds in others.items())
    figures = f"ours {median(run.seconds for run in ours):.2f} s; {figures}"
    judged = dict(zip(("bare dbt", COSMOS_UV, COSMOS_RUNNER), bounds, strict=True))
    return [
        Row(
            what=f"{what}, warm task over {name}",
            figures=figures if name == "bare dbt" else "",
            judged=median(mine.seconds / other for mine, other in zip(ours, others[name], strict=True)),
            bound=judged.get(name, float("inf")),
        )
        for name in others
    ]
