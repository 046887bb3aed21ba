"""Races across the workers of pytest-xdist: each worker runs the copies that it has claimed, before all other tests.

A worker runs its copies after its collection and before it reports the collection to the scheduler of pytest-xdist. So
all workers are free, and the scheduler is not involved. All workers take the races in the same order, which excludes
deadlocks. A worker claims the first unclaimed copy of each race, by an atomic hard link. A worker that replaces a
crashed worker takes part in the later races. Afterwards the scheduler hands out all tests, and copies that have raced
are skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.marked_races.mark import CollectedRace
from pytest_cosmos_venv.races.meeting import LOOK_AGAIN, Ending, Meeting

_OFFER = "cosmos_races"
"""Key in the input of a worker where races can be run: ``{"folder": …, "workers": …}``."""
_AFTER_A_MISS = 1.0  # seconds to wait for workers in later races, once workers have been missing in one race


def offer(node: Any) -> None:
    """Write into the input of a worker where copies meet, if races can run across workers.

    :param node: the worker of pytest-xdist that is about to start.
    """
    root = _root(node.config)
    if root is not None:
        node.workerinput[_OFFER] = {"folder": str(root), "workers": len(_specs(node.config))}


def offered(config: pytest.Config) -> tuple[Path, int]:
    """Return the folder of all races of the run, and the number of workers; 0 where no race can run across workers.

    :param config: the configuration of the run, or of one of its workers.
    """
    found: Mapping[str, Any] = getattr(config, "workerinput", {}).get(_OFFER) or {"folder": "", "workers": 0}
    return Path(found["folder"]), found["workers"]


def _root(config: pytest.Config) -> Path | None:
    """The folder where copies in several workers meet; None: each worker runs all tests, or runs on another machine."""
    factory: pytest.TempPathFactory | None = getattr(config, "_tmp_path_factory", None)
    if factory is None or config.getoption("dist") == "each" or not all("popen" in spec for spec in _specs(config)):
        return None
    return factory.getbasetemp() / "cosmos-races"


def _specs(config: pytest.Config) -> list[str]:
    from xdist.workermanage import parse_tx_spec_config  # type: ignore[import-untyped]

    specs: list[str] = parse_tx_spec_config(config)
    return specs


def run_races(
    session: pytest.Session,
    races: Sequence[CollectedRace],
    root: Path,
    run: Callable[[pytest.Item, Meeting], float],
) -> None:
    """Run, one after the other, the copies that this worker claims.

    :param session: the session of this worker, with all that was collected.
    :param races: the races, in the order of all workers.
    :param root: the folder of all races of the run.
    :param run: gives a copy its meeting, and returns the seconds for which the copy waits for other workers.
    :raises session.Failed: the run is to stop, as with ``-x``.
    """
    interactor = next(each for each in session.config.pluginmanager.get_plugins() if hasattr(each, "torun"))
    has_missed = False
    for race in races:
        folder, count = _race_folder(root, race.name), len(race.positions)
        nodeids = [session.items[position].nodeid for position in race.positions]
        index = None if _is_stopped(root) else _claim(folder, nodeids, session.config)
        if index is None:
            continue
        item = session.items[race.positions[index]]
        timeout = run(item, Meeting(folder=folder, count=count))
        has_missed = not _all_have_come(root, folder, count, _AFTER_A_MISS if has_missed else timeout)
        if _is_stopped(root):
            continue
        interactor.item_index = race.positions[index]  # xdist's worker sends this index with each report
        # With the session as next test, pytest keeps session fixtures and tears down all other fixtures.
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=cast("pytest.Item", session))
        (folder / "claims" / f"{index}.done").touch()
        if session.shouldfail or session.shouldstop:
            (root / "stopped").touch()
    if session.shouldfail or session.shouldstop:
        raise session.Failed(session.shouldfail or session.shouldstop)


def report_lost(node: Any, error: object | None) -> None:
    """Report the copy that a worker was running when it crashed, and tell the other copies.

    :param node: the worker.
    :param error: why the worker crashed; None: the worker was stopped.
    """
    root, worker = _root(node.config), node.gateway.id
    for claim in [] if root is None or error is None else sorted(root.glob("*/claims/*.json")):
        told = json.loads(claim.read_bytes())
        if told["worker"] != worker or claim.with_suffix(".done").exists():
            continue
        meeting = Meeting(folder=claim.parent.parent, count=len(told["nodeids"]))
        meeting.end(int(claim.stem), Ending(outcome="died", how=f"lost its worker {worker}, which crashed,"))
        nodeid = told["nodeids"][int(claim.stem)]
        file = nodeid.partition("::")[0]
        report = pytest.TestReport(
            nodeid,
            (file, None, nodeid.rpartition("::")[2]),
            {},
            "failed",
            f"worker {worker!r} crashed while running {nodeid!r}",
            "call",
        )
        report.node = node  # type: ignore[attr-defined] # as pytest-xdist sets it
        node.config.hook.pytest_runtest_logreport(report=report)


def _race_folder(root: Path, name: str) -> Path:
    """The folder of a race, the same in every process of the run."""
    readable = re.sub(r"\W+", "-", name.rpartition("::")[2])[:40].strip("-")
    return root / f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _claim(folder: Path, nodeids: Sequence[str], config: pytest.Config) -> int | None:
    """Claim the first unclaimed copy and return its index; None when all copies are claimed."""
    claims = folder / "claims"
    claims.mkdir(parents=True, exist_ok=True)
    worker: str = config.workerinput["workerid"]  # type: ignore[attr-defined] # of pytest-xdist
    draft = folder / f"draft-{os.getpid()}"
    draft.write_text(json.dumps({"worker": worker, "nodeids": nodeids}), encoding="utf-8")
    for index in range(len(nodeids)):
        try:
            os.link(draft, claims / f"{index}.json")
            return index
        except FileExistsError:
            continue
    return None


def _all_have_come(root: Path, folder: Path, count: int, timeout: float) -> bool:
    def is_so() -> bool:
        return len(list((folder / "claims").glob("*.json"))) >= count or _is_stopped(root)

    return real_time.wait_until(is_so, timeout, every=LOOK_AGAIN)


def _is_stopped(root: Path) -> bool:
    return (root / "stopped").exists()
