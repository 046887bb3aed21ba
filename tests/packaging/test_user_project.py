"""The project of a DAG author, tested as its author and its CI test it: our wheels, a directory of its own.

The commands are those of its workflow and its README.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from pytest_cosmos_venv.recordings.recording import read_recording
from tests.installed import ENVIRONMENTS, IS_CI, ROOT, WHEELS
from tests.packaging.distributions import OFFLINE, Distribution, copy_environment, require, run, uv
from tests.postgres import IS_MISSING, Postgres

PROJECT = ROOT / "examples" / "user_project"
WORKFLOW = yaml.safe_load((PROJECT / ".github" / "workflows" / "dags.yml").read_text(encoding="utf-8"))
JOBS: dict[str, str] = {
    each["job"]: each["run"] for each in WORKFLOW["jobs"]["pytest"]["strategy"]["matrix"]["include"]
}
COMMANDS: list[str] = re.findall(
    r"\| `((?:pytest|cosmos-venv) [^`]+)` \|$", (PROJECT / "README.md").read_text("utf-8"), re.M
)
RECORDINGS = PROJECT / "tests" / "recordings"
AIRFLOW = ENVIRONMENTS / "airflow3"
ON_POSTGRESQL = """
import runpy
from types import SimpleNamespace

import pytest


@pytest.fixture
def postgresql():
    return SimpleNamespace(info=SimpleNamespace({address}))


def test_the_dag_runs_on_the_server_of_a_fixture(cosmos_airflow, postgresql):
    server = postgresql.info
    cosmos_airflow.connections.add(
        "warehouse", conn_type="postgres", host=server.host, port=server.port,
        login=server.user, password=server.password, schema=server.dbname,
    )

    outcome = cosmos_airflow.run(runpy.run_path("dags/fleet.py")["fleet"])

    assert outcome.succeeded, outcome
"""
"""A test gives its DAG the server of pytest-postgresql, whose fixture has a connection of psycopg."""
GIT = ["git", "-c", "user.name=Author", "-c", "user.email=author@harbor.example"]


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A copy of the project, and the author's environment.

    :param path: the copy.
    :param python: the Python with Airflow and both wheels.
    :param home: the author's home folder.
    :param cache: the toolkit's cache, kept between the tests as CI keeps it between runs.
    """

    path: Path
    python: Path
    home: Path
    cache: Path

    def run(self, command: str) -> str:
        """Return the output of a command as a terminal shows it; a failure shows it."""
        ours = [option for name in os.environ if name.startswith(("AIRFLOW", "PYTEST")) for option in ("-u", name)]
        variables = {
            "PATH": os.pathsep.join([str(self.python.parent), os.environ["PATH"]]),
            "HOME": str(self.home),
            "UV_CACHE_DIR": str(self.cache / "uv"),
            "UV_FIND_LINKS": str(WHEELS),
            "UV_NO_INDEX": "1",
            # How long dbt ls takes on a machine that is busy is not what is tested.
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "250",
            "PYTEST_ADDOPTS": f"--cosmos-cache-dir={self.cache} -p no:cacheprovider",
        }
        words = [f"{name}={value}" for name, value in variables.items()]
        return run(["env", *ours, *words, *shlex.split(command)], cwd=self.path)


