"""When uv builds and when pip does, and how credentials reach either without standing on a command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cosmos_venv.environments import pip_config
from cosmos_venv.environments.arguments import InstallArguments
from cosmos_venv.environments.builder import installer_environment
from cosmos_venv.environments.installer import choose_installer
from cosmos_venv.environments.interpreter import Interpreter
from cosmos_venv.environments.spec import EnvironmentSpec
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
        pytest.param(["--prefer-binary"], {}, "uv does not know --prefer-binary", id="option-of-pip"),
        pytest.param(["--proxy=http://p"], {}, "uv does not know --proxy", id="option-with-value"),
        pytest.param(["--extra-index-url", "https://a"], {}, "uv ranks several indexes", id="several-indexes"),
        pytest.param([], {"PIP_INDEX_URL": "https://a"}, "pip is configured with index-url", id="index"),
        pytest.param([], {"PIP_FIND_LINKS": "/wheels"}, "pip is configured with find-links", id="find-links"),
        pytest.param([], {"PIP_CERT": "/ca.pem"}, "pip is configured with cert", id="certificate"),
        pytest.param([], {"PIP_PROXY": "http://p"}, "pip is configured with proxy", id="proxy"),
        # uv has no such variable: it would ask the index that pip was told to leave alone.
        pytest.param([], {"PIP_NO_INDEX": "1", "UV_NO_INDEX": "1"}, "configured with no-index", id="no-index"),
        pytest.param(
            [], {"PIP_INDEX_URL": "https://a", "UV_INDEX_URL": "https://b"}, "index-url", id="uv-has-another-index"
        ),
    ],
)
def test_pip_builds_where_uv_would_install_something_else(
    path_with_uv: str, given: list[str], variables: Mapping[str, str], reason: str
) -> None:
    installer = choose_installer("auto", given, no_config(path_with_uv, **variables))

    assert installer.name == "pip"
    assert reason in installer.reason


@pytest.mark.parametrize(
    ("given", "variables"),
    [
        pytest.param([], {}, id="nothing-special"),
        pytest.param(["--no-deps", "--pre"], {}, id="options-that-both-know"),
        pytest.param(["--index-strategy", "first-index"], {}, id="option-of-uv"),
        pytest.param(["--no-dependencies"], {}, id="spelling-of-pip"),
        pytest.param(["-i", "https://b"], {"PIP_INDEX_URL": "https://a"}, id="index-given"),
        pytest.param(["--no-index"], {"PIP_INDEX_URL": "https://a", "PIP_CERT": "/ca"}, id="no-index"),
        pytest.param([], {"PIP_INDEX_URL": "https://a", "UV_INDEX_URL": "https://a"}, id="uv-is-told-the-same"),
        pytest.param([], {"PIP_CERT": "/ca.pem", "SSL_CERT_FILE": "/ca.pem"}, id="same-certificate"),
        pytest.param([], {"PIP_NO_INDEX": "false"}, id="switched-off"),
        pytest.param(["--no-index"], {"PIP_NO_INDEX": "1"}, id="no-index-given"),
    ],
)
def test_uv_builds_where_it_installs_what_pip_would(
    path_with_uv: str, given: list[str], variables: Mapping[str, str]
) -> None:
    installer = choose_installer("auto", given, no_config(path_with_uv, **variables))

    assert (installer.name, installer.uv) == ("uv", f"{path_with_uv}/uv")


def test_uv_builds_where_its_own_configuration_knows_no_index_either(path_with_uv: str, tmp_path: Path) -> None:
    config = tmp_path / "uv.toml"
    config.write_text('find-links = ["/wheels"]\nno-index = true\n', encoding="utf-8")
    environ = no_config(path_with_uv, PIP_NO_INDEX="1", PIP_FIND_LINKS="/wheels", UV_CONFIG_FILE=str(config))

    assert choose_installer("auto", [], environ).name == "uv"
    config.write_text("no-index = false\n", encoding="utf-8")
    assert choose_installer("auto", [], environ).name == "pip"


def test_the_files_of_pip_are_read_as_its_variables_are(tmp_path: Path, path_with_uv: str) -> None:
    file = tmp_path / "home" / ".config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True)
    file.write_text("[install]\nfind_links =\n    /one\n    /two\n")
    environ = {"PATH": path_with_uv, "HOME": str(tmp_path / "home"), "XDG_CONFIG_DIRS": str(tmp_path)}

    settings = pip_config.read(environ)

    assert settings["find-links"] == ["/one", "/two"]
    assert "find-links" in choose_installer("auto", [], environ).reason


def test_an_option_that_uv_does_not_know_is_refused_by_name_when_uv_was_asked_for(path_with_uv: str) -> None:
    with pytest.raises(CosmosValueError, match=r"pip_install_options: uv does not know --prefer-binary, --user\. "):
        choose_installer("uv", ["--user", "--prefer-binary"], no_config(path_with_uv))


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


def arguments_of(*requirements: str, given: tuple[str, ...], tool: str = "pip") -> InstallArguments:
    spec = EnvironmentSpec(requirements=requirements, pip_install_options=given, interpreter=Interpreter.of())
    configured = {"extra-index-url": ["https://configured"]}
    return InstallArguments.of(spec, "uv" if tool == "uv" else "pip", configured)


def test_words_without_credentials_are_passed_as_they_are() -> None:
    arguments = arguments_of("hello", given=("--index-url", "https://host"))

    assert arguments.words == ("--index-url", "https://host", "hello")
    assert not arguments.variables


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        pytest.param("pip", {"PIP_EXTRA_INDEX_URL": "https://configured https://u:s3cret@a https://b"}, id="pip"),
        pytest.param("uv", {"UV_EXTRA_INDEX_URL": "https://u:s3cret@a https://b"}, id="uv"),
    ],
)
def test_an_option_with_credentials_goes_by_the_variable_that_means_the_same(
    tool: str, expected: Mapping[str, str]
) -> None:
    given = ("--extra-index-url", "https://u:s3cret@a", "--no-deps", "--extra-index-url=https://b")

    arguments = arguments_of("hello", given=given, tool=tool)

    assert arguments.words == ("--no-deps", "hello")
    assert arguments.variables == expected


def test_a_requirement_with_credentials_goes_by_a_file_that_names_a_variable() -> None:
    arguments = arguments_of("hello @ https://u:s3cret@host/hello.whl", given=("--no-deps",))

    assert arguments.words == ("--no-deps",)
    assert arguments.file_lines == ("hello @ https://${COSMOS_VENV_CREDENTIALS_0}@host/hello.whl",)
    assert arguments.variables == {"COSMOS_VENV_CREDENTIALS_0": "u:s3cret"}


def test_output_is_masked_in_whatever_form_a_credential_appears() -> None:
    arguments = arguments_of("hello @ https://u:s3cret@host/hello.whl", given=())

    masked = arguments.mask("s3cret refused for https://u:s3cret@host and https://other:w0rd@host")

    assert "s3cret" not in masked
    assert "w0rd" not in masked
