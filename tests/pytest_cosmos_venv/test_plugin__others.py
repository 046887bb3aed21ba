"""The toolkit lives beside other plugins for pytest, in any order of loading, and beside their fixtures' names.

In ``.cache/envs/crowd``: pytest-randomly, -rerunfailures, -timeout, -split, -cov, -airflow-in-a-box, time-machine,
syrupy and inline-snapshot, all on.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pytest_cosmos_venv.inner_run import InnerRun

# What a project may well have of its own. Nothing of ours may ask for any of it.
CONFTEST = """

@pytest.fixture
def airflow_home(): raise AssertionError("a fixture of the project's own, which none of the toolkit's uses")

dbt_project = venv = frozen_time = wheelhouse = racer = airflow_home
"""

OVERRIDES = '''
import pytest

pytestmark = pytest.mark.long


@pytest.fixture
def cosmos_pids():
    """A user's own. It changes what he asks for, and not the lock, which needs one as well."""
    return "mine"


@pytest.fixture
def cosmos_wheelhouse():
    return "mine"


def test_an_override_changes_what_was_asked_for(cosmos_pids, cosmos_venv_lock, tmp_path):
    assert cosmos_pids == "mine"
    assert cosmos_venv_lock(tmp_path).stale() > 0


def test_and_nothing_else(cosmos_wheelhouse, cosmos_package_index):
    assert cosmos_wheelhouse == "mine"
    assert (cosmos_package_index.wheelhouse.path / "uv.toml").exists()


def test_time_machine_is_the_engine(cosmos_clock):
    import time
    import time_machine

    cosmos_clock.freeze("2026-01-01")
    assert time_machine.escape_hatch.is_travelling()
    assert time.time() == 1767225600
'''

OURS, THEIRS = "pytest_cosmos_venv.plugin", "pytest_airflow_in_a_box.plugin"


@pytest.mark.long
@pytest.mark.parametrize(
    ("order", "options"),
    [
        pytest.param((OURS, THEIRS), ["-n", "2", "--dist", "loadfile"], id="ours-first-n2"),
        pytest.param((THEIRS, OURS), ["-p", "no:xdist", "--reruns", "1"], id="theirs-first"),
    ],
)
def test_everything_passes_in_a_crowd(
    order: tuple[str, str], options: list[str], tmp_path: Path, cache_dir: Path
) -> None:
    run = InnerRun("crowd", tmp_path, cache_dir)
    run.add_everything("dbt_side", "racing", "airflow_side")
    run.add(test_overrides=OVERRIDES)
    with (run.project / "conftest.py").open("a", encoding="utf-8") as conftest:
        conftest.write(CONFTEST)
    # Named like this, plugins are loaded in this order, before those with an entry point.
    named = [part for name in order for part in ("-p", name)]
    by_entry_point = ["-p", "no:cosmos_venv", "-p", "no:airflow_in_a_box", "-p", "no:pytest_airflow_in_a_box"]

    done = run.run(
        *named,
        *by_entry_point,
        *options,
        "--timeout=200",
        "--splits=1",
        "--group=1",
        "-p",
        "randomly",
        "--randomly-seed=4711",
        # No implementation is installed there; the checkout has one.
        "--cosmos-implementation=cosmos_venv",
        "--deselect=test_airflow_side.py::test_an_unchanged_seed",
    )

    print(done.output)
    assert done.returncode == 0
    assert done.outcomes.keys() == {"passed"}
    assert done.outcomes["passed"] == (23 if "-n" in options else 22)
    assert "Using --randomly-seed=4711" in done.output
    assert done.processes == []
    assert [report["variables"] for report in run.reports] == [{}] * len(run.reports)
