"""Calls of ``cosmos-venv`` in tests, and DAG files that they name."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from select import select

from pytest_cosmos_venv import Wheelhouse

_LONGEST = 120
_PREPARED = """
import json, os, sys
import airflow.plugins_manager, airflow.providers_manager, airflow.settings
import cosmos_venv.cli, cosmos_venv.cli.dag_files, cosmos_venv.dag
print("ready", flush=True)
while line := sys.stdin.buffer.raw.readline():
    asked = json.loads(line)
    if not (pid := os.fork()):
        break
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
else:
    os._exit(0)
for number, (place, flags) in enumerate(asked["files"]):
    os.dup2(os.open(place, flags), number)
os.environ.clear()
os.environ.update(asked["environment"])
os.chdir(asked["directory"])
sys.path[0] = asked["directory"]
sys.argv = ["cosmos-venv", *asked["words"]]
sys.exit(cosmos_venv.cli.main())
"""
"""A Python that has imported what the command needs, and is forked for each. Importing Airflow takes two seconds."""
_HARBOR = """
# an airflow dag
from datetime import datetime, timezone
from cosmos_venv import DbtDag, ExecutionConfig, ExecutionMode, LoadMode, ProfileConfig, ProjectConfig, RenderConfig

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
PROFILE = ProfileConfig("harbor", "dev", profiles_yml_filepath={project!r} + "/profiles.yml")
INSTALLED = dict(py_requirements={requirements!r}, pip_install_options={options!r})

dag = DbtDag(
    dag_id="harbor",
    schedule=None,
    start_date=START,
    project_config=ProjectConfig({project!r}),
    profile_config=PROFILE,
    execution_config=ExecutionConfig(execution_mode=ExecutionMode.VIRTUALENV, virtualenv_dir={directory!r}),
    render_config=RenderConfig(load_method=LoadMode.DBT_LS),
    operator_args=INSTALLED,
)
"""


def cosmos_venv(*arguments: object) -> subprocess.CompletedProcess[str]:
    """``cosmos-venv`` with these arguments, run to its end in a process of its own."""
    words = [str(each) for each in arguments]
    # Airflow reads some of its settings when it is imported; ours are read when they are needed.
    if _of_airflow(os.environ) == _AT_FIRST:
        return _run_prepared(words)
    command = [sys.executable, "-W", "ignore", "-m", "cosmos_venv.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST)


def _of_airflow(variables: Mapping[str, str]) -> dict[str, str]:
    ours = ("AIRFLOW__COSMOS__", "AIRFLOW__COSMOS_VENV__")
    return {
        name: value for name, value in variables.items() if name.startswith("AIRFLOW") and not name.startswith(ours)
    }


_AT_FIRST = _of_airflow(os.environ)


def _run_prepared(words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    process = _prepared_process()
    assert process.stdin is not None
    with tempfile.NamedTemporaryFile() as output, tempfile.NamedTemporaryFile() as errors:
        files = [(os.devnull, os.O_RDONLY), (output.name, os.O_WRONLY), (errors.name, os.O_WRONLY)]
        asked = {"words": words, "files": files, "environment": dict(os.environ), "directory": str(Path.cwd())}
        process.stdin.write(f"{json.dumps(asked)}\n")
        process.stdin.flush()
        code = int(_answer(process, words))
        told = [Path(each.name).read_text(encoding="utf-8") for each in (output, errors)]
    return subprocess.CompletedProcess(words, code, *told)


@cache
def _prepared_process() -> subprocess.Popen[str]:
    """It ends with this process, however that ends: its standard input is a pipe from here."""
    command = [sys.executable, "-W", "ignore", "-c", _PREPARED]
    # A group of its own: where a command hangs, both are ended.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, bufsize=1
    )
    assert _answer(process, command) == "ready"
    atexit.register(process.communicate)
    return process


def _answer(process: subprocess.Popen[str], command: Sequence[str]) -> str:
    assert process.stdout is not None
    if not select([process.stdout], [], [], _LONGEST)[0]:
        os.killpg(process.pid, signal.SIGKILL)
        _prepared_process.cache_clear()
        raise subprocess.TimeoutExpired(command, _LONGEST)
    return process.stdout.readline().strip()


def write_dag_file(folder: Path, source: str) -> Path:
    """``dag.py`` in this folder."""
    path = folder / "dag.py"
    path.write_text(source)
    return path


def harbor_source(
    project: Path,
    directory: Path,
    wheelhouse: Wheelhouse,
    requirements: Sequence[str] = ("dbt-core==1.10.0", "dbt-duckdb"),
) -> str:
    """A DAG file that lists the small project by dbt ls and keeps its environment in ``directory``."""
    return _HARBOR.format(
        project=str(project),
        directory=str(directory),
        requirements=list(requirements),
        options=list(wheelhouse.pip_install_options),
    )
