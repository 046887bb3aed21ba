"""``--cosmos-record``: a run of pytest in which each dbt is recorded, whoever starts it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from pytest_cosmos_venv.recordings.recorded_tests import recording_name
from pytest_cosmos_venv.recordings.recording import read_recording
from tests.installed import ROOT, WHEELS
from tests.pytest_cosmos_venv.inner_run import python_of, run_pytest
from tests.pytest_cosmos_venv.recordings.stand_in_dbt import write_dbt

pytest_plugins = ["pytester"]

STARTING = """
import subprocess

import pytest


@pytest.mark.parametrize("node", ["ships", "piers"])
def test_night(node):
    subprocess.run(["{dbt}", "run", "--select", node], check=True)
    subprocess.run(["dbt", "deps"], env={{"PATH": "{path}"}}, check=True)
    subprocess.run(["echo", "dbt"], check=True)
    subprocess.run("{dbt} parse", shell=True, check=True)
"""


@pytest.fixture
def dbt(tmp_path: Path) -> Path:
    return write_dbt(tmp_path / "real", "print('called with', *sys.argv[1:])")


def write_tests(pytester: pytest.Pytester, dbt: Path) -> None:
    pytester.makepyfile(test_starting=STARTING.format(dbt=dbt, path=f"{dbt.parent}:/usr/bin:/bin"))


def test_each_test_that_starts_dbt_has_a_recording(pytester: pytest.Pytester, dbt: Path) -> None:
    write_tests(pytester, dbt)

    done = pytester.runpytest_inprocess("--cosmos-record=recordings", "-p", "no:cacheprovider")

    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines([f"cosmos: 4 commands of dbt in 2 recordings under {pytester.path}/recordings"])
    for node in ("ships", "piers"):
        recording = read_recording(pytester.path / "recordings" / f"test_starting.py-test_night-{node}")
        assert [each.arguments for each in recording.commands] == [("run", "--select", node), ("deps",)]
        assert recording.commands[0].stdout == f"called with run --select {node}\n"


@pytest.mark.long
def test_a_test_that_starts_no_dbt_keeps_what_an_earlier_run_recorded(pytester: pytest.Pytester, dbt: Path) -> None:
    write_tests(pytester, dbt)
    pytester.runpytest_inprocess("--cosmos-record=recordings").assert_outcomes(passed=2)
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture(autouse=True)
        def credentials(request):
            if request.node.callspec.params["node"] == "ships":
                pytest.skip("no credentials here")
        """
    )
    write_dbt(dbt.parents[1], "print('called anew')")

    pytester.runpytest_inprocess("--cosmos-record=recordings").assert_outcomes(passed=1, skipped=1)

    first, second = (
        [each.stdout for each in read_recording(pytester.path / "recordings" / name).commands]
        for name in ("test_starting.py-test_night-ships", "test_starting.py-test_night-piers")
    )
    assert first == ["called with run --select ships\n", "called with deps\n"]
    assert second == ["called anew\n"] * 2
    folders = (pytester.path / "recordings" / "test_starting.py-test_night-piers").iterdir()
    assert sorted(each.name for each in folders) == ["001-run", "002-deps", "recording.json"]


@pytest.fixture
def harbor(pytester: pytest.Pytester) -> Path:
    """A package with Cosmos's module of operators."""
    package = pytester.mkpydir("harbor")
    (package / "operators").mkdir()
    (package / "operators" / "__init__.py").touch()
    (package / "operators" / "local.py").write_text(
        "class Base:\n    def run_dbt_runner(self, command):\n        return command\n", encoding="utf-8"
    )
    pytester.syspathinsert()
    return package


