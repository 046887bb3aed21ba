"""Benchmark of ``cosmos_race.explore``: schedules a second, two contenders of some twenty steps. Prints and stores.

    .venv/bin/python -m benchmarks.explore

Both cores are used, if nobody else needs them: the load before is stored with the table.
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.harness import Bench, Row, cpu_seconds, main
from pytest_cosmos_venv.explore.explorer import Exploration, explore
from pytest_cosmos_venv.explore.reduction import Cost
from pytest_cosmos_venv.explore.schedule import ExplorationPlan
from pytest_cosmos_venv.races.contender import Contender


def publish(contender: Contender) -> None:
    """Nineteen steps and the end, most of them on names that the other contender looks at too."""
    for number in range(3):
        draft = contender.folder / f"draft-{contender.index}-{number}"
        draft.write_text("all of it")
        (contender.folder / "book").exists()
        draft.read_text()
        draft.rename(contender.folder / "book")


def _new_folder(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


def schedules(bench: Bench) -> list[Row]:
    """Without and with a kill: the quickest of the rounds."""
    rows = []
    for kills in (0, 1):
        runs: list[Exploration] = []

        def explored(kills: int = kills, runs: list[Exploration] = runs) -> None:
            plan, most = ExplorationPlan(contenders=(publish, publish)), Cost(preemptions=3, kills=kills)
            new_folder = partial(_new_folder, bench.folder)
            runs.append(explore(plan, most, new_folder, at_most=20_000, seconds=600, is_reduced=True))

        cpu = min(cpu_seconds(explored) for _ in range(bench.rounds))
        best = min(runs, key=lambda run: run.seconds)
        figures = (
            f"{best.schedules / best.seconds:.0f} schedules a second: {best.schedules:,}, which are "
            f"{best.orders:,} orders, in {best.seconds:.2f} s"
        )
        what = f"{kills} {'kill' if kills == 1 else 'kills'}"
        rows.append(Row(what, figures, 1000 * cpu / best.schedules, unit="ms of CPU for each"))
    return rows


if __name__ == "__main__":
    how = "Two contenders of some twenty steps, two processes that run schedules. The quickest of {rounds} runs."
    sys.exit(main("explore", "Schedules a second", {"schedules": schedules}, rounds=3, how=how, description=__doc__))
