"""The ready-made scenarios see what astronomer-cosmos is known to do, on Airflow 3 and on Airflow 2."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pytest_cosmos_venv import SEED_SCENARIOS, SeedStory
from pytest_cosmos_venv.seeds.scenario_model import ASSET, BEST_EFFORT, VARIABLE
from pytest_cosmos_venv.shared_folders import SharedFolders
from tests.pytest_cosmos_venv.any_implementation.test_any_seed_scenarios import FINDINGS, FINDINGS_ON_AIRFLOW_3

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[3]
FILE = Path(__file__).parents[1] / "any_implementation" / "test_any_seed_scenarios.py"
DEADLINE = 290.0
BEFORE_3_13 = pytest.mark.skipif(sys.version_info >= (3, 13), reason="Airflow 2.11 is for Python 3.10 to 3.12")


# Airflow 2 keeps Variables and assets in its own way; all else is the same code of ours and of Cosmos.
ON_AIRFLOW_2 = [story for story in SEED_SCENARIOS if story.sentence in (ASSET, BEST_EFFORT, VARIABLE)]


@pytest.mark.timeout(DEADLINE + 10)
@pytest.mark.parametrize(
    ("environment", "stories", "findings"),
    [
        pytest.param("cosmos", SEED_SCENARIOS, (FINDINGS, FINDINGS_ON_AIRFLOW_3), id="on-airflow-3"),
        pytest.param("cosmos2", ON_AIRFLOW_2, (FINDINGS,), id="on-airflow-2", marks=BEFORE_3_13),
    ],
)
def test_the_scenarios_find_what_is_known_of_astronomer_cosmos(
    environment: str,
    stories: Sequence[SeedStory],
    findings: Sequence[Mapping[str, Mapping[str, str]]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    python = ROOT / ".cache" / "envs" / environment / "bin" / "python"
    if not python.exists() and os.environ.get("CI") != "true":
        pytest.skip(f"no environment at .cache/envs/{environment}: make test makes it")
    shared: SharedFolders = request.getfixturevalue("_cosmos_shared")

    done = run_pytest(python, f"--cosmos-cache-dir={shared.root}", *map(_test_of, stories), cwd=tmp_path)

    print(done.stdout)
    assert done.returncode == 0
    known = {name for known in findings for name in known["cosmos"]}
    xfailed = sum(story.id in known for story in stories)
    assert f"{len(stories) - xfailed} passed, {xfailed} xfailed" in done.stdout


def _test_of(story: SeedStory) -> str:
    return f"{FILE}::test_seeds_do_as_the_page_says[{story.id}]"


def run_pytest(python: Path, *options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run pytest as a project without any configuration would, with an Airflow home that the toolkit makes."""
    left_behind = ("AIRFLOW", "COV_", "PYTEST_", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_behind)}
    configuration = ["-c", os.devnull, f"--rootdir={FILE.parent}", f"--confcutdir={FILE.parent}"]
    words = [*configuration, "-p", "no:cacheprovider", "--tb=short", "--show-capture=no", f"--basetemp={cwd / 'inner'}"]
    return subprocess.run(
        [str(python), "-W", "ignore", "-m", "pytest", *words, "--cosmos-implementation=cosmos", *options],
        cwd=cwd,
        env={**kept, "DO_NOT_TRACK": "1"},  # astronomer-cosmos would report each run to its makers
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=DEADLINE,
    )
