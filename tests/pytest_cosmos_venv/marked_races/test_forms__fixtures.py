"""Each copy of a test has fixtures of its own, in workers and in processes forked from one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

DEADLINE = 250.0

CONFTEST = """
import json, os
from pathlib import Path
import pytest

STORY = Path(__file__).with_name("story")

@pytest.fixture(autouse=True)
def around(tmp_path, request):
    (tmp_path / "around").write_text(request.node.name)
    yield
    (STORY / f"end of {request.node.name}").write_text((tmp_path / "around").read_text())

@pytest.fixture(scope="module")
def module_wide(tmp_path_factory):
    return tmp_path_factory.getbasetemp()

@pytest.fixture
def narrow(cosmos_project, module_wide):
    project = cosmos_project("narrow")
    project.model("ships", "select 1 as id")
    return project

@pytest.fixture
def tell():
    def tell(index, seen):
        (STORY / f"{index}.json").write_text(json.dumps(seen, default=str))
    return tell
"""

OWN_FIXTURES = """
import os, subprocess
import pytest

class TestHarbor:
    def setup_method(self):
        self.pid = os.getpid()

    @pytest.mark.parametrize("number", [7])
    @pytest.mark.cosmos_race(contenders=2)
    def test_parcels(
        self, number, cosmos_race, narrow, tell, cosmos_fake_venv, cosmos_lock, tmp_path, capsys, monkeypatch,
        request,
    ):
        seen = {"pid": self.pid == os.getpid(), "tmp_path": tmp_path.name, "around": (tmp_path / "around").read_text()}
        cosmos_race.barrier("begin")
        subprocess.run([cosmos_fake_venv.dbt, "run"], cwd=narrow.path, check=True, capture_output=True)
        seen["calls"] = [call.command for call in cosmos_fake_venv.calls]
        lock = cosmos_lock(tmp_path / "environments")
        lock.held_by(os.getpid())
        seen["owners"] = [owner.pid == os.getpid() for owner in lock.history]
        print("hello")
        seen["printed"] = capsys.readouterr().out
        monkeypatch.setenv("PIER", str(cosmos_race.index))
        seen["names"] = [request.node.name, request.node.nodeid, os.environ["PYTEST_CURRENT_TEST"]]
        cosmos_race.barrier("end")
        seen["pier"] = os.environ["PIER"]
        tell(cosmos_race.index, seen)
"""


EVERY_FIXTURE_OF_AIRFLOW = """
import os, sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
import pytest
from airflow import DAG
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import Variable

def harbor(unload):
    with DAG("harbor", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)) as dag:
        PythonOperator(task_id="unload", python_callable=unload)
    return dag

@pytest.mark.cosmos_race(contenders=2)
def test_parcels(
    cosmos_race, tell, cosmos_airflow, tmp_path
):
    cosmos_race.barrier("begin")
    cosmos_airflow.variables.put("crane", "north")
    (cosmos_airflow.home.dags_folder / "pier.py").touch()
    cosmos_airflow.at("2026-02-01")

    def unload():
        Variable.set("unloaded", str(cosmos_race.index))
        return [Variable.get("crane"), datetime.now(timezone.utc).isoformat()]

    outcome = cosmos_airflow.run(harbor(unload), run_id="one", logical_date="2026-02-03")
    task = cosmos_airflow.run(PythonOperator(task_id="weigh", python_callable=lambda: 12))
    cosmos_race.barrier("end")
    with closing(sqlite3.connect(cosmos_airflow.home.database)) as connection:
        runs = connection.execute("select count(*) from dag_run").fetchone()
    home = Path(os.environ["AIRFLOW_HOME"]) == cosmos_airflow.home.path
    files = [file.name for file in cosmos_airflow.home.dags_folder.iterdir()]
    returned = outcome.tasks["unload"].returned
    variables = dict(cosmos_airflow.variables.values)
    tell(cosmos_race.index, [outcome.states, returned, task.returned, variables, runs, home, files])

