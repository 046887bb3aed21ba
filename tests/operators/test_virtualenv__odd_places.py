"""A whole task where users and file systems are odd: as somebody without name and home, and where nothing may run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pytest_cosmos_venv.environments.scripted_dbt import read_dbt_calls
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from pytest_cosmos_venv.fake_dbt import RECORD_VARIABLE
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.environments.elsewhere import REPOSITORY, open_to_everybody, own_python, require_root, tmpfs, within

SOMEBODY = 51_234

# Arguments: the folder with project, profile and wheels; virtualenv_dir, or nothing for a temporary one.
TASK = """
import sys
from pathlib import Path
from cosmos_venv.compat import AirflowException
from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator

place, virtualenv_dir = Path(sys.argv[1]), sys.argv[2] or None
operator = DbtRunVirtualenvOperator(
    task_id="run",
    project_dir=place / "project",
    profile_config=ProfileConfig(
        profile_name="harbor", target_name="dev", profiles_yml_filepath=place / "project" / "profiles.yml"
    ),
    py_requirements=["dbt-core==1.10.0", "dbt-duckdb"],
    pip_install_options=["--no-index", "--find-links", str(place / "wheels")],
    virtualenv_dir=virtualenv_dir,
)
try:
    operator.execute({})
except AirflowException as error:
    print("FAILED:", error)
else:
    print("SUCCEEDED")
"""


@pytest.fixture
def place(misbehaving_wheelhouse: Wheelhouse, dbt_project: Path) -> Iterator[Path]:
    """Project and wheels where every user can read them; those of pytest are their owner's alone."""
    with throwaway_folder("cosmos-venv-tests-") as path:
        shutil.copytree(dbt_project, path / "project")
        shutil.copytree(misbehaving_wheelhouse.path, path / "wheels")
        (path / "own").mkdir()
        (path / "aside").mkdir()
        for folder in (path, *path.iterdir()):
            folder.chmod(0o755)
        yield path


def run_task(place: Path, virtualenv_dir: Path | str, *, within: Sequence[str]) -> str:
    """The end of the task, in all its words."""
    done = subprocess.run(
        [*within, sys.executable, "-c", TASK, str(place), str(virtualenv_dir)],
        capture_output=True,
        text=True,
        check=False,
        env={
            # Without the wheels of the real dbt, which make test gives to installers.
            **{name: value for name, value in os.environ.items() if not name.endswith("_FIND_LINKS")},
            "PYTHONPATH": str(REPOSITORY),
            "AIRFLOW_HOME": str(place / "own" / "airflow"),
            RECORD_VARIABLE: str(place / "own" / "calls"),
        },
    )
    found = re.search(r"^(FAILED|SUCCEEDED).*", done.stdout, flags=re.MULTILINE | re.DOTALL)
    assert found, done.stdout + done.stderr
    return found.group().rstrip()


@pytest.mark.long
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_task_runs_as_a_user_without_name_and_home(place: Path, is_kept: bool) -> None:
    require_root("only root may become another user")
    os.chown(place / "own", SOMEBODY, SOMEBODY)
    as_somebody = within(
        setup=open_to_everybody(own_python(), place / "aside"),
        variables=["-u", "HOME", "-u", "XDG_CACHE_HOME", "-u", "UV_CACHE_DIR"],
        user=SOMEBODY,
    )

    said = run_task(place, place / "own" / "store" if is_kept else "", within=as_somebody)

    assert said == "SUCCEEDED"
    assert [call.command for call in read_dbt_calls(place / "own" / "calls")] == ["run"]


@pytest.mark.long
def test_a_task_fails_with_the_way_out_where_nothing_may_be_started(place: Path) -> None:
    mounted = within(setup=tmpfs(place / "aside", "noexec"))

    said = run_task(place, place / "aside", within=mounted)

    assert said.startswith(f"FAILED: virtualenv_dir {place / 'aside'}: its file system is mounted noexec")
