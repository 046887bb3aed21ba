"""The memory of a seed in every order of the steps of two tasks that load it, of a deployment, and of kills.

The model: dbt reads the file, leaves half a table, then a whole one. However it went, once each task has run again, the
table holds what the file holds: no task passes over a table of which that is not known.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_venv.dbt.command import FullOutputSubprocessResult
from cosmos_venv.managed import caches
from cosmos_venv.operators.seeds import seed_load
from cosmos_venv.operators.seeds.seed_load import SeedTask, run_if_changed
from cosmos_venv.operators.seeds.seed_state import Scope, remember
from pytest_cosmos_venv import Contender, CosmosRace
from pytest_cosmos_venv.explore.explorer import FailingSchedule
from pytest_cosmos_venv.explore.run import Schedule
from tests.explored import FURTHER, PROOF, SECONDS
from tests.operators.file_variables import variables_below
from tests.operators.seeds.seed_task import SEED

OLD, NEW = "a\n1\n", "a\n2\n"


class Log:
    """A task's log that nobody reads."""

    def info(self, *_: object) -> None: ...

    warning = info


def load(contender: Contender, *, dag: str = "harbor", fails: bool = False) -> bool:
    """A task of the seed; returns whether dbt ran."""
    folder = contender.folder
    has_run = False

    def dbt() -> FullOutputSubprocessResult:
        nonlocal has_run
        has_run = True
        content = (folder / "harbor" / "piers.csv").read_text()
        (folder / "table").write_text("half of it")
        if fails:
            raise ValueError("the warehouse is gone")
        (folder / "table").write_text(content)
        return FullOutputSubprocessResult(0, "", [])

    operator = SimpleNamespace(
        dag_id=dag,
        task_id="piers_seed",
        task_group=None,
        log=Log(),
        project_dir=folder / "harbor",
        install_deps=False,
    )
    context = {"dbt_node_config": {"unique_id": SEED, "original_file_path": "piers.csv"}, "run_id": contender.name}
    task = SeedTask(operator=operator, context=context, command=["dbt", "seed"], env={})
    with pytest.MonkeyPatch.context() as patch, variables_below(folder / "variables"):
        patch.setattr(caches, "cache_dir", lambda: folder / "cache" / "ours")
        run_if_changed(task, dbt)
    return has_run


port = partial(load, dag="port")
failing = partial(load, fails=True)


def load_each(contender: Contender) -> list[bool]:
    """Both groups run again."""
    return [load(contender, dag=dag) for dag in ("harbor", "port")]


def deploy(contender: Contender) -> None:
    draft = contender.folder / "draft"
    draft.write_text(NEW)
    draft.replace(contender.folder / "harbor" / "piers.csv")


def project(folder: Path) -> None:
    (folder / "harbor").mkdir()
    (folder / "harbor" / "dbt_project.yml").write_text("name: harbor\nseed-paths: ['.']\n")
    (folder / "harbor" / "piers.csv").write_text(OLD)
    (folder / "variables").mkdir()
    (folder / "cache").mkdir(mode=0o700)


def table_is_the_file_s(run: Schedule) -> None:
    table, file = (run.folder / "table").read_text(), (run.folder / "harbor" / "piers.csv").read_text()
    assert table == file, f"the table holds {table!r}, the file {file!r}"


@pytest.fixture(autouse=True)
def _everything_is_imported(tmp_path: Path) -> None:
    """Imports draw random values, and a process of a contender that serves several schedules imports but once."""
    project(tmp_path)
    load(Contender(0, 1, tmp_path))


@pytest.mark.parametrize(
    ("works", "bounds", "after"),
    [
        pytest.param([load, load], (1, 0), load, id="two-runs"),
        pytest.param([load, deploy], (2, 0), load, id="deployed"),
        pytest.param([load, port], (1, 0), load_each, id="two-groups"),
        pytest.param([load, load], (2, 0), load, id="two-runs-2", marks=FURTHER),  # 7 s of CPU
        pytest.param([load, failing], (2, 0), load, id="one-fails-2", marks=FURTHER),  # 7 s
        pytest.param([load, port], (2, 0), load_each, id="two-groups-2", marks=FURTHER),  # 5 s
        pytest.param([load, load], (1, 1), load, id="two-runs-killed", marks=PROOF),  # 17 s
        # Without an interruption: of each other pair there are some 900 schedules with it, too.
        pytest.param([load, failing], (0, 1), load, id="one-fails-killed", marks=PROOF),  # 3 s
        pytest.param([load, port], (0, 1), load_each, id="two-groups-killed", marks=PROOF),  # 4 s
        pytest.param([load, deploy], (2, 1), load, id="deployed-and-killed", marks=PROOF),  # 7 s
        # With two interruptions there are 3,439 schedules, which take a minute: they were explored once, by hand.
        pytest.param([load, load, deploy], (1, 0), load, id="two-runs-deployed", marks=PROOF),  # 3 s
    ],
)
def test_no_task_passes_over_a_table_of_which_it_is_not_known_what_it_holds(
    cosmos_race: CosmosRace,
    works: list[Callable[[Contender], object]],
    bounds: tuple[int, int],
    after: Callable[[Contender], object],
) -> None:
    preemptions, kills = bounds
    exploration = cosmos_race.explore(
        works,
        fresh=project,
        after=after,
        check=table_is_the_file_s,
        may_raise=ValueError,
        preemptions=preemptions,
        kills=kills,
        seconds=SECONDS,
    )

    print(exploration)
    assert exploration.is_complete


# A fault, put back in: what the task would do without one of its precautions.
def remembers_each_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def end_load(scope: Scope, run_id: str, checksum: str | None, warn: Any) -> bool:
        if checksum is not None:
            remember(scope, checksum, run_id, warn)
        return True

    monkeypatch.setattr(seed_load, "end_load", end_load)


@pytest.mark.long  # 8 s of CPU
@pytest.mark.proof
def test_loads_that_are_remembered_beside_others_are_found(
    cosmos_race: CosmosRace, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembers_each_load(monkeypatch)

    with pytest.raises(FailingSchedule, match=r"\A.*the table holds") as failure:
        cosmos_race.explore(
            [load, load],
            fresh=project,
            after=load,
            check=table_is_the_file_s,
            preemptions=1,
            kills=1,
        )

    print(failure.value.seed)