def test_the_next_one_finds_nothing_of_it(cosmos_airflow):
    with closing(sqlite3.connect(cosmos_airflow.home.database)) as connection:
        assert connection.execute("select count(*) from dag_run").fetchone() == (0,)
    assert list(cosmos_airflow.home.dags_folder.iterdir()) == []
"""


@pytest.fixture
def story(pytester: pytest.Pytester) -> Path:
    """The folder in which the copies of an inner run tell what they have seen."""
    pytester.makeconftest(CONFTEST)
    return pytester.mkdir("story")


@pytest.fixture
def cache(cache_dir: Path) -> str:
    """The option for this run's cache."""
    return f"--cosmos-cache-dir={cache_dir}"


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "--color=no", *options, timeout=DEADLINE)


def told(story: Path) -> dict[str, str]:
    """The files that the copies have left, which are taken away."""
    files = sorted(story.iterdir())
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    for file in files:
        file.unlink()
    return texts


@pytest.mark.long
def test_a_body_sees_the_same_in_workers_and_in_forked_processes(
    pytester: pytest.Pytester, story: Path, cache: str
) -> None:
    pytester.makepyfile(test_story=OWN_FIXTURES)

    run(pytester, cache, "-n", "2").assert_outcomes(passed=2)
    in_workers = told(story)
    run(pytester, cache, "-p", "no:xdist").assert_outcomes(passed=1, deselected=1)
    in_forks = told(story)

    ends = [f"end of test_parcels[7-contender-{index}-of-2]" for index in range(2)]
    assert list(in_forks) == ["0.json", "1.json", *ends]
    assert in_forks == in_workers
    seen = json.loads(in_forks["1.json"])
    assert seen["tmp_path"] == "test_parcels_7_contender_1_of_0"
    assert seen["names"][1] == "test_story.py::TestHarbor::test_parcels[7-contender-1-of-2]"


@pytest.mark.long
def test_each_forked_copy_has_an_airflow_home_of_its_own(pytester: pytest.Pytester, story: Path, cache: str) -> None:
    pytester.makepyfile(test_story=EVERY_FIXTURE_OF_AIRFLOW)

    run(pytester, cache, "-p", "no:xdist").assert_outcomes(passed=2, deselected=1)
    seen = [json.loads(text) for name, text in told(story).items() if name.endswith(".json")]

    # In workers it is the same; there Airflow starts three times.
    assert seen == [
        [
            {"unload": "success"},
            ["north", "2026-02-01T00:00:00+00:00"],
            12,
            {"crane": "north", "unloaded": str(index)},
            [2],
            True,
            ["pier.py"],
        ]
        for index in range(2)
    ]


@pytest.mark.long
def test_an_end_in_a_copys_own_fixture_is_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def pier(request):
            assert "contender-1" not in request.node.name, "closed"

        @pytest.mark.cosmos_race(contenders=2)
        def test_setup(cosmos_race, pier):
            cosmos_race.barrier("never")

        @pytest.fixture
        def crane(request):
            yield
            assert "contender-1" not in request.node.name, "it hangs"

        @pytest.mark.cosmos_race(contenders=2)
        def test_teardown(cosmos_race, crane):
            cosmos_race.barrier("end")

        @pytest.fixture
        def tide():
            pytest.skip("low tide")

        @pytest.mark.cosmos_race(contenders=2)
        def test_skip(cosmos_race, tide):
            raise AssertionError
        """
    )

    result = run(pytester, "-p", "no:xdist", "-rs")

    result.assert_outcomes(failed=2, skipped=1, deselected=3)
    result.stdout.fnmatch_lines(
        [
            "contender-1 (process *) failed in its setup; 2 of 2 contenders failed.",
            "*AssertionError: closed*",
            "contender-0 (process *) failed.",
            "contender-1 (process *) failed in its setup and did not come to the start of the race.",
            "contender-1 (process *) failed in its teardown; 1 of 2 contenders failed.",
            "*AssertionError: it hangs*",
            "SKIPPED *low tide",
        ]
    )
