"""Airflow is led to a throw-away home in a run that needs one, and only there. Mostly with a quick stand-in for it."""

from __future__ import annotations

import ast
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

import pytest_cosmos_venv
from pytest_cosmos_venv import AirflowHome, ToolkitMisuse
from pytest_cosmos_venv.airflow.home_setup import NEED_HOME
from tests.pytest_cosmos_venv.airflow.standin import USING
from tests.pytest_cosmos_venv.inner_run import write_distribution

pytest_plugins = ["pytester"]

# The environment and the homes that are left when pytest has ended.
CONFTEST = """
    import glob, os, tempfile

    before = dict(os.environ)

    def pytest_unconfigure(config):
        config.add_cleanup(report)

    def report():
        changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
        print("LEFT", sorted(changed - {"PYTEST_CURRENT_TEST", "PYTEST_VERSION"}),
              glob.glob(tempfile.gettempdir() + "/cosmos-airflow-*"))
"""


def test_a_run_that_needs_it_gets_a_home_which_is_gone_afterwards(
    project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(test_using=USING)
    project.makeconftest(CONFTEST)
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    result = project.runpytest_subprocess("-p", "no:xdist")

    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["LEFT [[][]] [[][]]"])
    assert not (project.path / "production").exists()


def test_what_tasks_keep_running_is_of_this_run_alone(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server of the run finds its socket gone when the run ends."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(project.path))
    project.makepyfile(
        """
        import os, stat

        def test_it(cosmos_airflow_home):
            folder = os.environ["XDG_RUNTIME_DIR"]
            assert folder == str(cosmos_airflow_home.path)
            assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
        """
    )

    project.runpytest_subprocess("-p", "no:xdist").assert_outcomes(passed=1)


@pytest.mark.long
def test_a_worker_that_crashes_leaves_no_home(
    project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(test_using=f"{USING}\n    def test_crash(cosmos_airflow_home):\n        os._exit(3)\n")
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    result = project.runpytest_subprocess("-n", "1")

    result.assert_outcomes(passed=2, failed=1)
    assert list(tmp_path.glob("cosmos-airflow-*")) == []


def test_contenders_that_alone_import_airflow_settle_on_a_home_of_the_run(project: pytest.Pytester) -> None:
    project.makepyfile(
        contending="""
        def home_of(contender):
            import airflow.configuration
            return airflow.configuration.AIRFLOW_HOME
        """,
        test_contenders="""
        import os
        from contending import home_of

        def test_home(cosmos_task_race):
            homes = set(cosmos_task_race(home_of, contenders=2).values)
            assert len(homes) == 1
            assert "cosmos-airflow-" in homes.pop()

        def test_the_home_of_this_process_is_as_it_was():
            assert os.environ["AIRFLOW_HOME"].endswith("production")
            assert "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN" in os.environ
        """,
    )
    write_distribution(project.path / "library", "apache-airflow", "3.1.0")

    project.runpytest_subprocess("-p", "no:xdist").assert_outcomes(passed=2)
    assert not (project.path / "production").exists()


def test_a_run_that_does_not_need_it_is_left_alone(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_mine="""
        import os
        import airflow.configuration

        def test_mine():
            assert airflow.configuration.AIRFLOW_HOME.endswith("production")
            assert os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == "postgresql://production"
        """
    )
    project.makepyfile(**{"sub/test_using": USING})

    project.runpytest_subprocess("test_mine.py", "-p", "no:xdist").assert_outcomes(passed=1)


def test_only_files_that_may_be_collected_are_asked(project: pytest.Pytester) -> None:
    project.makepyfile(
        notes="# cosmos_airflow_home",
        check_mine="""
        import airflow.configuration

        def test_mine():
            assert airflow.configuration.AIRFLOW_HOME.endswith("production")
        """,
    )
    project.makeini("[pytest]\npython_files = check_*.py tests/*.py\n")

    project.runpytest_subprocess("-p", "no:xdist").assert_outcomes(passed=1)

    project.makepyfile(**{"tests/using": USING})
    project.runpytest_subprocess("tests", "-p", "no:xdist").assert_outcomes(passed=2)


def test_a_conftest_that_imports_airflow_first_is_no_hindrance(project: pytest.Pytester) -> None:
    project.makepyfile(test_using=USING, conftest="import airflow.configuration")

    project.runpytest_subprocess("test_using.py::test_home", "-p", "no:xdist").assert_outcomes(passed=1)


@pytest.mark.parametrize("options", [("-p", "no:xdist"), ("-n", "1")], ids=" ".join)
def test_a_home_that_a_conftest_has_set_up_is_used(options: Sequence[str], project: pytest.Pytester) -> None:
    project.makepyfile(
        conftest="import os; os.makedirs('own', exist_ok=True); os.environ['AIRFLOW_HOME'] = os.path.abspath('own')",
        test_using="""
        import airflow.configuration

        def test_home(cosmos_airflow_home):
            assert cosmos_airflow_home.path.name == "own"
            assert cosmos_airflow_home.database == cosmos_airflow_home.path / "airflow.db"
            assert cosmos_airflow_home.database.is_file()
        """,
    )

    project.runpytest_subprocess(*options).assert_outcomes(passed=1)


def test_a_home_that_only_contenders_need_is_not_the_users(project: pytest.Pytester) -> None:
    project.makepyfile(
        berths="from airflow.configuration import AIRFLOW_HOME",
        test_race="""
        import sys

        def settle(contender):
            from airflow.configuration import AIRFLOW_HOME
            return AIRFLOW_HOME

        def test_settled(cosmos_task_race):
            homes = {*cosmos_task_race(settle, contenders=2).values}
            homes |= {*cosmos_task_race(settle, contenders=2, prepare=["berths"]).values}
            assert all("/cosmos-airflow-" in home for home in homes)
            assert "airflow" not in sys.modules
        """,
    )

    project.runpytest_subprocess("test_race.py", "-p", "no:xdist").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("conftest", "options"), [("import airflow", "--cosmos-cache-key"), ("import airflow; 1 / 0", "-q")]
)
def test_a_run_that_ends_before_it_is_configured_leaves_no_home(
    conftest: str, options: str, project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    project.makepyfile(test_using=USING, conftest=conftest)

    project.runpytest_subprocess(options)

    assert not list(tmp_path.glob("cosmos-airflow-*"))


def test_where_airflow_was_imported_too_early_the_file_is_named_and_the_way_out(project: pytest.Pytester) -> None:
    project.makepyfile(
        conftest="""
        import airflow.configuration

        pytest_plugins = ["helpers"]
        """,
        test_it="def test_it(home): pass",
        helpers="""
        import pytest

        @pytest.fixture
        def home(cosmos_airflow_home):
            return cosmos_airflow_home
        """,
    )

    result = project.runpytest_subprocess("test_it.py", "-p", "no:xdist")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*Airflow has settled on */production, * imported by */conftest.py before *: cosmos_airflow_home = true in*"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")

    project.makeini("[pytest]\ncosmos_airflow_home = true\n")
    project.runpytest_subprocess("test_it.py", "-p", "no:xdist").assert_outcomes(passed=1)


def test_the_fixtures_that_need_the_home_are_known_by_name() -> None:
    arguments: dict[str, list[str]] = {}
    for file in Path(pytest_cosmos_venv.__file__).parent.glob("fixtures/*.py"):
        for made in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(made, ast.FunctionDef):
                arguments[made.name] = [argument.arg for argument in made.args.args]

    def needs_home(name: str) -> bool:
        return name in ("_cosmos_airflow_home", "_cosmos_airflow_for_children") or any(
            map(needs_home, arguments.get(name, ()))
        )

    public = [name for name in arguments if name.startswith("cosmos_")]
    assert {name for name in public if needs_home(name)} == set(NEED_HOME)


@pytest.mark.parametrize("name", ["sub/harbor.py", "harbor", "../harbor.py"])
def test_a_dag_file_has_a_plain_name(name: str, cosmos_airflow_home: AirflowHome) -> None:
    with pytest.raises(ToolkitMisuse, match=r"give the name of a Python file without a folder: 'harbor.py'"):
        cosmos_airflow_home.add_dag_file(name, "")


def test_a_dag_file_is_not_written_over(cosmos_airflow_home: AirflowHome) -> None:
    cosmos_airflow_home.add_dag_file("harbor.py", "")

    with pytest.raises(ToolkitMisuse, match="the dags folder has a file of this name"):
        cosmos_airflow_home.add_dag_file("harbor.py", "")


def test_a_child_process_finds_the_home_and_its_dags(cosmos_airflow_home: AirflowHome) -> None:
    assert cosmos_airflow_home.environment["AIRFLOW_HOME"] == os.environ["AIRFLOW_HOME"]
    assert cosmos_airflow_home.dags_folder.is_dir()
