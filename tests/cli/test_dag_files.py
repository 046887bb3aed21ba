"""Tests of the tasks that ``cosmos-venv env warm`` finds in a DAG file, and of its words where it cannot find any."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.command_line import cosmos_venv, write_dag_file
from tests.installed import AIRFLOW_2, ROOT, needs_airflow_2

# What a task says of its environment, for DAG files that are made of operators.
TASK = """
import os
from datetime import datetime, timezone
from pathlib import Path
from cosmos_venv.compat import DAG, TaskGroup
from cosmos_venv.config import ProfileConfig
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
try:
    from airflow.sdk import dag as dag_decorator
except ImportError:
    from airflow.decorators import dag as dag_decorator

HERE = Path(__file__).parent
ARGUMENTS = dict(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc))
PLAIN = dict(
    task_id="run",
    project_dir=HERE,
    profile_config=ProfileConfig("harbor", "dev", profiles_yml_filepath=HERE / "profiles.yml"),
)
INSTALLED = dict(
    virtualenv_dir=HERE / "environments",
    py_requirements=["dbt-core==1.10.0", "dbt-duckdb"],
    pip_install_options=os.environ["OPTIONS"].split(),
)
"""

IDIOMS = """
def installed(idiom):
    return {**INSTALLED, "virtualenv_dir": HERE / idiom}

with DAG("one", **ARGUMENTS):
    DbtRunVirtualenvOperator(**PLAIN, **installed("with-without-as"))

@dag_decorator(dag_id="two", **ARGUMENTS)
def two():
    DbtRunVirtualenvOperator(**PLAIN, **installed("decorator"))

two()

three = DAG("three", **ARGUMENTS)
DbtRunVirtualenvOperator(**PLAIN, **installed("global"), dag=three)

with DAG("four", **ARGUMENTS):
    DbtRunVirtualenvOperator.partial(**PLAIN, **installed("mapped")).expand(select=["a", "b"])

with DAG("five", default_args=installed("mapped-with-default-arguments"), **ARGUMENTS):
    DbtRunVirtualenvOperator.partial(**PLAIN).expand(select=["a", "b"])

with DAG("six", **ARGUMENTS):
    with TaskGroup("group", default_args=installed("mapped-with-arguments-of-the-group")):
        DbtRunVirtualenvOperator.partial(**PLAIN).expand_kwargs([{"select": "a"}])
"""
READ = """
import sys
from pathlib import Path
from cosmos_venv.cli.dag_files import read_dag_files
read = read_dag_files([Path(sys.argv[1])], begin=str)
print("READ", *sorted({one.directory.name for one in read.wanted}), *read.failures)
"""


@pytest.fixture
def options(fake_dbt_wheels: Wheelhouse, monkeypatch: pytest.MonkeyPatch) -> str:
    """The options with which DAG files made of TASK install."""
    options = " ".join(fake_dbt_wheels.pip_install_options)
    monkeypatch.setenv("OPTIONS", options)
    return options


@pytest.mark.long
@pytest.mark.parametrize(
    "python",
    [
        pytest.param(sys.executable, id="this-airflow"),
        pytest.param(AIRFLOW_2, id="airflow-2", marks=needs_airflow_2),
    ],
)
def test_a_task_is_found_wherever_airflow_finds_it(
    python: Path | str, tmp_path: Path, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "airflow"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    dagfile = write_dag_file(tmp_path, TASK + IDIOMS)

    done = subprocess.run(
        [str(python), "-W", "ignore", "-c", READ, str(dagfile)], capture_output=True, text=True, check=True
    )

    found = done.stdout.rpartition("READ")[2].split()
    mapped = ["mapped", "mapped-with-arguments-of-the-group", "mapped-with-default-arguments"]
    assert found == ["decorator", "global", *mapped, "with-without-as"]


@pytest.mark.long
def test_tasks_that_keep_no_environment_are_no_failure(tmp_path: Path, options: str) -> None:
    source = 'with DAG("harbor", **ARGUMENTS):\n    DbtRunVirtualenvOperator(**PLAIN, py_requirements=["dbt-duckdb"])\n'

    done = cosmos_venv("env", "warm", str(write_dag_file(tmp_path, TASK + source)))

    assert done.returncode == 0, done.stderr
    assert "No task of these DAG files (1 DAG) keeps a managed environment. To keep one, give ExecutionConfig a " in (
        done.stdout
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        pytest.param("import sys\nsys.exit(0)\n", "SystemExit: 0", id="ends-the-interpreter"),
        pytest.param('int("https://u:s3cret@h")\n', "base 10: 'https://****@h'", id="raises-with-a-password"),
        pytest.param("ONE = 1\n", "dag.py makes no DAG", id="no-dag"),
        pytest.param(
            TASK
            + """
with DAG("harbor", **ARGUMENTS):
    for number in (1, 2):
        DbtRunVirtualenvOperator(
            **{**PLAIN, "task_id": f"run{number}"}, **{**INSTALLED, "virtualenv_dir": "{{ var.value.x }}"}
        )
""",
            "virtualenv_dir='{{ var.value.x }}' is a template, which only a running task fills in",
            id="templated-directory",
        ),
        pytest.param(
            TASK
            + """
with DAG("harbor", **ARGUMENTS):
    del INSTALLED["py_requirements"]
    DbtRunVirtualenvOperator.partial(**PLAIN, **INSTALLED).expand(py_requirements=[["a"], ["b"]])
""",
            "task 'run' is mapped over py_requirements",
            id="mapped-requirements",
        ),
        pytest.param(
            TASK
            + """
with DAG("harbor", **ARGUMENTS):
    DbtRunVirtualenvOperator.partial(**PLAIN, **INSTALLED).expand_kwargs([{"py_executable": "python3"}])
""",
            "task 'run' is mapped over py_executable",
            id="mapped-dictionaries",
        ),
    ],
)
def test_what_cannot_be_found_out_is_said_with_exit_code_1(
    source: str, words: str, tmp_path: Path, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    done = cosmos_venv("env", "warm", str(write_dag_file(tmp_path, source)), "--json")

    (failure,) = json.loads(done.stdout)["failures"]
    assert done.returncode == 1
    assert words in failure
    assert words in done.stderr
    assert not [path.name for path in tmp_path.iterdir() if "{{" in path.name]


def test_a_file_without_dag_beside_dag_files_is_only_mentioned(tmp_path: Path, options: str) -> None:
    (tmp_path / "common.py").write_text("ONE = 1\n")
    dagfile = write_dag_file(tmp_path, TASK + 'with DAG("harbor", **ARGUMENTS):\n    pass\n')

    done = cosmos_venv("env", "warm", str(dagfile), str(tmp_path / "common.py"))

    assert done.returncode == 0, done.stderr
    assert "common.py makes no DAG" in done.stderr


@pytest.mark.long
def test_a_password_in_a_requirement_is_shown_nowhere(
    tmp_path: Path, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    source = """
INSTALLED["py_requirements"] = ["dbt-duckdb @ https://user:s3cret@index.invalid/dbt_duckdb-1.0-py3-none-any.whl"]
with DAG("harbor", **ARGUMENTS):
    DbtRunVirtualenvOperator(**PLAIN, **INSTALLED)
"""

    done = cosmos_venv("env", "warm", str(write_dag_file(tmp_path, TASK + source)))

    assert done.returncode == 1
    assert "https://****@index.invalid" in done.stdout
    assert "s3cret" not in done.stdout + done.stderr
