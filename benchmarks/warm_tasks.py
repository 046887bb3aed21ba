"""Benchmark of a whole task whose dbt starts warm, beside tasks of astronomer-cosmos. A part of ``benchmarks.warm``.

Each task has a worker of its own, as in Airflow, which has imported the operators and no dbt. Implementations, modes
and the bare dbt take turns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.environments import REAL, REAL_WHEELS
from benchmarks.harness import NO_BOUND, ROOT, Bench, Row, in_turns, ratio
from benchmarks.local import DBT, Contestant
from benchmarks.workers import PYTHONS, Implementation, TaskRun, workers

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
        implementation = Implementation(root=self.root, installer=self.installer, python=PYTHONS[self.root])
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

    def task(each: VirtualenvContestant | Contestant) -> TaskRun:
        alone = DBT / "bin" / "dbt" if each.name == OURS_WARM else None
        return each.task(bench, project, select=select, alone=alone)

    runs = in_turns({each.name: partial(task, each) for each in CONTESTANTS}, bench.rounds)
    ours = [run.seconds for run in runs[OURS_WARM]]
    others = {"bare dbt": [run.alone for run in runs[OURS_WARM]]}
    others |= {name: [run.seconds for run in found] for name, found in runs.items() if name != OURS_WARM}
    figures = ", ".join(f"{name} {median(seconds):.2f} s" for name, seconds in others.items())
    figures = f"ours {median(ours):.2f} s; {figures}"
    judged = dict(zip(("bare dbt", COSMOS_UV, COSMOS_RUNNER), bounds, strict=True))
    return [
        Row(
            f"{what}, warm task over {name}",
            figures if name == "bare dbt" else "",
            ratio(ours, seconds),
            judged.get(name, NO_BOUND),
        )
        for name, seconds in others.items()
    ]
