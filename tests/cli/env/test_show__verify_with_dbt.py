"""Tests of ``env warm`` without a DAG file, and of ``env show`` and ``env verify`` on an environment with dbt."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from cosmos_venv.files.kernel_lock import Lease
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from tests.cli.conftest import Run
from tests.command_line import cosmos_venv, write_dag_file

REQUIREMENTS = ["dbt-core==1.10.0", "dbt-duckdb"]


@pytest.fixture
def env(run: Run) -> Run:
    return lambda *words: run("env", *words, "--json")


def words(wheelhouse: Wheelhouse) -> list[str]:
    """The options that have it installed from there."""
    return [f"--pip-option={option}" for option in wheelhouse.pip_install_options]


@pytest.fixture
def warmed(env: Run, tmp_path: Path, fake_dbt_wheels: Wheelhouse) -> Path:
    """The path of an environment that was made of words, in ``store``."""
    given = [f"--requirement={each}" for each in REQUIREMENTS]
    done = env("warm", *given, *words(fake_dbt_wheels), "--dir", tmp_path / "store")
    assert done.returncode == 0, done.stderr
    (built,) = json.loads(done.stdout)["environments"]
    assert built["was_built"]
    return Path(built["path"])


@pytest.mark.long
def test_a_requirements_file_a_project_with_one_and_an_operator_that_names_it_share_an_environment(
    env: Run, tmp_path: Path, dbt_project: Path, fake_dbt_wheels: Wheelhouse
) -> None:
    (dbt_project / "requirements.txt").write_text("\n".join(REQUIREMENTS))
    (tmp_path / "same.txt").write_text("\n".join(REQUIREMENTS))
    store = ["--dir", tmp_path / "store", *words(fake_dbt_wheels)]

    first = env("warm", dbt_project, *store)
    second = env("warm", tmp_path / "same.txt", *store)
    named = env("warm", f"--requirement=-r {tmp_path}/same.txt", *store)

    assert [done.returncode for done in (first, second, named)] == [0, 0, 0], first.stderr
    built = [json.loads(done.stdout)["environments"][0] for done in (first, second, named)]
    assert [each["was_built"] for each in built] == [True, False, False]
    assert len({each["path"] for each in built}) == 1


@pytest.mark.long
def test_what_does_not_say_what_or_where_is_refused(env: Run, tmp_path: Path, dbt_project: Path) -> None:
    (tmp_path / "requirements.txt").write_text("dbt-duckdb")
    (tmp_path / "empty").mkdir()

    without_dir, project, empty = (
        env("warm", tmp_path / "requirements.txt"),
        env("warm", dbt_project, "--dir", tmp_path / "store"),
        env("warm", tmp_path / "empty"),
    )

    assert {done.returncode for done in (without_dir, project, empty)} == {1}
    assert "give --dir too" in json.loads(without_dir.stdout)["error"]
    assert "is a dbt project without requirements.txt" in json.loads(project.stdout)["error"]
    assert "holds no file in which Airflow would look for a DAG" in json.loads(empty.stdout)["error"]


@pytest.mark.long
def test_a_folder_stands_for_the_files_in_which_airflow_looks(env: Run, tmp_path: Path) -> None:
    write_dag_file(tmp_path, "# an airflow dag\nraise LookupError('this one')\n")
    (tmp_path / "helper.py").write_text("raise LookupError('no file of DAGs')\n")

    done = env("warm", tmp_path)

    assert done.returncode == 1
    (failure,) = json.loads(done.stdout)["failures"]
    assert "this one" in failure


@pytest.mark.long
def test_show_tells_dbt_and_who_uses_it_now(warmed: Path, tmp_path: Path) -> None:
    lease = Lease.shared(warmed)
    assert lease is not None

    with closing(lease):
        done = cosmos_venv("env", "show", tmp_path / "store", warmed.name[:12], "--json")
        shown = cosmos_venv("env", "show", tmp_path / "store", warmed.name[:12])

    (data,) = json.loads(done.stdout)["builds"]
    assert data["name"] == f"{warmed.name[:12]}-{warmed.name[-8:]}"
    assert data["dbt"]["dbt-core"] == "1.10.0"
    assert set(data["dbt"]) == {"dbt-core", "dbt-duckdb"}
    assert os.getpid() in [each["pid"] for each in data["used_by"]]
    assert data["servers"] == []
    assert f"- pid: {os.getpid()}\n" in shown.stdout


@pytest.mark.long
def test_verify_finds_a_dbt_that_cannot_be_imported_though_every_file_has_its_size(
    env: Run, warmed: Path, tmp_path: Path
) -> None:
    whole = env("verify", tmp_path / "store")
    (main,) = warmed.glob("lib/python*/site-packages/dbt/cli/main.py")
    content = main.read_bytes()
    main.unlink() if os.access(main.parent, os.W_OK) else main.parent.chmod(0o755)
    main.write_bytes(b"0/0".ljust(len(content), b"\n"))
    os.utime(main, (0, 0))  # or Python takes the bytecode of a file with this size and this second

    broken, unread, read = (
        env("verify", tmp_path / "store", *options) for options in ((), ("--no-import",), ("--no-import", "--content"))
    )

    assert whole.returncode == 0, whole.stdout
    assert [(each["was_run"], each["faults"]) for each in json.loads(whole.stdout)["builds"]] == [(True, [])]
    assert (broken.returncode, unread.returncode, read.returncode) == (1, 0, 1)
    (found,) = json.loads(broken.stdout)["builds"]
    assert found["faults"] == ["it does not work: ZeroDivisionError: division by zero"]
    assert [(each["was_run"], each["was_read"], each["faults"]) for each in json.loads(read.stdout)["builds"]] == [
        (False, True, ["dbt/cli/main.py has another content than was installed"])
    ]


@pytest.mark.long
def test_a_broken_record_leaves_a_leftover_and_no_traceback(env: Run, warmed: Path, tmp_path: Path) -> None:
    warmed.with_name(f"{warmed.name[:64]}.json").write_text("{")

    listed, shown, verified = (
        env("list", tmp_path / "store"),
        env("show", tmp_path / "store", warmed.name),
        env("verify", tmp_path / "store"),
    )

    assert (listed.returncode, shown.returncode, verified.returncode) == (0, 0, 0)
    assert json.loads(listed.stdout)["builds"][0]["state"] == "leftover"
    assert "Traceback" not in listed.stderr + shown.stderr + verified.stderr
