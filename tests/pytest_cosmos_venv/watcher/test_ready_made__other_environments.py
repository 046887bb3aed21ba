"""The ready-made scenarios on other releases of Airflow, and what they are known to see of astronomer-cosmos."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from pytest_cosmos_venv import WATCHER_SCENARIOS
from tests.pytest_cosmos_venv.any_implementation.test_any_watcher_scenarios import FINDINGS
from tests.pytest_cosmos_venv.inner_run import BEFORE_3_13, DEADLINE, ENVIRONMENTS, ROOT, run_pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(DEADLINE + 10)]

ON_EARLIER_RELEASES = (
    "each-node-is-built-once",
    "a-killed-dbt-is-tried-again",
    "a-retry-while-the-producer-waits-for-its-own",
    "behind-a-failed-task",
)
"""All of them would take minutes there."""
FILE = Path(__file__).parents[1] / "any_implementation" / "test_any_watcher_scenarios.py"


@pytest.mark.parametrize(
    ("environment", "implementation", "beside"),
    [
        pytest.param("cosmos", "cosmos", None, id="astronomer-cosmos-on-airflow-3"),
        pytest.param(
            "cosmos2", "cosmos", None, id="astronomer-cosmos-on-airflow-2", marks=[BEFORE_3_13, pytest.mark.exhaustive]
        ),
        # The environment has pytest; what cosmos-venv needs is in the one beside it.
        pytest.param(
            "cosmos2",
            "cosmos_venv",
            "airflow2",
            id="cosmos-venv-on-airflow-2",
            marks=[BEFORE_3_13, pytest.mark.exhaustive],
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


@pytest.fixture(scope="module")
def pytest_alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has pytest and what it needs, and nothing else of this environment."""
    folder = tmp_path_factory.mktemp("pytest-alone")
    for name in ("pytest", "_pytest", "py", "iniconfig", "exceptiongroup", "tomli"):
        if (spec := find_spec(name)) is not None and spec.origin is not None:
            found = Path(spec.origin)
            found = found.parent if found.name == "__init__.py" else found
            (folder / found.name).symlink_to(found)
    return folder


@pytest.mark.parametrize(
    "release",
    [
        pytest.param("airflow30", marks=[BEFORE_3_13, pytest.mark.exhaustive], id="airflow-3.0"),
        pytest.param("airflow31", id="airflow-3.1", marks=pytest.mark.exhaustive),
    ],
)
def test_scenarios_in_which_tasks_wait_and_are_tried_again_end_on_earlier_releases(
    release: str, pytest_alone: Path, tmp_path: Path, cache_dir: Path
) -> None:
    done = run_pytest(
        release,
        *("-p", "pytest_cosmos_venv.plugin", "--tb=short", "--show-capture=no"),
        "--cosmos-implementation=cosmos_venv",
        f"--cosmos-cache-dir={cache_dir}",
        *(f"{FILE}::test_a_run_ends_as_dbt_has[{each}]" for each in ON_EARLIER_RELEASES),
        folder=FILE.parent,
        cwd=tmp_path,
        python_path=[ROOT, pytest_alone],  # these environments have no pytest
    )

    print(done.stdout)
    assert f"{len(ON_EARLIER_RELEASES)} passed" in done.stdout
    assert done.returncode == 0
