"""The simulation of many pods: each task gets its environment, and the same seed gives the same run."""

from __future__ import annotations

from pathlib import Path

from benchmarks.remote_at_scale import Chances, Counts, Simulation


def simulated(root: Path, chances: Chances, *, has_remote: bool = True) -> Counts:
    root.mkdir()
    return Simulation(root, chances=chances, seed=3, has_remote=has_remote).run(2, 16, within=10.0)


def test_each_environment_is_built_once_and_fetched_by_the_others(tmp_path: Path) -> None:
    counts = simulated(tmp_path / "remote", Chances())

    assert counts.builds == 2
    assert counts.downloaded == 14 * 50e6
    assert len(counts.waits) == 16


def test_no_task_is_lost_whatever_goes_wrong_and_a_seed_says_what_does(tmp_path: Path) -> None:
    chances = Chances(storage_fails=0.05, storage_hangs=0.02, build_fails=0.2, pod_evicted=0.3, archive_removed=0.5)

    first, second = (simulated(tmp_path / name, chances) for name in ("first", "second"))

    assert first == second
    assert len(first.waits) == 16
    assert first.evicted


def test_a_pod_waits_for_two_builders_at_most_while_no_build_succeeds(tmp_path: Path) -> None:
    counts = simulated(tmp_path / "remote", Chances(index_back_at=120.0))

    assert len(counts.waits) == 16
    assert counts.failed_builds
    assert counts.longest < 3 * 20 + 3, "two builders and its own build, and a look each second"
