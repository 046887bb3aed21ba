"""A whole task where users and file systems are odd: as somebody without name and home, and where nothing may run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pytest_cosmos_venv import RECORD_VARIABLE, Wheelhouse, read_dbt_calls
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
            **os.environ,
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


def test_a_task_fails_with_the_way_out_where_nothing_may_be_started(place: Path) -> None:
    mounted = within(setup=tmpfs(place / "aside", "noexec"))

    said = run_task(place, place / "aside", within=mounted)

    assert said.startswith(f"FAILED: virtualenv_dir {place / 'aside'}: its file system is mounted noexec")


# Arguments: as for TASK, and the folder for temporary files, a small file system. Prints how each task ended, as JSON.
SCARCE = """
import itertools, json, os, resource, subprocess, sys, traceback
from pathlib import Path
from cosmos_venv.compat import AirflowException
from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
from cosmos_venv.profiles import DuckDBUserPasswordProfileMapping

place, virtualenv_dir, small = map(Path, sys.argv[1:])
os.environ["AIRFLOW_CONN_HARBOR"] = '{"conn_type": "duckdb", "host": "/harbor.duckdb"}'
PAGE = 4096

def run(directory=virtualenv_dir):
    operator = DbtRunVirtualenvOperator(
        task_id="run",
        project_dir=place / "project",
        profile_config=ProfileConfig("harbor", "dev", profile_mapping=DuckDBUserPasswordProfileMapping("harbor")),
        py_requirements=["dbt-core==1.10.0", "dbt-duckdb"],
        pip_install_options=["--no-index", "--find-links", str(place / "wheels")],
        virtualenv_dir=directory,
        warm_dbt="off",
    )
    try:
        operator.execute({})
    except AirflowException as error:
        return str(error)
    except BaseException:
        return "RAW " + traceback.format_exc()
    return "SUCCEEDED"

def few_files(left):
    names = (small / f"filler{number}" for number in itertools.count())
    while os.statvfs(small).f_favail > left:
        next(names).touch()

def few_pages(left):
    with (small / "filler").open("wb", buffering=0) as file:
        while os.statvfs(small).f_bavail > left:
            file.write(bytes(PAGE))

def few_descriptors(left):
    most = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most + left, hard))

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
said = {"before": [run()]}
for scarcity in (few_files, few_pages, few_descriptors):
    for is_new in (False, True):
        said[f"{scarcity.__name__} new={is_new}"] = ends = []
        for left in (1, 2, 3, 4, 5, *((7, 9, 12) if scarcity is not few_descriptors else ())):
            scarcity(left)
            ends.append(run(place / "own" / f"{scarcity.__name__}-{left}" if is_new else virtualenv_dir))
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            for filler in small.glob("filler*"):
                filler.unlink()
said["after"] = [run()]
print("SAID", json.dumps(said))
"""


@pytest.mark.long
def test_what_has_run_out_is_named_and_not_the_virtualenv_dir(place: Path) -> None:
    small = place / "aside"
    mounted = within(setup=tmpfs(small, "size=2m,nr_inodes=200"), variables=[f"TMPDIR={small}"])

    done = subprocess.run(
        [*mounted, sys.executable, "-c", SCARCE, str(place), str(place / "own" / "store"), str(small)],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "AIRFLOW_HOME": str(place / "own" / "airflow"),
            RECORD_VARIABLE: str(place / "own" / "calls"),
        },
    )

    found = re.search(r"^SAID (.*)", done.stdout, flags=re.MULTILINE)
    assert found, done.stdout + done.stderr
    said = json.loads(found.group(1))
    assert said.pop("before") == said.pop("after") == ["SUCCEEDED"]
    for scarcity, ends in said.items():
        failed = [end for end in ends if end != "SUCCEEDED"]
        expected = (
            r"ulimit -n" if "descriptors" in scarcity else rf"(?s)files.*{small}.*set TMPDIR|TMPDIR and UV_CACHE_DIR"
        )
        assert failed, scarcity
        assert [end for end in failed if not re.search(expected, end) or "readable and writable" in end] == [], scarcity
