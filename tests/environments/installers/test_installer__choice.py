"""Tests of the choice between uv and pip, and of the variables that reach either."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cosmos_venv.environments.installers.installer import (
    Installer,
    InstallerPreference,
    choose_installer,
    installer_environment,
    pip_variables,
)
from cosmos_venv.environments.requirement_files import pip_configuration
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError


@pytest.fixture
def path_with_uv(tmp_path: Path) -> str:
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)
    return str(uv.parent)


@pytest.fixture
def path_without_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    return str(tmp_path)


def choose(
    preference: InstallerPreference, path: str, *given: str, requirement: str = "hello", **variables: str
) -> Installer:
    """Choose where no configuration file of this machine counts."""
    spec = EnvironmentSpec(requirements=(requirement,), pip_install_options=given, interpreter=Interpreter.of())
    return choose_installer(preference, spec, {"PATH": path, "PIP_CONFIG_FILE": "/dev/null", **variables})


@pytest.mark.parametrize(
    ("given", "variables", "reason"),
    [
        pytest.param(["--prefer-binary"], {}, "--prefer-binary (pip_install_options)", id="option"),
        pytest.param(["--exclude-newer=2024-01-01"], {}, "--exclude-newer (pip_install_options)", id="option-of-uv"),
        pytest.param([], {"PIP_PREFER_BINARY": "1"}, "--prefer-binary (PIP_PREFER_BINARY)", id="variable"),
        pytest.param(["-r", "{folder}/pre.txt"], {}, "--pre ({folder}/pre.txt)", id="line-that-uv-passes-over"),
        pytest.param(
            ["-r", "{folder}/hash.txt"],
            {"PIP_CONSTRAINT": "c.txt"},
            "--constraint (PIP_CONSTRAINT) beside hashes",
            id="constraint-beside-hashes",
        ),
    ],
)
def test_a_setting_that_uv_cannot_be_told_means_pip_and_is_refused_where_uv_was_asked_for(
    path_with_uv: str, tmp_path: Path, given: list[str], variables: Mapping[str, str], reason: str
) -> None:
    (tmp_path / "pre.txt").write_text("--pre\nhello\n")
    (tmp_path / "hash.txt").write_text("hello==1 --hash=sha256:00\n")
    words, reason = [word.format(folder=tmp_path) for word in given], reason.format(folder=tmp_path)

    installer = choose("auto", path_with_uv, *words, **variables)

    assert installer.name == "pip"
    assert installer.reason.startswith(f"uv cannot be told {reason}")
    with pytest.raises(CosmosValueError, match=r"uv cannot be told .* or choose pip, .*virtualenv_installer") as raised:
        choose("uv", path_with_uv, *words, **variables)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("given", "variables"),
    [
        pytest.param([], {"PIP_QUIET": "2", "PIP_NO_INDEX": "Off", "PIP_PRE": "T", "PIP_USER": "true"}, id="switches"),
        pytest.param(["--extra-index-url", "https://a", "-f", "/wheels"], {"PIP_INDEX_URL": "https://b"}, id="places"),
        pytest.param([], {"UV_INDEX_URL": "https://a", "UV_EXCLUDE_NEWER": "2024-01-01"}, id="uv-told-otherwise"),
        pytest.param(["-U", "-r", "{folder}/wanted.txt", "--only-binary", ":all:"], {}, id="files"),
    ],
)
def test_uv_builds_where_both_know_each_setting(
    path_with_uv: str, tmp_path: Path, given: list[str], variables: Mapping[str, str]
) -> None:
    (tmp_path / "wanted.txt").write_text("--extra-index-url https://c\n-c limits.txt\nhello\n")
    (tmp_path / "limits.txt").write_text("hello<3\n")

    installer = choose("auto", path_with_uv, *(word.format(folder=tmp_path) for word in given), **variables)

    assert (installer.name, installer.uv) == ("uv", f"{path_with_uv}/uv")


def test_pip_builds_where_packages_of_the_base_python_count(path_with_uv: str) -> None:
    spec = EnvironmentSpec(requirements=("hello",), interpreter=Interpreter.of(), system_site_packages=True)
    environ = {"PATH": path_with_uv, "PIP_CONFIG_FILE": "/dev/null"}

    assert choose_installer("auto", spec, environ).name == "pip"
    assert choose_installer("uv", spec, environ).name == "uv"


def test_a_uv_that_is_missing_is_an_error_only_when_it_was_asked_for(path_without_uv: str) -> None:
    assert choose("auto", path_without_uv).reason == "uv is not installed"
    with pytest.raises(VirtualenvBuildError, match=r"uv was asked for, and it is not on PATH.*cosmos-venv\[uv\]"):
        choose("uv", path_without_uv)


@pytest.mark.parametrize("preference", ["pip", Installer(name="airflow", command=("x",))])
def test_a_lock_file_takes_uv(tmp_path: Path, path_with_uv: str, preference: InstallerPreference) -> None:
    (tmp_path / "pylock.toml").touch()
    named = f"-r {tmp_path}/pylock.toml"

    assert choose("auto", path_with_uv, requirement=named).name == "uv"
    with pytest.raises(
        VirtualenvBuildError, match=r"pylock\.toml is a lock file, which uv installs.*cosmos-venv\[uv\]"
    ):
        choose(preference, path_with_uv, requirement=named)
    with pytest.raises(CosmosValueError, match=r"uv cannot be told --prefer-binary \(PIP_PREFER_BINARY\)\. Leave it"):
        choose("auto", path_with_uv, requirement=named, PIP_PREFER_BINARY="1")


def test_a_lock_file_without_uv_is_refused(tmp_path: Path, path_without_uv: str) -> None:
    (tmp_path / "pylock.toml").touch()

    with pytest.raises(VirtualenvBuildError, match=r"uv installs the lock file .*Install it \(cosmos-venv\[uv\]\)"):
        choose("auto", path_without_uv, requirement=f"-r {tmp_path}/pylock.toml")


def test_variables_that_divert_an_installation_do_not_reach_the_installer(tmp_path: Path) -> None:
    diverting = ("PIP_TARGET", "PIP_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_SYSTEM_PYTHON")
    worker = {**dict.fromkeys(diverting, "x"), "PIP_USER": "1", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_INDEX_URL": "u"}

    environ = installer_environment(worker, tmp_path)
    told = pip_variables(pip_configuration({**worker, "PIP_CONFIG_FILE": "/dev/null"}))

    assert not {*diverting, "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_INDEX_URL"} & set(environ)
    assert told == {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "u"}


SECRETS_OF_AIRFLOW = {
    "AIRFLOW_CONN_AWS_DEFAULT": "aws://user:secret@",
    "AIRFLOW_VAR_TOKEN": "secret",
}
SETTINGS_OF_AIRFLOW = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://user:secret@host/airflow",
    "AIRFLOW__CORE__FERNET_KEY": "secret",
    "AIRFLOW__SECRETS__BACKEND_KWARGS": '{"token": "secret"}',
}


def test_what_airflow_keeps_secret_does_not_reach_the_installer(tmp_path: Path) -> None:
    """It runs code of each package that it builds."""
    worker = {**SECRETS_OF_AIRFLOW, **SETTINGS_OF_AIRFLOW, "AIRFLOW_HOME": "/opt/airflow", "HOME": "/root"}

    environ = installer_environment(worker, tmp_path)

    assert set(environ).isdisjoint(SECRETS_OF_AIRFLOW | SETTINGS_OF_AIRFLOW)
    assert environ["AIRFLOW_HOME"] == "/opt/airflow"


def test_an_installer_of_airflow_keeps_the_settings_of_airflow(tmp_path: Path) -> None:
    """Airflow reads them when it is imported."""
    worker = {**SECRETS_OF_AIRFLOW, **SETTINGS_OF_AIRFLOW, "HOME": "/root"}

    environ = installer_environment(worker, tmp_path, is_airflow=True)

    assert {name for name in environ if name.startswith("AIRFLOW")} == set(SETTINGS_OF_AIRFLOW)


def test_users_without_a_home_get_one_in_the_folder_of_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a uid without passwd entry
    monkeypatch.setattr(os, "access", lambda path, _: not str(path).startswith("/usr"))

    homeless = installer_environment({}, tmp_path)
    read_only = installer_environment({"HOME": "/usr"}, tmp_path)
    ordinary = installer_environment({"HOME": str(tmp_path)}, tmp_path / "..")

    assert homeless["HOME"] == str(tmp_path)
    assert (read_only["HOME"], read_only["UV_CACHE_DIR"]) == ("/usr", f"{tmp_path}/uv-cache")
    assert (ordinary["HOME"], "UV_CACHE_DIR" in ordinary) == (str(tmp_path), False)