@pytest.fixture(scope="module")
def python(product: Distribution, toolkit: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an Airflow that both wheels were installed beside."""
    require(AIRFLOW / "bin" / "python", reason="a plain Airflow")
    require(WHEELS, reason="the wheels that our distributions need beyond Airflow's")
    python = copy_environment(AIRFLOW, tmp_path_factory.mktemp("user") / "environment", with_byte_code=True)
    wheels = [f"cosmos-venv[uv] @ {product.wheel.as_uri()}", str(toolkit.wheel)]
    run(uv("pip", "install", "--python", str(python), *OFFLINE, *wheels))
    return python


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def checkout(python: Path, cache: Path, tmp_path: Path) -> Checkout:
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache", ".cosmos-cache", "report")
    path = Path(shutil.copytree(PROJECT, tmp_path / "fleet", ignore=ignored))
    (tmp_path / "home").mkdir()
    return Checkout(path=path, python=python, home=tmp_path / "home", cache=cache)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("job", JOBS)
def test_each_job_of_the_workflow_passes_and_writes_its_report_alone(job: str, checkout: Checkout) -> None:
    before = files_of(checkout.path)

    said = checkout.run(JOBS[job])

    last = said.splitlines()[-1]
    assert re.search(r"^=+ \d+ passed", last), said
    assert "implementation cosmos_venv" in said
    written = files_of(checkout.path) - before
    assert {path.parts[0] for path in written} == {"report"}, written
    assert list(checkout.home.iterdir()) == []
    if job == "tests":
        assert "skipped" not in last, said
    else:
        assert len(written) == 1, written
        checked = re.findall(r"^dags/fleet\.py(.*?) +3 +\S+ s +5 +- +assets$", said, re.M)
        assert checked == ([" (dbt 1.10)"] if job == "dag-files" else [" (dbt 1.10)", " (dbt 1.11)"]), said


@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_recording_of_the_project_is_what_its_own_tests_record(checkout: Checkout) -> None:
    (command,) = (each for each in COMMANDS if "--cosmos-record" in each)
    (stored,) = RECORDINGS.iterdir()

    checkout.run(command)

    (made,) = (checkout.path / "tests" / "recordings").iterdir()
    assert made.name == stored.name
    ends = [
        {node: status for command in read_recording(place).commands for node, status in command.nodes.items()}
        for place in (stored, made)
    ]
    assert ends[0] == ends[1] != {}
    assert (made / "recording.json").read_bytes() != (stored / "recording.json").read_bytes()


@pytest.mark.long
def test_the_comment_on_a_pull_request_names_the_new_task(checkout: Checkout) -> None:
    (command,) = (step["run"] for step in WORKFLOW["jobs"]["comment"]["steps"] if "render" in step.get("run", ""))
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Begin"]):
        run([*GIT, *words], cwd=checkout.path)
    run([*GIT, "update-ref", "refs/remotes/origin/main", "HEAD"], cwd=checkout.path)
    model = checkout.path / "dbt" / "fleet" / "models" / "by_port.sql"
    model.write_text("select port, count(*) as ships from {{ ref('late_ships') }} group by port", encoding="utf-8")

    run([*GIT, "add", "."], cwd=checkout.path)
    run([*GIT, "commit", "--quiet", "--message", "Add a model"], cwd=checkout.path)

    checkout.run(f"bash -e -c {shlex.quote(command)}")

    comment = (checkout.path / "comment.md").read_text(encoding="utf-8").splitlines()
    assert [comment[0], comment[-1]] == ["```diff", "```"]
    added = [line for line in comment if re.match(r"\+[^+]", line)]
    assert any("by_port_run" in line and line.endswith("<- late_ships_run") for line in added), comment


@pytest.mark.long
@pytest.mark.skipif(IS_MISSING and not IS_CI, reason="no PostgreSQL in .cache/envs/postgres: make test fetches it")
def test_the_dag_runs_on_the_server_that_a_fixture_of_another_plugin_gives(
    checkout: Checkout, postgres: Postgres
) -> None:
    server = postgres.apart("fleet")
    server.rows("create schema harbour")
    columns = "ship varchar, port varchar, planned date, actual date"
    server.rows(f"create table harbour.arrivals ({columns})")
    server.rows("insert into harbour.arrivals values ('Ada', 'HAM', '2026-01-02', '2026-01-04')")
    address = f"host='127.0.0.1', port={server.port}, user={server.user!r}, password={server.password!r}"
    test = checkout.path / "tests" / "test_fleet_postgresql.py"
    test.write_text(ON_POSTGRESQL.format(address=f"{address}, dbname={server.database!r}"), encoding="utf-8")

    checkout.run("pytest tests/test_fleet_postgresql.py")

    assert server.rows("select ship, port, days_late from fleet.late_ships") == [["Ada", "Hamburg", "2"]]


def files_of(folder: Path) -> set[Path]:
    """The files below a folder, without byte code."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path for path in found if "__pycache__" not in path.parts}