@pytest.mark.usefixtures("harbor")
def test_a_command_inside_a_task_is_warned_of(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_night():
            from harbor.operators.local import Base
            assert Base().run_dbt_runner(["dbt", "run"]) == ["dbt", "run"]
        """
    )

    done = pytester.runpytest_subprocess("--cosmos-record=recordings")

    done.assert_outcomes(passed=1, warnings=1)
    done.stdout.fnmatch_lines(
        ["*A dbt that runs inside a task's own process (InvocationMode.DBT_RUNNER) is not recorded*"]
    )


def test_other_modules_of_the_same_loader_are_left_alone(pytester: pytest.Pytester, harbor: Path) -> None:
    pytester.makeconftest("import pytest\npytest.register_assert_rewrite('harbor')")
    (harbor / "aside.py").write_bytes((harbor / "operators" / "local.py").read_bytes())
    pytester.makepyfile(
        """
        def test_night():
            from harbor.operators import local
            from harbor import aside
            assert hasattr(local.Base.run_dbt_runner, "cosmos_recorded")
            assert not hasattr(aside.Base.run_dbt_runner, "cosmos_recorded")
        """
    )

    pytester.runpytest_subprocess("--cosmos-record=recordings").assert_outcomes(passed=1)


def test_tests_whose_names_differ_in_other_letters_alone_have_recordings_of_their_own() -> None:
    parameters = ("<", ">", "", "a b", "a-b", "a--b", "a/b", "-a-b", "a-b-", "a][b")
    nodeids = [f"test_a.py::test_c[{each}]" for each in parameters] + [
        "test_a.py::test_c",
        "x-y/t.py::t",
        "x/y/t.py::t",
    ]

    names = [recording_name(each) for each in nodeids]

    assert len(set(names)) == len(nodeids)
    assert all(re.fullmatch(r"[\w.]+(-[\w.]+)*", each) for each in names)
    assert names[0].startswith("test_a.py-test_c-")


@pytest.mark.parametrize("letter", ["a", "\u00e9", "\u6f22"])
def test_a_long_name_is_one_that_a_file_system_takes(letter: str, tmp_path: Path) -> None:
    names = [recording_name(f"test_a.py::test_it[{letter * 300}{end}]") for end in ("x", "y")]

    for name in names:
        (tmp_path / name).mkdir()
        assert len(name.encode()) <= 255


OPERATORS = """
import os

import pytest


@pytest.fixture
def project(cosmos_project):
    project = cosmos_project("harbor")
    project.model("piers", "select 1 as id")
    project.model("broken", "select nothing from {{ ref('piers') }}")
    return project


@pytest.fixture
def make(cosmos_implementation, project, tmp_path):
    def make(mode, node, **more):
        profile = cosmos_implementation.module("config").ProfileConfig(
            profile_name="harbor", target_name="dev", profiles_yml_filepath=project.profiles_yml
        )
        common = dict(task_id=node, project_dir=project.path, profile_config=profile, select=[node], **more)
        if mode == "local":
            return cosmos_implementation.module("operators.local").DbtRunLocalOperator(**common)
        return cosmos_implementation.module("operators.virtualenv").DbtRunVirtualenvOperator(
            py_requirements=["dbt-core~=1.11.0", "dbt-duckdb~=1.11.0"], virtualenv_dir=tmp_path / "venv", **common
        )

    return make


@pytest.mark.parametrize("mode", ["local", "virtualenv"])
def test_night(mode, make, cosmos_airflow, monkeypatch):
    monkeypatch.setenv("WAREHOUSE_PASSWORD", "open-sesame")
    more = {"dbt_executable_path": os.environ["REAL_DBT"]} if mode == "local" else {}
    assert cosmos_airflow.run(make(mode, "piers", **more)).state == "success"
    assert cosmos_airflow.run(make(mode, "broken", **more)).state == "failed"
"""
REPLAYING = """
from pytest_cosmos_venv import NodeOutcome

def test_replayed(make, cosmos_airflow, cosmos_fake_venv, recordings):
    cosmos_fake_venv.replay(recordings / "test_recorded.py-test_night-local")

    def run(node):
        return cosmos_airflow.run(make("local", node, dbt_executable_path=str(cosmos_fake_venv.dbt)))

    assert run("piers").state == "success"
    failed = run("broken")
    assert failed.state == "failed"
    assert "nothing" in failed.log
    cosmos_fake_venv.script(nodes={"piers": NodeOutcome(status="error", message="relation is gone")})
    task = run("piers")
    assert task.state == "failed"
    assert "relation is gone" in task.log
    assert [call.exit_code for call in cosmos_fake_venv.calls] == [0, 1, 1]


def test_replayed_in_a_new_environment(make, cosmos_airflow, cosmos_dbt, recordings):
    cosmos_dbt.add_dbt("1.11.2")
    cosmos_dbt.add_adapter("duckdb", "1.11.0")
    cosmos_dbt.replay(recordings / "test_recorded.py-test_night-virtualenv")

    more = {"pip_install_options": cosmos_dbt.pip_install_options}
    assert cosmos_airflow.run(make("virtualenv", "piers", **more)).state == "success"
    assert cosmos_airflow.run(make("virtualenv", "broken", **more)).state == "failed"
"""


@pytest.mark.long
@pytest.mark.timeout(580)
@pytest.mark.parametrize("implementation", ["cosmos_venv", "cosmos"])
def test_real_operators_are_recorded_and_replayed(
    implementation: str, tmp_path: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PIP_NO_INDEX": "1", "UV_NO_INDEX": "1"}.items():
        monkeypatch.setenv(name, value)
    for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.setenv(name, str(WHEELS))
    monkeypatch.setenv("REAL_DBT", str(python_of("dbt111").with_name("dbt")))
    place = f"pathlib.Path({str(tmp_path / 'rec')!r})"
    conftest = f"import pathlib, pytest\n@pytest.fixture\ndef recordings():\n    return {place}\n"
    (tmp_path / "conftest.py").write_text(conftest, encoding="utf-8")
    (tmp_path / "test_recorded.py").write_text(OPERATORS, encoding="utf-8")
    options = [f"--cosmos-implementation={implementation}", f"--cosmos-cache-dir={cache_dir}"]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return run_pytest("cosmos", *options, *arguments, folder=tmp_path, cwd=tmp_path, python_path=[ROOT])

    recorded = run("--cosmos-record=rec", "test_recorded.py")

    assert recorded.returncode == 0, recorded.stdout
    for mode in ("local", "virtualenv"):
        recording = read_recording(tmp_path / "rec" / f"test_recorded.py-test_night-{mode}")
        assert recording.nodes == {"model.harbor.piers": "success", "model.harbor.broken": "error"}
        assert not [name for name, text in recording.files.items() if "open-sesame" in text or str(tmp_path) in text]
    (tmp_path / "test_replayed.py").write_text(OPERATORS.partition("@pytest.mark")[0] + REPLAYING, encoding="utf-8")
    replayed = run("test_replayed.py")
    assert replayed.returncode == 0, replayed.stdout
