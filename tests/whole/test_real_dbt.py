"""The whole slice with the real dbt: the example DAG end to end, and what dbt itself says when something is wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.config import ProfileConfig
from cosmos_venv.environments.opening import open_environment
from cosmos_venv.environments.store import EnvironmentStore
from cosmos_venv.managed.arguments import VirtualenvArguments
from cosmos_venv.operators.virtualenv import (
    DbtLSVirtualenvOperator,
    DbtRunVirtualenvOperator,
    DbtSeedVirtualenvOperator,
)
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.profiles import DuckDBUserPasswordProfileMapping, PostgresUserPasswordProfileMapping
from tests.installed import ROOT, install_from_wheels, needs_dbt_wheels
from tests.kit import published_build

DEADLINE = 280.0

pytestmark = needs_dbt_wheels


@pytest.fixture(scope="module", autouse=True)
def wheels_only() -> Iterator[None]:
    """Install from the wheels that `make test` has fetched, also when pytest was started by itself."""
    with pytest.MonkeyPatch.context() as patch:
        install_from_wheels(patch)
        yield


@pytest.fixture
def harbor(dbt_project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Arguments of an operator on the small project, with a DuckDB file behind an Airflow Connection."""
    monkeypatch.setenv("AIRFLOW_CONN_HARBOR", f'{{"conn_type": "duckdb", "host": "{tmp_path / "harbor.duckdb"}"}}')
    return {
        "task_id": "task",
        "project_dir": dbt_project,
        "profile_config": ProfileConfig("harbor", "dev", profile_mapping=DuckDBUserPasswordProfileMapping("harbor")),
    }


@pytest.mark.long
def test_the_example_runs_end_to_end_with_two_dbts_and_none_in_airflows_environment(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tools.demo", "--folder", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )

    with duckdb.connect(str(tmp_path / "harbor.duckdb"), read_only=True) as database:
        sailed = database.execute("select sum(crossings) from route_days").fetchone()
        crossings = database.execute("select count(*) from fct_crossings").fetchone()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("│ success │") == 9
    assert "dbt-core~=1.10.0" in done.stdout
    assert sailed == crossings != (0,)
    assert subprocess.run([sys.executable, "-c", "import dbt.cli"], capture_output=True, check=False).returncode != 0


@pytest.mark.long
def test_a_parse_file_that_was_made_elsewhere_does_not_lead_dbt_there(
    harbor: dict[str, Any], kept_directory: Path, tmp_path: Path
) -> None:
    """Shipped with a project, it names the folder of the machine that built it; dbt-duckdb loads seeds from there."""
    requirements: dict[str, Any] = {
        "py_requirements": ["dbt-core~=1.11.0", "dbt-duckdb"],
        "virtualenv_dir": kept_directory,
    }
    elsewhere = shutil.copytree(harbor["project_dir"], tmp_path / "elsewhere" / "harbor")
    with open_environment(
        EnvironmentStore(kept_directory),
        VirtualenvArguments.of(requirements).spec(),
        preference="uv",
        max_tries=60,
        cancellation=Cancellation(),
        report=lambda _: None,
    ) as environment:
        subprocess.run([environment.script("dbt"), "parse", "--profiles-dir", "."], cwd=elsewhere, check=True)
    shutil.copytree(elsewhere / "target", harbor["project_dir"] / "target")
    shutil.rmtree(elsewhere)

    DbtSeedVirtualenvOperator(**harbor, **requirements).execute({})

    with duckdb.connect(str(tmp_path / "harbor.duckdb"), read_only=True) as database:
        assert database.execute("select name from main.piers").fetchall() == [("North",)]


@pytest.mark.long
def test_a_failing_model_heads_the_error_in_dbts_own_words(harbor: dict[str, Any], kept_directory: Path) -> None:
    (harbor["project_dir"] / "models" / "broken.sql").write_text("select nothing_of_that_name from (select 1 as a)")
    operator = DbtRunVirtualenvOperator(
        **harbor, select="broken", py_requirements=["dbt-core~=1.11.0", "dbt-duckdb"], virtualenv_dir=kept_directory
    )

    with pytest.raises(AirflowException) as raised:
        operator.execute({})

    first, second, *_ = str(raised.value).splitlines()
    assert first == "dbt command failed. The command returned a non-zero exit code 1."
    assert second.startswith("model.harbor.broken: error: ")
    assert "nothing_of_that_name" in str(raised.value)


@pytest.mark.long
@pytest.mark.timeout(DEADLINE)
def test_modules_that_are_gone_are_installed_again_and_dbt_runs_once(
    harbor: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """dbt 1.11 imports the one before it begins, the other when it has parsed the project: only its log tells that."""
    operator = DbtSeedVirtualenvOperator(
        **harbor,
        py_requirements=["dbt-core~=1.11.0", "dbt-duckdb"],
        virtualenv_dir=tmp_path / "environments",
        warm_dbt="off",
    )
    operator.execute({})

    for module in ("click/core.py", "dbt/task/seed.py"):
        # Not by its number: an installation that came out incomplete took the first one on a busy machine.
        (lost,) = published_build(tmp_path / "environments").glob(f"lib/python*/site-packages/{module}")
        lost.parent.chmod(0o755)
        lost.unlink()
        capfd.readouterr()

        result = operator.run_command(*operator.build_cmd({}), {})

        said = "".join(capfd.readouterr())
        assert result.exit_code == 0
        assert f"is damaged: {module} is missing. It is built anew. This dbt had not begun its work" in said
        assert said.count("Completed successfully") == 1


@pytest.mark.long
def test_a_postgres_password_reaches_dbt_by_its_environment_only(
    harbor: dict[str, Any], kept_directory: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """dbt renders the profile before it lists anything: without the variable it would fail."""
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", "postgres://harbor:s3cret-word@127.0.0.1:1/harbor")
    mapping = PostgresUserPasswordProfileMapping("warehouse", {"schema": "public"})
    operator = DbtLSVirtualenvOperator(
        **{**harbor, "profile_config": ProfileConfig("harbor", "dev", profile_mapping=mapping)},
        py_requirements=["dbt-core~=1.11.0", "dbt-postgres"],
        virtualenv_dir=kept_directory,
    )

    result = operator.run_command(*operator.build_cmd({}), {})

    assert "harbor.staging" in result.full_output
    assert "s3cret-word" not in "".join(capfd.readouterr())
    assert "COSMOS_CONN_POSTGRES_PASSWORD" not in os.environ
