"""Airflow is led to a throw-away home in a run that needs one, and only there. Mostly with a quick stand-in for it."""

from __future__ import annotations

import ast
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import pytest_cosmos_venv
from pytest_cosmos_venv.airflow.home_setup import MARKER, NEED_HOME
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

    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["LEFT [[][]] [[][]]"])
    assert not (project.path / "production").exists()


def test_a_worker_that_crashes_leaves_no_home(
    project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(test_using="import os\ndef test_crash(cosmos_airflow):\n    os._exit(3)\n")
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    project.runpytest_subprocess("-n", "1", "--max-worker-restart=0").assert_outcomes(failed=1)

    assert list(tmp_path.glob("cosmos-airflow-*")) == []


def test_a_forked_child_that_ends_as_pytest_does_removes_nothing(
    project: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.makepyfile(
        """
        import os
        import pytest

        def test_it(cosmos_airflow):
            child = os.fork()
            if child == 0:
                pytest.exit("the child ends", returncode=7)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
            assert cosmos_airflow.home.database.is_file()
        """
    )
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    project.runpytest_subprocess("-p", "no:xdist").assert_outcomes(passed=1)

    assert list(tmp_path.glob("cosmos-*")) == []


@pytest.mark.long
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

        def test_home(cosmos_race):
            homes = set(cosmos_race(home_of, contenders=2).values)
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


@pytest.mark.long
def test_a_marked_home_that_a_conftest_has_set_up_is_used(project: pytest.Pytester) -> None:
    (project.mkdir("own") / MARKER).touch()
    project.makepyfile(
        conftest="import os; os.environ['AIRFLOW_HOME'] = os.path.abspath('own')",
        test_using="""
        import airflow.configuration

        def test_home(cosmos_airflow):
            assert cosmos_airflow.home.path.name == "own"
            assert cosmos_airflow.home.database == cosmos_airflow.home.path / "airflow.db"
            assert cosmos_airflow.home.database.is_file()
        """,
    )

    project.runpytest_subprocess("-n", "1").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("has_marker", "setting"),
    [
        pytest.param(False, "home = 'real'", id="home"),
        pytest.param(
            True,
            "home = 'own'; os.environ['AIRFLOW__CORE__SQL_ALCHEMY_CONN'] = f'sqlite:///{os.getcwd()}/real/airflow.db'",
            id="database-elsewhere",
        ),
        pytest.param(True, "home = 'own'; os.symlink('../real/airflow.db', 'own/airflow.db')", id="database-is-a-link"),
    ],
)
def test_a_home_without_the_marker_keeps_its_rows(has_marker: bool, setting: str, project: pytest.Pytester) -> None:
    real = project.mkdir("real")
    (project.mkdir("own") / (MARKER if has_marker else "airflow.cfg")).touch()
    with closing(sqlite3.connect(real / "airflow.db")) as connection:
        connection.execute("create table dag_run (id integer)")
        connection.commit()
    before = {file.name: file.read_bytes() for file in real.iterdir()}
    project.makepyfile(
        conftest=f"import os; {setting}; os.environ['AIRFLOW_HOME'] = os.path.abspath(home)",
        test_using="""
        import sqlite3

        def test_home(cosmos_airflow):
            connection = sqlite3.connect("real/airflow.db")
            connection.execute("insert into dag_run values (1)")
            connection.commit()
        """,
    )

    result = project.runpytest_subprocess("-p", "no:xdist")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*real* {MARKER} *after each test *AIRFLOW_HOME unset *"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert {file.name: file.read_bytes() for file in real.iterdir()} == before


@pytest.mark.long
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
        def home(cosmos_airflow):
            return cosmos_airflow
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


def asked_for_by_name(fixture: ast.FunctionDef) -> list[str]:
    """The private fixtures that a fixture asks for by ``getfixturevalue``."""
    texts = [each.value for each in ast.walk(fixture) if isinstance(each, ast.Constant)]
    return [text for text in texts if isinstance(text, str) and text.startswith("_cosmos_")]


def test_the_fixtures_that_need_the_home_are_known_by_name() -> None:
    arguments: dict[str, list[str]] = {}
    for file in Path(pytest_cosmos_venv.__file__).parent.glob("fixtures/*.py"):
        for made in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(made, ast.FunctionDef):
                arguments[made.name] = [*(argument.arg for argument in made.args.args), *asked_for_by_name(made)]

    def needs_home(name: str) -> bool:
        return name in ("_cosmos_airflow_home", "_cosmos_airflow_for_children") or any(
            map(needs_home, arguments.get(name, ()))
        )

    public = [name for name in arguments if name.startswith("cosmos_")]
    assert {name for name in public if needs_home(name)} == set(NEED_HOME)
