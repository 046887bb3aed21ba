"""The wheelhouse gives a true environment, without any network, with a dbt that is scripted and remembers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from uv import find_uv_bin

from pytest_cosmos_venv import CosmosDbt
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse, build_wheelhouse

pytest_plugins = ["pytester"]

UV = find_uv_bin()
# Whoever would ask an index after all finds nobody there.
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9") | {"UV_HTTP_RETRIES": "0"}


@dataclass(frozen=True, kw_only=True)
class Environment:
    """An environment to be filled."""

    folder: Path

    def install(self, options: Sequence[str], *requirements: str) -> subprocess.CompletedProcess[str]:
        """Make and fill the environment as Airflow's helper does it with uv."""
        make = [UV, "venv", "--allow-existing", "--seed", "--python", sys.executable, str(self.folder)]
        made = run(make)
        assert made.returncode == 0, made.stdout
        return run([UV, "pip", "install", "--python", str(self.folder / "bin" / "python"), *options, *requirements])

    def run(self, command: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """The output of one of its commands."""
        return run([str(self.folder / "bin" / command), *arguments], env=env).stdout


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(folder=tmp_path / "environment")


def test_uv_seeds_and_fills_an_environment_without_an_index(cosmos_dbt: CosmosDbt, environment: Environment) -> None:
    cosmos_dbt.add_dbt("1.9.3")
    cosmos_dbt.add_adapter("harbor", "2.0.0b1")

    done = environment.install(cosmos_dbt.pip_install_options, "dbt-core==1.9.3", "dbt-duckdb", "dbt-harbor==2.0.0b1")

    assert done.returncode == 0, done.stdout
    assert (environment.folder / "bin" / "pip").exists()
    answer = environment.run("dbt", "--version")
    assert "installed: 1.9.3" in answer
    names = "dbt.version, dbt.cli.main, dbt.adapters.duckdb, dbt.adapters.harbor"
    assert environment.run("python", "-c", f"import {names}; print(dbt.version.__version__)") == "1.9.3\n"
    assert "dbt-harbor==2.0.0b1" in environment.run("pip", "freeze")


def test_the_installed_dbt_does_as_scripted_and_is_on_record(
    cosmos_dbt: CosmosDbt, environment: Environment, project: Path
) -> None:
    cosmos_dbt.script("run", exit_code=1)
    environment.install(cosmos_dbt.pip_install_options, "dbt-core")

    environment.run("dbt", "run", "--project-dir", str(project))

    (call,) = cosmos_dbt.calls
    assert call.arguments == ("run", "--project-dir", str(project))
    assert call.exit_code == 1
    assert call.prefix == environment.folder


def test_dbt_2_is_installed_as_a_program_with_script_and_record(
    cosmos_dbt: CosmosDbt, environment: Environment, project: Path
) -> None:
    cosmos_dbt.add_dbt("2.0.0a4")
    cosmos_dbt.script("run", nodes={"orders": "error"})
    done = environment.install(cosmos_dbt.pip_install_options, "dbt-core==2.0.0a4")
    assert done.returncode == 0, done.stdout

    output = environment.run("dbt", "run", "--project-dir", str(project))

    assert "Summary: 3 total | 1 error | 2 skipped" in output
    assert environment.run("dbt", "--version") == "dbt-core 2.0.0-alpha.4\n"
    assert "No module named 'dbt'" in environment.run("python", "-c", "import dbt")
    assert b"python" not in (environment.folder / "bin" / "dbt").read_bytes().splitlines()[0]
    run, _version = cosmos_dbt.calls
    assert (run.exit_code, run.prefix, run.argv[0]) == (1, environment.folder, str(environment.folder / "bin" / "dbt"))


def test_a_wheelhouse_of_ones_own_has_what_was_asked_for(tmp_path: Path) -> None:
    wheelhouse = build_wheelhouse(tmp_path / "mine", adapters=["harbor"])
    wheelhouse.add_dbt("2.0.0b1")

    names = {path.name for path in wheelhouse.path.glob("dbt_*")}
    assert wheelhouse.pip_install_options == ["--no-index", "--find-links", str(tmp_path / "mine")]
    assert names == {
        "dbt_core-1.10.0-py3-none-any.whl",
        "dbt_core-2.0.0b1-py3-none-any.whl",
        "dbt_harbor-1.10.0-py3-none-any.whl",
    }


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    variables = build_wheelhouse(tmp_path / "our wheels, all", adapters=[]).environment
    commands = {
        "pip": [sys.executable, "-m", "pip", "install"],
        "uv": [UV, "pip", "install", "--python", sys.executable],
    }

    for name, command in commands.items():
        done = run([*command, "--target", str(tmp_path / name), "dbt-core"], env=variables)
        assert done.returncode == 0, done.stdout
        assert (tmp_path / name / "dbt" / "version.py").exists()


@pytest.mark.parametrize("installer", ["pip", "uv"])
def test_what_the_machine_is_configured_to_install_from_does_not_count(
    installer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    elsewhere = build_wheelhouse(tmp_path / "elsewhere")
    elsewhere.add_dbt("77.0")
    configure_machine(tmp_path, elsewhere, monkeypatch)
    environment = Environment(folder=tmp_path / "environment")
    wheelhouse: Wheelhouse = request.getfixturevalue("cosmos_dbt")

    if installer == "uv":
        environment.install(wheelhouse.pip_install_options, "dbt-core")
    else:
        command = [sys.executable, "-m", "pip", "install", "--target", str(environment.folder)]
        run([*command, *wheelhouse.pip_install_options, "dbt-core"])

    (installed,) = environment.folder.rglob("dbt/version.py")
    assert installed.read_text(encoding="utf-8") == '__version__ = "1.10.0"\n'


def configure_machine(folder: Path, elsewhere: Wheelhouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure installers as a developer's machine may: here there is a dbt 77.0."""
    home = folder / "home"
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "uv").mkdir()
    (home / ".config" / "pip" / "pip.conf").write_text(f"[global]\nfind-links = {elsewhere.path}\n", encoding="utf-8")
    (home / ".config" / "uv" / "uv.toml").write_text(f"find-links = ['{elsewhere.path}']\n", encoding="utf-8")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("PIP_FIND_LINKS", str(elsewhere.path))
    monkeypatch.setenv("UV_FIND_LINKS", str(elsewhere.path))
    constraints = folder / "constraints.txt"
    constraints.write_text("dbt-core==77.0\n", encoding="utf-8")
    for name in ("PIP_CONSTRAINT", "UV_CONSTRAINT"):
        monkeypatch.setenv(name, str(constraints))


def run(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Its output joined."""
    return subprocess.run(
        command,
        env={**os.environ, **NO_NETWORK, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )


def test_what_implementations_remember_of_a_fake_is_gone_with_the_test(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dbt ls that a fake had answered was taken by the next test of the same project, and in the next run."""
    monkeypatch.delenv("AIRFLOW__COSMOS_VENV__CACHE_DIR")
    pytester.makepyfile(
        """
        import os
        from pathlib import Path
        import pytest

        @pytest.mark.parametrize("turn", [1, 2])
        def test_the_folder_of_answers(cosmos_dbt, turn):
            (folder,) = {os.environ[f"AIRFLOW__{name}__CACHE_DIR"] for name in ("COSMOS", "COSMOS_VENV")}
            assert os.listdir(folder) == []
            Path(folder, "kept").mkdir()
            Path(folder, "kept", "listing").touch()
            Path(folder, "answer").touch()
            print("folder", folder)

        def test_a_choice_of_the_user(monkeypatch, request):
            monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", "mine")
            request.getfixturevalue("cosmos_dbt")
            assert os.environ["AIRFLOW__COSMOS_VENV__CACHE_DIR"] == "mine"
        """
    )

    result = pytester.runpytest_subprocess("-s", "-p", "no:cacheprovider")

    result.assert_outcomes(passed=3)
    folders = [line.partition("folder ")[2] for line in result.outlines if "folder /" in line]
    # Processes that have imported Airflow are kept for tests with the same settings.
    assert len(folders) == 2
    assert len(set(folders)) == 1
    assert not Path(folders[0]).exists()
