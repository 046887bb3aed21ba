"""Benchmark of ``cosmos_race.explore``: schedules a second, two contenders of some twenty steps. Prints and stores.

    .venv/bin/python -m benchmarks.explore

Both cores are used, if nobody else needs them: the load before is stored with the table.
"""

from __future__ import annotations

import os
import resource
import tempfile
from pathlib import Path

from benchmarks.storing import MACHINE, store
from pytest_cosmos_venv.explore.explorer import Exploration, explore
from pytest_cosmos_venv.explore.reduction import Cost
from pytest_cosmos_venv.explore.schedule import Plan
from pytest_cosmos_venv.races.contender import Contender
from pytest_cosmos_venv.throwaway import throwaway_folder


def publish(contender: Contender) -> None:
    """Nineteen steps and the end, most of them on names that the other one looks at too."""
    for number in range(3):
        draft = contender.folder / f"draft-{contender.index}-{number}"
        draft.write_text("all of it")
        (contender.folder / "book").exists()
        draft.read_text()
        draft.rename(contender.folder / "book")


def explored(*, reuse: bool, kills: int) -> Exploration:
    """One exploration, in a folder of its own."""
    with throwaway_folder("cosmos-explore-") as folder:
        plan = Plan(contenders=(publish, publish), reuse=reuse)
        most = Cost(preemptions=3, kills=kills)
        new_folder = lambda: Path(tempfile.mkdtemp(dir=folder))  # noqa: E731 - one line
        return explore(plan, most, new_folder, at_most=20_000, seconds=600, is_reduced=True)


def line(*, reuse: bool, kills: int) -> dict[str, str]:
    """One line of the table: the quickest of three runs."""
    runs: list[tuple[float, Exploration, float]] = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        seen = explored(reuse=reuse, kills=kills)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        runs.append((seen.seconds, seen, cpu))
    _, seen, cpu = min(runs, key=lambda run: run[0])
    return {
        "what": f"{'kept' if reuse else 'new'} processes, {kills} {'kill' if kills == 1 else 'kills'}",
        "figures": f"{seen.schedules / seen.seconds:.0f} schedules a second: {seen.schedules:,}, which are "
        f"{seen.orders:,} orders, in {seen.seconds:.2f} s; {cpu / seen.schedules * 1000:.1f} ms of CPU for each",
    }


def main() -> None:
    """Print the table, and store it."""
    head = (
        f"# Schedules a second\n\n{MACHINE}. Two contenders of some twenty steps, two processes that run schedules. "
        f"The quickest of three runs; the load of the machine before it began was {os.getloadavg()[0]:.1f}."
    )
    rows = [line(reuse=reuse, kills=kills) for reuse in (False, True) for kills in (0, 1)]
    cells = [list(rows[0]), ["---"] * len(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    text = f"{head}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in cells) + "\n"
    print(text)
    store("explore", text, {"machine": MACHINE, "rows": rows})


if __name__ == "__main__":
    main()
