"""``[cosmos_venv] virtualenv_installer = airflow``: Airflow's own prepare_virtualenv, with every promise kept."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from cosmos_venv.compat import AirflowException
from cosmos_venv.environments.store import BuildRecord, EnvironmentStore
from cosmos_venv.managed.resolve import VirtualenvArguments
from cosmos_venv.operators.virtualenv import DbtRunVirtualenvOperator
from tests.installed import AIRFLOW_2, ROOT, needs_airflow_2
from tests.kit import DbtCalls, MakeOperator


@pytest.fixture(autouse=True)
def installer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's way, and there pip: uv would fetch a pip for each environment."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__VIRTUALENV_INSTALLER", "airflow")
    monkeypatch.setenv("AIRFLOW__STANDARD__VENV_INSTALL_METHOD", "pip")


def record_of(operator: DbtRunVirtualenvOperator, directory: Path) -> BuildRecord:
    """The record of its environment."""
    spec = VirtualenvArguments.of(vars(operator)).spec()
    environment = EnvironmentStore(directory).find(spec)
    assert environment is not None
    environment.close()
    return environment.record


@pytest.mark.long
def test_airflow_makes_the_environment_and_it_is_published_like_any_other(
    make_operator: MakeOperator,
    dbt_calls: DbtCalls,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name in ("PIP_USER", "PIP_REQUIRE_VIRTUALENV"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("PIP_COMPILE", "0")
    (tmp_path / "poison").mkdir()
    (tmp_path / "poison" / "venv.py").write_text("raise SystemExit('poisoned')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "poison"))
    operator = make_operator(virtualenv_dir=tmp_path / "kept")

    operator.execute({})

    record = record_of(operator, tmp_path / "kept")
    logged = "".join(capfd.readouterr())
    assert record.installer == "airflow"
    assert dbt_calls()[0].prefix.is_relative_to(tmp_path / "kept" / "envs-v2")
    assert "Executing cmd: " in logged
    assert " -m venv " in logged
    sources = {path.with_suffix("") for path in (tmp_path / "kept").glob("envs-v2/*-*/lib/*/site-packages/dbt/**/*.py")}
    compiled = {path.parents[1] / path.name.partition(".")[0] for path in (tmp_path / "kept").rglob("*.pyc")}
    assert sources
    assert sources <= compiled
    assert (tmp_path / "kept" / "bin" / "dbt").exists()


@pytest.mark.long
def test_a_failing_installation_fails_with_the_tools_words_and_without_credentials(
    make_operator: MakeOperator, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    given = make_operator().pip_install_options
    operator = make_operator(
        virtualenv_dir=tmp_path / "kept",
        py_requirements=["dbt-nosuchwarehouse"],
        pip_install_options=[*given, "--extra-index-url", "https://user:s3cret@index.invalid"],
    )

    with pytest.raises(AirflowException, match=r"(?s)airflow could not install dbt-nosuchwarehouse.*No matching dist"):
        operator.execute({})

    assert "s3cret" not in "".join(capfd.readouterr())
    assert not list((tmp_path / "kept" / "envs-v2").iterdir())


ON_AIRFLOW_2 = """
import json, sys
from pathlib import Path
from cosmos_venv.managed.resolve import VirtualenvArguments
from cosmos_venv.managed.resolve import managed_environment
from cosmos_venv.processes.cancellation import Cancellation
arguments = VirtualenvArguments.of(json.loads(sys.argv[2]))
with managed_environment(arguments, Path(sys.argv[1]), cancellation=Cancellation(), report=print) as found:
    print("MADE BY", found.record.installer)
"""


@pytest.mark.long
@needs_airflow_2
def test_airflow_2_makes_it_with_virtualenv_or_says_that_it_lacks_it(
    make_operator: MakeOperator, tmp_path: Path
) -> None:
    operator = make_operator()
    arguments = {name: vars(operator)[name] for name in ("py_requirements", "pip_install_options")}

    done = subprocess.run(
        [str(AIRFLOW_2), "-W", "ignore", "-c", ON_AIRFLOW_2, str(tmp_path / "kept"), json.dumps(arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "AIRFLOW_HOME": str(tmp_path / "airflow")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert " -m virtualenv " in done.stdout
    if "MADE BY airflow" not in done.stdout:
        assert "airflow could not install dbt-core==1.10.0, dbt-duckdb (exit status 1). It said:" in done.stderr
        assert done.stderr.strip().endswith("No module named virtualenv")
