"""The ready-made scenarios see what astronomer-cosmos is known to do, on Airflow 3 and on Airflow 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pytest_cosmos_venv import SEED_SCENARIOS, SeedStory
from pytest_cosmos_venv.seeds.scenario_model import ASSET, BEST_EFFORT, VARIABLE
from tests.pytest_cosmos_venv.any_implementation.test_any_seed_scenarios import FINDINGS, FINDINGS_ON_AIRFLOW_3
from tests.pytest_cosmos_venv.inner_run import BEFORE_3_13, DEADLINE, run_pytest

pytestmark = pytest.mark.long

FILE = Path(__file__).parents[1] / "any_implementation" / "test_any_seed_scenarios.py"
WITH_DBT_1 = "test_seeds_do_as_the_page_says"
WITH_DBT_2 = "test_seeds_do_as_the_page_says_with_a_dbt_that_is_a_program"


# Airflow 2 keeps Variables and assets in its own way; all else is the same code of ours and of Cosmos.
ON_AIRFLOW_2 = [story for story in SEED_SCENARIOS if story.sentence in (ASSET, BEST_EFFORT, VARIABLE)]


@pytest.mark.timeout(DEADLINE + 10)
@pytest.mark.parametrize(
    ("environment", "test", "stories", "findings"),
    [
        pytest.param("cosmos", WITH_DBT_1, SEED_SCENARIOS, (FINDINGS, FINDINGS_ON_AIRFLOW_3), id="on-airflow-3"),
        pytest.param(
            "cosmos",
            WITH_DBT_2,
            SEED_SCENARIOS,
            (FINDINGS, FINDINGS_ON_AIRFLOW_3),
            id="with-dbt-2",
            marks=pytest.mark.exhaustive,
        ),
        pytest.param(
            "cosmos2",
            WITH_DBT_1,
            ON_AIRFLOW_2,
            (FINDINGS,),
            id="on-airflow-2",
            marks=[BEFORE_3_13, pytest.mark.exhaustive],
        ),
    ],
)
def test_the_scenarios_find_what_is_known_of_astronomer_cosmos(
    environment: str,
    test: str,
    stories: Sequence[SeedStory],
    findings: Sequence[Mapping[str, Mapping[str, str]]],
    tmp_path: Path,
    cache_dir: Path,
) -> None:
    options = ["--tb=short", "--show-capture=no", "--cosmos-implementation=cosmos", f"--cosmos-cache-dir={cache_dir}"]

    played = [f"{FILE}::{test}[{story.id}]" for story in stories]
    done = run_pytest(environment, *options, *played, folder=FILE.parent, cwd=tmp_path)

    print(done.stdout)
    assert done.returncode == 0
    known = {name for known in findings for name in known["cosmos"]}
    xfailed = sum(story.id in known for story in stories)
    assert f"{len(stories) - xfailed} passed, {xfailed} xfailed" in done.stdout
