"""Tests of the choice between uv and pip, and of credentials that reach either without standing on a command line."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cosmos_venv.environments.installers.choice import (
    InstallerPreference,
    OtherInstaller,
    choose_installer,
    environment_of_installation,
    installer_environment,
)
from cosmos_venv.environments.installers.command_line import InstallArguments
from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError


@pytest.fixture
def path_with_uv(tmp_path: Path) -> str:
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)
    return str(uv.parent)


def no_config(path: str, **variables: str) -> dict[str, str]:
    """Variables under which no configuration file of this machine counts."""
    return {"PATH": path, "PIP_CONFIG_FILE": "/dev/null", **variables}


@pytest.mark.parametrize(
    ("given", "variables", "reason"),
    [
        pytest.param(["--prefer-binary"], {}, "--prefer-binary has no counterpart in uv", id="option"),
        pytest.param([], {"PIP_PREFER_BINARY": "1"}, "--prefer-binary (PIP_PREFER_BINARY) has no", id="variable"),
    ],
)
def test_pip_builds_where_uv_cannot_be_told_what_pip_is_told(
    path_with_uv: str, given: list[str], variables: Mapping[str, str], reason: str
) -> None:
    installer = choose_installer("auto", given, no_config(path_with_uv, **variables))

    assert installer.name == "pip"
    assert reason in installer.reason


def test_pip_builds_where_packages_of_the_base_python_count(path_with_uv: str) -> None:
    environ = no_config(path_with_uv)

    assert choose_installer("auto", [], environ, system_site_packages=True).name == "pip"
    assert choose_installer("uv", [], environ, system_site_packages=True).name == "uv"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"[global]\nindex-url = https://a\na stray line\n", "pip.conf cannot be read", id="stray-line"),
        pytest.param(b"[global]\nno-index = ture\n", "pip.conf) is neither on nor off: ture", id="no-boolean"),
    ],
)
def test_pip_builds_and_speaks_where_it_refuses_its_configuration(
    path_with_uv: str, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "pip.conf").write_bytes(content)

    installer = choose_installer("auto", [], no_config(path_with_uv, PIP_CONFIG_FILE=str(tmp_path / "pip.conf")))

    assert installer.name == "pip"
    assert reason in installer.reason


@pytest.mark.parametrize(
    ("given", "variables"),
    [
        pytest.param([], {"PIP_QUIET": "2", "PIP_NO_INDEX": "Off", "PIP_PRE": "T"}, id="switches"),
        pytest.param(["--extra-index-url", "https://a", "-f", "/wheels"], {"PIP_INDEX_URL": "https://b"}, id="places"),
        pytest.param([], {"UV_INDEX_URL": "https://a", "UV_EXCLUDE_NEWER": "2024-01-01"}, id="uv-told-otherwise"),
    ],
)
def test_uv_builds_where_it_can_be_told_what_pip_is_told(
    path_with_uv: str, given: list[str], variables: Mapping[str, str]
) -> None:
    installer = choose_installer("auto", given, no_config(path_with_uv, **variables))

    assert (installer.name, installer.uv) == ("uv", f"{path_with_uv}/uv")
    assert installer.obeys_pip_config


def test_an_option_that_uv_does_not_know_is_refused_by_name_when_uv_was_asked_for(
    path_with_uv: str, tmp_path: Path
) -> None:
    (tmp_path / "wanted.txt").write_text("--prefer-binary\nhello\n")

    with pytest.raises(CosmosValueError, match=r"pip_install_options: uv does not know --prefer-binary, --user\. "):
        choose_installer("uv", ["--user", "--prefer-binary"], no_config(path_with_uv))
    with pytest.raises(CosmosValueError, match=r"uv does not know --prefer-binary \(.*/wanted\.txt\)"):
        choose_installer("uv", [], no_config(path_with_uv), requirements=[f"-r {tmp_path}/wanted.txt"])


def test_a_uv_that_is_missing_is_an_error_only_when_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    assert choose_installer("auto", [], no_config(str(tmp_path))).reason == "uv is not installed"
    with pytest.raises(VirtualenvBuildError, match="uv was asked for and is not on PATH"):
        choose_installer("uv", [], no_config(str(tmp_path)))


def test_variables_that_divert_an_installation_do_not_reach_the_installer() -> None:
    diverting = ("PIP_TARGET", "PIP_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_SYSTEM_PYTHON")
    worker = {**dict.fromkeys(diverting, "x"), "PIP_USER": "1", "PIP_REQUIRE_VIRTUALENV": "1", "PIP_INDEX_URL": "u"}

    environ = installer_environment(worker)

    assert not set(diverting) & set(environ)
    assert (environ["PIP_USER"], environ["PIP_REQUIRE_VIRTUALENV"], environ["PIP_INDEX_URL"]) == ("0", "0", "u")


SECRETS_OF_AIRFLOW = {
    "AIRFLOW_CONN_AWS_DEFAULT": "aws://user:secret@",
    "AIRFLOW_VAR_TOKEN": "secret",
}
SETTINGS_OF_AIRFLOW = {
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql://user:secret@host/airflow",
    "AIRFLOW__CORE__FERNET_KEY": "secret",
    "AIRFLOW__SECRETS__BACKEND_KWARGS": '{"token": "secret"}',
}


def test_what_airflow_keeps_secret_does_not_reach_the_installer() -> None:
    """It runs code of each package that it builds."""
    worker = {**SECRETS_OF_AIRFLOW, **SETTINGS_OF_AIRFLOW, "AIRFLOW_HOME": "/opt/airflow", "HOME": "/root"}

    environ = installer_environment(worker)

    assert "secret" not in "".join(environ.values())
    assert environ["AIRFLOW_HOME"] == "/opt/airflow"


def test_an_installer_of_airflow_keeps_the_settings_of_airflow(tmp_path: Path) -> None:
    """Airflow reads them when it is imported."""
    installer = choose_installer(OtherInstaller(name="airflow", command=("python",)), [], {})
    worker = {**SECRETS_OF_AIRFLOW, **SETTINGS_OF_AIRFLOW, "HOME": "/root"}

    environ = environment_of_installation(installer, worker, tmp_path)

    assert {name for name in environ if name.startswith("AIRFLOW")} == set(SETTINGS_OF_AIRFLOW)


def arguments_of(
    *requirements: str,
    given: tuple[str, ...],
    preference: InstallerPreference = "pip",
    path: str = "",
    **variables: str,
) -> InstallArguments:
    spec = EnvironmentSpec(requirements=requirements, pip_install_options=given, interpreter=Interpreter.of())
    environ = no_config(path or os.environ["PATH"], **variables)
    installer = choose_installer(preference, given, environ, requirements=requirements)
    return InstallArguments.of(spec, installer, environ)


def test_options_are_words_and_requirements_lines_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    arguments = arguments_of(
        "hello", "-e ./own", "./my own", "./pkg[x]", given=("--no-deps", "-r", "more.txt", "-c", "c")
    )

    assert arguments.words == ("--no-deps", "-r", "more.txt", "-c", "c", "./my own")
    assert arguments.file_lines == ("hello", f"{tmp_path}/pkg[x]", f"--editable {tmp_path}/own")
    assert not arguments.variables


@pytest.mark.parametrize(
    ("preference", "expected"),
    [
        pytest.param("pip", {"PIP_EXTRA_INDEX_URL": "https://configured https://u:s3cret@a https://b"}, id="pip"),
        pytest.param("uv", {"UV_EXTRA_INDEX_URL": "https://u:s3cret@a https://b"}, id="uv"),
        pytest.param(
            OtherInstaller(name="airflow", command=("x",)),
            {
                "PIP_EXTRA_INDEX_URL": "https://configured https://u:s3cret@a https://b",
                "UV_EXTRA_INDEX_URL": "https://u:s3cret@a https://b",
            },
            id="other",
        ),
    ],
)
def test_addresses_of_indexes_go_by_the_variable_that_means_the_same(
    path_with_uv: str, preference: InstallerPreference, expected: Mapping[str, str]
) -> None:
    given = ("--extra-index-url", "https://u:s3cret@a", "--no-deps", "--extra-index-url=https://b")

    arguments = arguments_of(
        "hello", given=given, preference=preference, path=path_with_uv, PIP_EXTRA_INDEX_URL="https://configured"
    )

    assert arguments.words == ("--no-deps",)
    assert arguments.variables == expected


@pytest.mark.parametrize("preference", ["pip", OtherInstaller(name="airflow", command=("x",))])
def test_an_isolated_pip_finds_its_indexes_in_a_requirements_file(preference: InstallerPreference) -> None:
    given = ("--extra-index-url", "https://u:s3cret@a", "-i", "https://b", "-f", "/my wheels", "--isolated")

    arguments = arguments_of("hello", given=given, preference=preference, PIP_EXTRA_INDEX_URL="https://configured")

    assert (arguments.words, arguments.variables) == (("--isolated",), {})
    assert arguments.file_lines == (
        "--index-url https://b",
        "--extra-index-url https://u:s3cret@a",
        "--find-links '/my wheels'",
        "hello",
    )


@pytest.mark.parametrize(
    ("given", "preference", "words", "expected"),
    [
        pytest.param(
            ("--build-constraint=https://u:s3cret@a/c", "--build-constraint", "b"),
            "pip",
            (),
            {"PIP_BUILD_CONSTRAINT": "of-machine https://u:s3cret@a/c b"},
            id="pip",
        ),
        pytest.param(
            ("-b", "https://u:s3cret@a/c", "--overrides=o"),
            "uv",
            ("--overrides=o",),
            {"UV_BUILD_CONSTRAINT": "https://u:s3cret@a/c"},
            id="uv",
        ),
        pytest.param(
            ("--overrides=https://a/c?token=s3cret",),
            "uv",
            (),
            {"UV_OVERRIDE": "https://a/c?token=s3cret"},
            id="uv-overrides",
        ),
    ],
)
def test_no_other_option_puts_a_credential_on_a_command_line(
    path_with_uv: str,
    given: tuple[str, ...],
    preference: InstallerPreference,
    words: tuple[str, ...],
    expected: Mapping[str, str],
) -> None:
    arguments = arguments_of(
        "hello", given=given, preference=preference, path=path_with_uv, PIP_BUILD_CONSTRAINT="of-machine"
    )

    assert (arguments.words, arguments.variables) == (words, expected)


@pytest.mark.parametrize(
    ("given", "preference", "named"),
    [
        pytest.param(("--isolated", "--proxy", "u:s3cret@p:80"), "pip", "--proxy", id="proxy-of-an-isolated-pip"),
        pytest.param(("-C", "from=https://u:s3cret@a"), "uv", "--config-settings", id="build-setting-for-uv"),
        pytest.param(("-b", "/my file", "-b", "https://u:s3cret@a"), "uv", "--build-constraint", id="no-list-of-paths"),
    ],
)
def test_a_credential_that_could_only_stand_on_a_command_line_is_refused(
    path_with_uv: str, given: tuple[str, ...], preference: InstallerPreference, named: str
) -> None:
    with pytest.raises(
        CosmosValueError, match=rf"pip_install_options: {named}.*would stand on the command l"
    ) as raised:
        arguments_of("hello", given=given, preference=preference, path=path_with_uv)

    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "secret"),
    [
        pytest.param("https://u:s3cret@host/hello.whl", "s3cret", id="user-and-password"),
        pytest.param("https://host/hello.whl?token=s3cret", "s3cret", id="query"),
        pytest.param("https://u:s3/cret@host.example/hello.whl", "s3/cret", id="unescaped"),
    ],
)
@pytest.mark.parametrize("how", ["hello @ {}", "{}", "-r {}", "-c {}"])
def test_a_requirement_is_on_no_command_line_whatever_stands_in_its_address(
    address: str, secret: str, how: str
) -> None:
    arguments = arguments_of(how.format(address), given=())

    assert arguments.words == ()
    assert address in arguments.file_lines[0]
    assert secret not in arguments.mask(f"{address} is refused: {secret}")


def test_git_is_logged_in_by_a_header_and_its_address_holds_no_credential() -> None:
    given = ("hello @ git+https://t0ken@host/a/hello.git@v1", "-e git+https://u:p%40ss@host/b.git#egg=b", "plain")

    arguments = arguments_of(*given, given=(), GIT_CONFIG_COUNT="1")

    logins = [base64.b64encode(login).decode() for login in (b"t0ken:", b"u:p@ss")]
    assert arguments.file_lines == (
        "hello @ git+https://host/a/hello.git@v1",
        "plain",
        "--editable git+https://host/b.git#egg=b",
    )
    assert arguments.variables == {
        "GIT_CONFIG_COUNT": "3",
        "GIT_CONFIG_KEY_1": "http.https://host/a/hello.git.extraHeader",
        "GIT_CONFIG_VALUE_1": f"Authorization: Basic {logins[0]}",
        "GIT_CONFIG_KEY_2": "http.https://host/b.git.extraHeader",
        "GIT_CONFIG_VALUE_2": f"Authorization: Basic {logins[1]}",
    }


def test_output_is_masked_in_whatever_form_a_credential_appears() -> None:
    arguments = arguments_of(
        "hello @ https://u:s3cr%2Ft@host/hello.whl", given=(), PIP_INDEX_URL="https://u:of-the-machine@host"
    )

    masked = arguments.mask("s3cr/t refused for https://u:s3cr%2Ft@host and https://other:w0rd@host, of-the-machine")

    assert "s3cr" not in masked
    assert "w0rd" not in masked
    assert "of-the-machine" not in masked
