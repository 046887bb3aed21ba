"""The ready-made scenarios on other releases of Airflow, and what they are known to see of astronomer-cosmos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pytest_cosmos_venv import WATCHER_SCENARIOS
from tests.pytest_cosmos_venv.any_implementation.test_any_watcher_scenarios import FINDINGS
from tests.pytest_cosmos_venv.inner_run import BEFORE_3_13, DEADLINE, ENVIRONMENTS, ROOT, run_pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(DEADLINE + 10)]

FILE = Path(__file__).parents[1] / "any_implementation" / "test_any_watcher_scenarios.py"


@pytest.mark.parametrize(
    ("environment", "implementation", "beside"),
    [
        pytest.param("cosmos", "cosmos", None, id="astronomer-cosmos-on-airflow-3"),
        pytest.param("cosmos2", "cosmos", None, id="astronomer-cosmos-on-airflow-2", marks=[BEFORE_3_13]),
        # The environment has pytest; what cosmos-venv needs is in the one beside it.
        pytest.param(
            "cosmos2",
            "cosmos_venv",
            "airflow2",
            id="cosmos-venv-on-airflow-2",
            marks=[BEFORE_3_13],
        ),
    ],
)
def test_the_scenarios_find_what_is_known_and_nothing_else(
    environment: str, implementation: str, beside: str | None, tmp_path: Path, cache_dir: Path
) -> None:
    options = ["--tb=short", "--show-capture=no", f"--cosmos-implementation={implementation}"]
    found: Sequence[Path] = () if beside is None else [ROOT, *(ENVIRONMENTS / beside).glob("lib/*/site-packages")]

    done = run_pytest(
        environment,
        *options,
        f"--cosmos-cache-dir={cache_dir}",
        str(FILE),
        folder=FILE.parent,
        cwd=tmp_path,
        python_path=found,
    )

    print(done.stdout)
    assert done.returncode == 0
    xfailed = len(FINDINGS.get(implementation, {}))
    passed = f"{len(WATCHER_SCENARIOS) - xfailed} passed"
    assert (f"{passed}, {xfailed} xfailed" if xfailed else passed) in done.stdout
