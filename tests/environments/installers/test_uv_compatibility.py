"""Settings of pip are said to uv in uv's words; one without a counterpart is named, with the file that says it.

One case for each row of the table in docs/how-to/environments/where-environments-stand.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cosmos_venv.environments.installers import installer_config
from cosmos_venv.environments.installers.uv_compatibility import NoCounterpart, UvSettings, pass_to_uv, translate_for_uv
from cosmos_venv.environments.requirement_files import parse

A, B, C = "https://a/simple", "https://b/simple", "https://user:s3cret@c/simple"
HOME = Path("~").expanduser()
UV = sys.executable  # answers no version of uv, as one that is too old


def settings_of(*given: str, variables: Mapping[str, str] | None = None, pip: tuple[int, ...] = ()) -> UvSettings:
    """The settings for uv, on a machine where nothing but these variables counts."""
    environ = {"PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1", **(variables or {})}
    of_machine = installer_config.pip_configuration(environ)
    return translate_for_uv(installer_config.all_settings(given, [], environ, of_machine=of_machine), environ, UV, pip)


def table(config: str | None) -> list[str]:
    """The lines of a configuration but those that are always there."""
    usual = ("no-sources = true", 'index-strategy = "unsafe-best-match"', "find-links = []")
    return [line for line in (config or "").splitlines() if line not in usual]


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        # Of equal versions pip takes the last index's, uv the first one's.
        pytest.param(
            ["--extra-index-url", C],
            {"PIP_EXTRA_INDEX_URL": B, "PIP_INDEX_URL": A},
            ["[[index]]", f'url = "{C}"', "[[index]]", f'url = "{B}"', "[[index]]", f'url = "{A}"', "default = true"],
            id="indexes",
        ),
        # pip asks an index once, where it is named first.
        pytest.param(
            ["-i", A, "--extra-index-url", B, "--extra-index-url", f"{A}/"],
            {},
            ["[[index]]", f'url = "{B}"', "[[index]]", f'url = "{A}"', "default = true"],
            id="index-named-twice",
        ),
        pytest.param(
            ["--no-index"], {"PIP_INDEX_URL": A, "PIP_CERT": "/ca", "UV_INDEX": B}, ["no-index = true"], id="no-index"
        ),
        pytest.param(
            [],
            {"PIP_FIND_LINKS": "/usr /nowhere https://a/page"},
            ['find-links = ["https://a/page", "file:///usr"]'],
            id="links",
        ),
        pytest.param([], {"PIP_PRE": "yes"}, ['prerelease = "allow"'], id="pre"),
        pytest.param(
            ["--trusted-host", "h"], {"PIP_TRUSTED_HOST": "g"}, ['allow-insecure-host = ["g", "h"]'], id="trusted"
        ),
        pytest.param([], {"PIP_KEYRING_PROVIDER": "subprocess"}, ['keyring-provider = "subprocess"'], id="keyring"),
        # What uv is configured with leads nowhere else.
        pytest.param([], {"UV_DEFAULT_INDEX": A, "UV_PRERELEASE": "allow"}, [], id="of-uv"),
    ],
)
def test_places_and_policies_go_by_a_configuration_file(
    given: list[str], variables: Mapping[str, str], expected: list[str]
) -> None:
    settings = settings_of(*given, variables=variables)

    assert table(settings.config) == expected
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "variables", "words"),
    [
        pytest.param(
            ["--no-binary", "a,B_c"],
            {"PIP_ONLY_BINARY": "a,d"},
            ["--only-binary=d", "--no-binary=a", "--no-binary=b-c"],
            id="binary-policies-take-from-each-other",
        ),
        pytest.param([], {"PIP_NO_DEPENDENCIES": "1", "PIP_UPGRADE": "1"}, ["--no-deps", "--upgrade"], id="switches"),
        # pip stores the value itself as "build isolation".
        pytest.param([], {"PIP_NO_BUILD_ISOLATION": "0"}, ["--no-build-isolation"], id="build-isolation-by-pips-quirk"),
        pytest.param(["-C", "a=b", "-C", "a=c"], {}, ["--config-setting=a=b", "--config-setting=a=c"], id="settings"),
    ],
)
def test_switches_and_lists_go_by_the_command_line(
    given: list[str], variables: Mapping[str, str], words: list[str]
) -> None:
    assert list(settings_of(*given, variables=variables).words) == words


@pytest.mark.parametrize(
    ("pip", "variables", "expected"),
    [
        ((), {"PIP_CERT": "/ca.pem", "REQUESTS_CA_BUNDLE": __file__}, {"SSL_CERT_FILE": __file__}),
        ((), {"PIP_CLIENT_CERT": "~/c.pem"}, {"SSL_CLIENT_CERT": f"{HOME}/c.pem"}),
        ((), {"PIP_DEFAULT_TIMEOUT": "2.5", "PIP_RETRIES": "7"}, {"UV_HTTP_TIMEOUT": "3", "UV_HTTP_RETRIES": "7"}),
        ((24, 2), {}, {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}),
        ((24, 1, 2), {}, {}),
    ],
    ids=["certificates", "client-certificate", "timeout-and-retries", "pip-trusts-the-system", "pip-does-not"],
)
def test_ways_to_an_index_go_by_variables(
    pip: tuple[int, ...], variables: Mapping[str, str], expected: Mapping[str, str]
) -> None:
    assert settings_of(variables=variables, pip=pip).variables == expected


def test_a_proxy_is_one_for_every_protocol() -> None:
    variables = dict(settings_of("--proxy", "user:s3cret@proxy:8080").variables)

    assert (variables.pop("NO_PROXY"), variables.pop("no_proxy")) == ("", "")
    assert set(variables) == {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"}
    assert set(variables.values()) == {"http://user:s3cret@proxy:8080"}


@pytest.mark.parametrize(
    ("pip", "words"), [((26, 1, 2), ["--build-constraint=limits.txt"]), ((26, 2), [])], ids=["pip-does", "does-not"]
)
def test_constraints_of_the_machine_count_and_limit_what_is_built_with_where_pip_does_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pip: tuple[int, ...], words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "limits.txt").write_text("hello<2\n")

    settings = settings_of(variables={"PIP_CONSTRAINT": "limits.txt"}, pip=pip)

    assert settings.lines == (f"--constraint {tmp_path}/limits.txt",)
    assert [word.replace(f"{tmp_path}/", "") for word in settings.words] == words


def test_constraints_of_the_machine_have_no_counterpart_beside_hashes(tmp_path: Path) -> None:
    (tmp_path / "limits.txt").write_text("hello<2\n")
    (tmp_path / "hashed.txt").write_text("hello==1.0 --hash=sha256:00\n")

    with pytest.raises(NoCounterpart, match=r"--constraint \(PIP_CONSTRAINT\) beside hashes"):
        settings_of("-r", f"{tmp_path}/hashed.txt", variables={"PIP_CONSTRAINT": f"{tmp_path}/limits.txt"})


@pytest.mark.parametrize(
    ("given", "variables", "reason"),
    [
        pytest.param([], {"PIP_PREFER_BINARY": "1"}, "--prefer-binary (PIP_PREFER_BINARY) has no", id="prefer-binary"),
        pytest.param([], {"PIP_KEYRING_PROVIDER": "import"}, "(PIP_KEYRING_PROVIDER)", id="keyring-module"),
        pytest.param([], {"PIP_CERT": "/usr"}, "--cert (PIP_CERT) is a folder", id="folder-of-certificates"),
        pytest.param([], {"PIP_USE_DEPRECATED": "legacy-resolver"}, "uv has no legacy-resolver", id="old-resolver"),
        pytest.param(["--user"], {}, "--user has no counterpart", id="user"),
        pytest.param([], {"PIP_CONSTRAINT": "https://a/c"}, "constraints file that", id="limits-elsewhere"),
        # pip leaves such an index alone.
        pytest.param([], {"PIP_EXTRA_INDEX_URL": "http://h/simple"}, "no --trusted-host", id="insecure"),
    ],
)
def test_what_has_no_counterpart_is_named(given: list[str], variables: Mapping[str, str], reason: str) -> None:
    with pytest.raises(NoCounterpart) as raised:
        settings_of(*given, variables=variables)

    assert reason in str(raised.value)


def test_the_options_in_requirements_files_count_and_one_that_uv_does_not_obey_is_named(tmp_path: Path) -> None:
    (tmp_path / "wanted.txt").write_text(f"--index-url {A}\n-r below/more.txt\n")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "more.txt").write_text("--pre\nhello --hash=sha256:0\n")
    (tmp_path / "proxy.txt").write_text("--proxy http://p\n")

    settings = settings_of("-r", str(tmp_path / "wanted.txt"), variables={"PIP_INDEX_URL": B})

    assert table(settings.config) == ['prerelease = "allow"', "[[index]]", f'url = "{A}"', "default = true"]
    assert settings.words == ("--require-hashes",)
    with pytest.raises(NoCounterpart, match=rf"--proxy \({tmp_path}/proxy.txt\) has no counterpart"):
        settings_of("-r", str(tmp_path / "proxy.txt"))


def test_of_uvs_own_files_counts_what_is_no_question_of_what_to_install(tmp_path: Path) -> None:
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    file = tmp_path / ".config" / "uv" / "uv.toml"
    file.parent.mkdir(parents=True)
    file.write_text(f'override-dependencies = ["a==1"]\n[pip]\nindex-url = "{A}"\nlink-mode = "copy"\n')

    settings = translate_for_uv([], {"PIP_CONFIG_FILE": "/dev/null", "HOME": str(tmp_path), "XDG_CONFIG_DIRS": ""}, UV)

    assert table(settings.config) == ['link-mode = "copy"']


def test_the_configuration_is_private_and_in_place_of_what_leads_away(tmp_path: Path) -> None:
    settings = settings_of("-i", C)

    environ = settings.environment(
        {"UV_INDEX": B, "UV_OFFLINE": "1", "UV_CACHE_DIR": "/c", "UV_KEYRING_PROVIDER": "subprocess"}, tmp_path
    )

    file = Path(environ.pop("UV_CONFIG_FILE"))
    assert environ == {"UV_CACHE_DIR": "/c", "UV_KEYRING_PROVIDER": "subprocess"}
    assert (file.parent, file.stat().st_mode & 0o777) == (tmp_path, 0o600)
    assert "s3cret" in file.read_text()


def test_a_uv_that_was_asked_for_keeps_its_own_configuration_and_is_told_what_was_given() -> None:
    given = ("-i", C, "--extra-index-url", A, "-f", "/usr", "--pre", "--proxy", "p:1", "--no-index")

    settings = pass_to_uv(installer_config.all_settings(given, [], {}))

    assert settings.config is None
    assert settings.words == ("--no-index", "--prerelease=allow")
    assert {name: value for name, value in settings.variables.items() if name.startswith("UV_")} == {
        "UV_INDEX_URL": C,
        "UV_EXTRA_INDEX_URL": A,
        "UV_FIND_LINKS": "file:///usr",
    }
    assert settings.variables["HTTPS_PROXY"] == "http://p:1"


def test_a_section_of_any_file_of_pip_goes_before_what_is_global(tmp_path: Path) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text(f"[install]\nindex-url = {A}\nno_deps = true\n")
    (tmp_path / "last.conf").write_text(f"[global]\nindex-url = {B}\nno-dependencies = false\n")
    environ = {"XDG_CONFIG_DIRS": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "last.conf"), "PIP_PRE": ""}

    found = {setting.name: setting for setting in installer_config.pip_configuration(environ)}

    assert (found["index-url"].value, found["no-deps"].value, found.get("pre")) == (A, "true", None)
    assert found["index-url"].origin == str(tmp_path / "pip" / "pip.conf")


# What is installed does not depend on these, or the builder takes them out.
DECIDE_NOTHING = set(
    """
    help debug quiet verbose log log-file local-log source source-dir source-directory refresh-package no-input
    no-color progress-bar version report timeout default-timeout retries exists-action resume-retries cache-dir
    no-cache-dir src disable-pip-version-check no-python-version-warning no-warn-script-location no-warn-conflicts
    root-user-action no-clean compile no-compile no-require-hashes user no-user target prefix root python dry-run
    require-virtualenv require-venv break-system-packages no-break-system-packages
    """.split()
)


def test_every_setting_of_pip_is_known_to_decide_or_not() -> None:
    ask = (
        "import json; from pip._internal.commands import create_command as c; "
        "print(json.dumps([n for o in c('install').parser.option_list_all for n in o._long_opts]))"
    )
    asked = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    if "No module named 'pip'" in asked.stderr:
        pytest.skip("this Python has no pip")
    known = {next(parse([name])).name.removeprefix("--") for name in json.loads(asked.stdout)}

    assert known - DECIDE_NOTHING - installer_config.DECIDING == set()
