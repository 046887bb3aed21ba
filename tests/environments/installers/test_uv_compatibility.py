"""Settings of pip are said to uv in uv's words; one without a counterpart is named, with the file that says it."""

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


def settings_of(*given: str, **variables: str) -> UvSettings:
    """The settings for uv, on a machine where nothing but these variables counts."""
    environ = {"PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1", **variables}
    all_settings = installer_config.all_settings(
        given, [], environ, of_machine=installer_config.pip_configuration(environ)
    )
    return translate_for_uv(all_settings, environ, UV)


def table(config: str | None) -> list[str]:
    """The lines of a configuration but those that are always there."""
    usual = ("no-sources = true", 'index-strategy = "unsafe-best-match"', "find-links = []")
    return [line for line in (config or "").splitlines() if line not in usual]


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        pytest.param([], {}, [], id="nothing"),
        pytest.param([], {"PIP_INDEX_URL": A}, ["[[index]]", f'url = "{A}"', "default = true"], id="index"),
        pytest.param(["-i", B], {"PIP_INDEX_URL": A}, ["[[index]]", f'url = "{B}"', "default = true"], id="given"),
        # Of equal versions pip takes the last index's, uv the first one's.
        pytest.param(
            ["--extra-index-url", C],
            {"PIP_EXTRA_INDEX_URL": B, "PIP_INDEX_URL": A},
            ["[[index]]", f'url = "{C}"', "[[index]]", f'url = "{B}"', "[[index]]", f'url = "{A}"', "default = true"],
            id="extra-indexes-of-both",
        ),
        # pip asks an index once, where it is named first.
        pytest.param(
            ["-i", A, "--extra-index-url", B, "--extra-index-url", f"{A}/"],
            {},
            ["[[index]]", f'url = "{B}"', "[[index]]", f'url = "{A}"', "default = true"],
            id="index-named-twice",
        ),
        pytest.param(
            ["--extra-index-url", f"{B}/", "--extra-index-url", C, "--extra-index-url", B],
            {"PIP_EXTRA_INDEX_URL": "https://pypi.org/simple/"},
            ["[[index]]", f'url = "{C}"', "[[index]]", f'url = "{B}/"'],
            id="extra-indexes-named-twice",
        ),
        pytest.param(
            ["--no-index"], {"PIP_INDEX_URL": A, "PIP_CERT": "/ca", "UV_INDEX": B}, ["no-index = true"], id="no-index"
        ),
        pytest.param([], {"PIP_NO_INDEX": "1", "UV_DEFAULT_INDEX": A}, ["no-index = true"], id="no-index-configured"),
        pytest.param([], {"PIP_NO_INDEX": "0"}, [], id="switched-off"),
        pytest.param(
            [],
            {"PIP_FIND_LINKS": "/usr /nowhere https://a/page"},
            ['find-links = ["https://a/page", "file:///usr"]'],
            id="links",
        ),
        pytest.param(
            ["-f", "file:///usr"], {"PIP_FIND_LINKS": "/usr/"}, ['find-links = ["file:///usr"]'], id="same-links"
        ),
        pytest.param(["--pre"], {}, ['prerelease = "allow"'], id="pre"),
        pytest.param([], {"PIP_PRE": "yes"}, ['prerelease = "allow"'], id="pre-configured"),
        pytest.param(
            ["--trusted-host", "h"], {"PIP_TRUSTED_HOST": "g"}, ['allow-insecure-host = ["g", "h"]'], id="trusted"
        ),
        pytest.param(
            [], {"PIP_KEYRING_PROVIDER": "subprocess"}, ['keyring-provider = "subprocess"'], id="keyring-command"
        ),
        # What uv is configured with leads nowhere else.
        pytest.param([], {"UV_DEFAULT_INDEX": A, "UV_PRERELEASE": "allow"}, [], id="of-uv"),
        pytest.param(
            ["--default-index", A, "--index", f"own={B}"],
            {},
            ["[[index]]", 'name = "own"', f'url = "{B}"', "[[index]]", f'url = "{A}"', "default = true"],
            id="words-of-uv",
        ),
    ],
)
def test_places_and_policies_go_by_a_configuration_file(
    given: list[str], variables: Mapping[str, str], expected: list[str]
) -> None:
    settings = settings_of(*given, **variables)

    assert table(settings.config) == expected
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("given", "variables", "words"),
    [
        pytest.param([], {"PIP_ONLY_BINARY": ":all:"}, ["--only-binary=:all:"], id="only-binary"),
        pytest.param(
            ["--no-binary", "a,B_c"],
            {"PIP_ONLY_BINARY": "a,d"},
            ["--only-binary=d", "--no-binary=a", "--no-binary=b-c"],
            id="binary-policies-take-from-each-other",
        ),
        pytest.param(["--only-binary=:none:"], {"PIP_ONLY_BINARY": "a"}, [], id="no-binary-policy"),
        pytest.param([], {"PIP_NO_DEPENDENCIES": "1", "PIP_UPGRADE": "1"}, ["--no-deps", "--upgrade"], id="switches"),
        pytest.param(["--require-hashes"], {}, ["--require-hashes"], id="hashes"),
        # pip stores the value itself as "build isolation".
        pytest.param([], {"PIP_NO_BUILD_ISOLATION": "0"}, ["--no-build-isolation"], id="build-isolation-by-pips-quirk"),
        pytest.param([], {"PIP_NO_BUILD_ISOLATION": "1"}, [], id="build-isolation-kept"),
        pytest.param(["-C", "a=b", "-C", "a=c"], {}, ["--config-setting=a=b", "--config-setting=a=c"], id="settings"),
        pytest.param(["--no-cache-dir", "--force-reinstall"], {}, ["--no-cache", "--reinstall"], id="other-names"),
        # Decide nothing in a new environment, or of what is installed.
        pytest.param(["-I", "--no-input", "--progress-bar", "off", "--use-pep517"], {}, [], id="nothing-to-uv"),
        pytest.param([], {"PIP_TARGET": "/x", "PIP_USER": "1", "PIP_NO_CACHE_DIR": "1"}, [], id="of-the-builder"),
        pytest.param(["--resolution", "lowest"], {}, ["--resolution=lowest"], id="word-of-uv"),
    ],
)
def test_switches_and_lists_go_by_the_command_line(
    given: list[str], variables: Mapping[str, str], words: list[str]
) -> None:
    assert list(settings_of(*given, **variables).words) == words


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param({"PIP_CERT": "/ca.pem"}, {"SSL_CERT_FILE": "/ca.pem"}, id="certificates"),
        pytest.param({"PIP_CERT": "/ca.pem", "SSL_CERT_FILE": "/x"}, {"SSL_CERT_FILE": "/ca.pem"}, id="pips-win"),
        pytest.param({"REQUESTS_CA_BUNDLE": __file__}, {"SSL_CERT_FILE": __file__}, id="certificates-of-requests"),
        pytest.param(
            {"CURL_CA_BUNDLE": __file__, "SSL_CERT_FILE": "/x"}, {"SSL_CERT_FILE": __file__}, id="certificates-of-both"
        ),
        pytest.param(
            {"PIP_CERT": "/ca.pem", "REQUESTS_CA_BUNDLE": __file__},
            {"SSL_CERT_FILE": __file__},
            id="variable-wins",
        ),
        pytest.param({"PIP_CERT": "~/ca.pem"}, {"SSL_CERT_FILE": f"{HOME}/ca.pem"}, id="certificates-at-home"),
        pytest.param({"PIP_CLIENT_CERT": "~/c.pem"}, {"SSL_CLIENT_CERT": f"{HOME}/c.pem"}, id="client-at-home"),
        pytest.param({"PIP_CLIENT_CERT": "/c.pem"}, {"SSL_CLIENT_CERT": "/c.pem"}, id="client-certificate"),
        pytest.param({"PIP_DEFAULT_TIMEOUT": "2.5"}, {"UV_HTTP_TIMEOUT": "3"}, id="timeout"),
        pytest.param({"PIP_RETRIES": "7"}, {"UV_HTTP_RETRIES": "7"}, id="retries"),
    ],
)
def test_ways_to_an_index_go_by_variables(variables: Mapping[str, str], expected: Mapping[str, str]) -> None:
    assert settings_of(**variables).variables == expected


def test_a_proxy_is_one_for_every_protocol() -> None:
    variables = dict(settings_of("--proxy", "user:s3cret@proxy:8080").variables)

    assert (variables.pop("NO_PROXY"), variables.pop("no_proxy")) == ("", "")
    assert set(variables) == {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"}
    assert set(variables.values()) == {"http://user:s3cret@proxy:8080"}


def test_a_proxy_of_pips_takes_the_place_of_those_that_uv_is_configured_with(tmp_path: Path) -> None:
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    (tmp_path / "uv.toml").write_text('no-proxy = ["a"]\nhttps-proxy = "http://q"\nlink-mode = "copy"\n')
    environ = {"PIP_CONFIG_FILE": "/dev/null", "PIP_PROXY": "p:1", "UV_CONFIG_FILE": str(tmp_path / "uv.toml")}

    settings = translate_for_uv(installer_config.pip_configuration(environ), environ, UV)

    assert table(settings.config) == ['link-mode = "copy"']


@pytest.mark.parametrize(
    ("pip", "variables", "expected"),
    [
        pytest.param((24, 2), {}, {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}, id="pip-does"),
        pytest.param((24, 1, 2), {}, {}, id="pip-does-not"),
        pytest.param((26, 3), {"SSL_CERT_FILE": "/ca"}, {}, id="a-file-is-named"),
        pytest.param((26, 3), {"UV_NATIVE_TLS": "false"}, {}, id="uv-is-told-already"),
        pytest.param((26, 3), {"PIP_USE_DEPRECATED": "legacy-certs"}, {}, id="pip-is-told-not-to"),
        pytest.param((26, 3), {"PIP_CERT": "/ca"}, {"SSL_CERT_FILE": "/ca"}, id="an-option-says"),
    ],
)
def test_uv_trusts_the_certificates_of_the_system_where_pip_does(
    pip: tuple[int, ...], variables: Mapping[str, str], expected: Mapping[str, str]
) -> None:
    environ = {"PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1", **variables}

    assert translate_for_uv(installer_config.pip_configuration(environ), environ, UV, pip).variables == expected


def test_constraints_and_requirements_of_the_machine_stand_beside_those_of_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("limits.txt", "more.txt"):
        (tmp_path / name).write_text("hello<2\n")

    settings = settings_of(PIP_CONSTRAINT="limits.txt", PIP_REQUIREMENT="more.txt")

    assert settings.lines == (
        f"--constraint {tmp_path}/limits.txt",
        f"--requirement {tmp_path}/more.txt",
    )


@pytest.mark.parametrize(
    ("pip", "variables", "words"),
    [
        pytest.param((26, 1, 2), {}, ["--build-constraint=/limits.txt"], id="pip-does"),
        pytest.param((), {}, ["--build-constraint=/limits.txt"], id="nobody-knows-which-pip"),
        pytest.param((26, 2), {}, [], id="pip-does-not-any-more"),
        pytest.param((25, 3), {"PIP_BUILD_CONSTRAINT": "/b"}, ["--build-constraint=/b"], id="builds-have-their-own"),
    ],
)
def test_constraints_of_the_machine_limit_what_is_built_with_where_pip_does_so(
    pip: tuple[int, ...], variables: Mapping[str, str], words: list[str]
) -> None:
    environ = {"PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1", "PIP_CONSTRAINT": "/limits.txt", **variables}

    settings = translate_for_uv(installer_config.pip_configuration(environ), environ, UV, pip)

    assert list(settings.words) == words


def test_constraints_of_the_machine_have_no_counterpart_beside_hashes(tmp_path: Path) -> None:
    (tmp_path / "limits.txt").write_text("hello<2\n")
    (tmp_path / "hashed.txt").write_text("hello==1.0 --hash=sha256:00\n")

    with pytest.raises(NoCounterpart, match=r"--constraint \(PIP_CONSTRAINT\) beside hashes"):
        settings_of("-r", f"{tmp_path}/hashed.txt", PIP_CONSTRAINT=f"{tmp_path}/limits.txt")


@pytest.mark.parametrize("name", ["is-trusted", "take-word-of-uv", "add-words", "file-or-source", "constraint-"])
def test_an_option_that_nobody_knows_has_no_counterpart_whatever_it_is_called(name: str) -> None:
    with pytest.raises(NoCounterpart, match=f"--{name} has no counterpart in uv"):
        settings_of(f"--{name}", "x")


@pytest.mark.parametrize(
    ("given", "variables", "reason"),
    [
        pytest.param([], {"PIP_PREFER_BINARY": "1"}, "--prefer-binary (PIP_PREFER_BINARY) has no", id="prefer-binary"),
        pytest.param(["--prefer-binary"], {}, "--prefer-binary has no counterpart in uv", id="given"),
        pytest.param([], {"PIP_KEYRING_PROVIDER": "import"}, "(PIP_KEYRING_PROVIDER)", id="keyring-module"),
        pytest.param([], {"PIP_CERT": "/usr"}, "--cert (PIP_CERT) is a folder", id="folder-of-certificates"),
        pytest.param([], {"REQUESTS_CA_BUNDLE": "/usr"}, "CA_BUNDLE = /usr is no file", id="folder-of-requests"),
        pytest.param([], {"PIP_CERT": "~"}, "--cert (PIP_CERT) is a folder", id="home-of-certificates"),
        pytest.param(["--proxy="], {}, "--proxy without an address", id="no-proxy-at-all"),
        pytest.param([], {"PIP_USE_FEATURE": "sorcery"}, "uv has no sorcery", id="feature"),
        pytest.param([], {"PIP_USE_DEPRECATED": "legacy-resolver"}, "uv has no legacy-resolver", id="old-resolver"),
        pytest.param([], {"PIP_FIND_LINKS": "/etc/passwd"}, "uv looks into folders only", id="links-in-a-file"),
        pytest.param([], {"PIP_INDEX_URL": "no-address"}, "is no address", id="no-address"),
        pytest.param(["--user"], {}, "--user has no counterpart", id="user"),
        pytest.param(["--platform", "x"], {}, "--platform has no counterpart", id="platform"),
        pytest.param(["-r", "https://a/wanted.txt"], {}, "lies elsewhere", id="requirements-elsewhere"),
        pytest.param(["-c", "https://a/limits.txt"], {}, "constraints file that lies elsewhere", id="limits-elsewhere"),
        pytest.param([], {"PIP_CONSTRAINT": "https://a/c"}, "constraints file that", id="limits-elsewhere-configured"),
        # pip leaves such an index alone.
        pytest.param([], {"PIP_EXTRA_INDEX_URL": "http://h/simple"}, "no --trusted-host", id="insecure"),
    ],
)
def test_what_has_no_counterpart_is_named(given: list[str], variables: Mapping[str, str], reason: str) -> None:
    with pytest.raises(NoCounterpart) as raised:
        settings_of(*given, **variables)

    assert reason in str(raised.value)


@pytest.mark.parametrize("trusted", ["h", "h:80", "H"])
def test_an_index_without_encryption_is_asked_where_its_host_is_trusted(trusted: str) -> None:
    settings = settings_of(
        "-i", "http://h:80/simple", "--extra-index-url", "http://127.0.0.1/", "--trusted-host", trusted
    )

    assert 'url = "http://h:80/simple"' in (settings.config or "")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param(
            "--extra-index-url https://${HARBOR}@a\nhello",
            ["[[index]]", 'url = "https://mole@a"', "[[index]]", f'url = "{B}"', "default = true"],
            id="variable",
        ),
        # An index in a file takes the place of all that were said before.
        pytest.param(f"--index-url {A}\nhello", ["[[index]]", f'url = "{A}"', "default = true"], id="index-in-file"),
        pytest.param("-r below/more.txt", ['prerelease = "allow"', "find-links"], id="file-in-file"),
        pytest.param("hello  # --pre", ["[[index]]", f'url = "{B}"', "default = true"], id="comment"),
    ],
)
@pytest.mark.parametrize("as_requirement", [True, False])
def test_the_options_in_requirements_files_count(
    tmp_path: Path, lines: str, expected: list[str], as_requirement: bool
) -> None:
    (tmp_path / "wanted.txt").write_text(lines)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "more.txt").write_text("--no-index\n--pre\n--find-links links\nhello --hash=sha256:0\n")
    (tmp_path / "below" / "links").mkdir()
    environ = {"PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1", "PIP_INDEX_URL": B, "HARBOR": "mole"}
    named = ["-r", str(tmp_path / "wanted.txt")]

    all_settings = installer_config.all_settings(
        [] if as_requirement else named,
        [" ".join(named)] if as_requirement else [],
        environ,
        of_machine=installer_config.pip_configuration(environ),
    )
    settings = translate_for_uv(all_settings, environ, UV)

    if "find-links" in expected:
        assert f'find-links = ["{(tmp_path / "below" / "links").as_uri()}"]' in (settings.config or "")
        assert settings.words == ("--require-hashes",)
        expected = ['prerelease = "allow"', "no-index = true"]
        assert [line for line in table(settings.config) if "find-links" not in line] == expected
    else:
        assert table(settings.config) == expected


@pytest.mark.parametrize("line", ["--proxy http://p", "hello --config-settings=a=b", "hello --global-option=x"])
def test_an_option_that_uv_does_not_obey_in_a_requirements_file_is_named_with_the_file(
    tmp_path: Path, line: str
) -> None:
    (tmp_path / "wanted.txt").write_text(f"{line}\n")

    with pytest.raises(NoCounterpart, match=rf"--[a-z-]+ \({tmp_path}/wanted.txt\) has no counterpart"):
        settings_of("-r", str(tmp_path / "wanted.txt"))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        pytest.param(f'index-url = "{A}"\ncache-dir = "/c"', ['cache-dir = "/c"'], id="index"),
        pytest.param(f'[pip]\nindex-url = "{A}"\nlink-mode = "copy"', ['link-mode = "copy"'], id="section-of-pip"),
        pytest.param(f'native-tls = true\n[[index]]\nurl = "{A}"', ["native-tls = true"], id="native-tls"),
        pytest.param('override-dependencies = ["a==1"]\nsomething-new = 3', [], id="what-leads-away"),
        pytest.param('allow-insecure-host = ["h"]', ['allow-insecure-host = ["h"]'], id="trusted-by-uv"),
        pytest.param("not toml", [], id="unreadable"),
    ],
)
@pytest.mark.parametrize("place", ["home", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "UV_CONFIG_FILE"])
def test_of_uvs_own_files_counts_what_is_no_question_of_what_to_install(
    tmp_path: Path, text: str, kept: list[str], place: str
) -> None:
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    file = tmp_path / (".config/uv/uv.toml" if place == "home" else "uv/uv.toml")
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    environ = {"PIP_CONFIG_FILE": "/dev/null", "HOME": str(tmp_path), "XDG_CONFIG_DIRS": ""}
    environ[place] = str(file if place == "UV_CONFIG_FILE" else tmp_path)

    settings = translate_for_uv([], environ, UV)

    assert table(settings.config) == kept


def test_a_file_of_uvs_that_may_hold_something_harmless_and_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text("cache-dir = /c\n")

    with pytest.raises(NoCounterpart, match=r"of uv's configuration .*uv\.toml cannot be read"):
        translate_for_uv([], {"UV_CONFIG_FILE": str(tmp_path / "uv.toml")}, UV)


def test_the_configuration_is_private_and_in_place_of_what_leads_away(tmp_path: Path) -> None:
    settings = settings_of("-i", C)

    environ = settings.environment(
        {"UV_INDEX": B, "UV_OFFLINE": "1", "UV_CACHE_DIR": "/c", "UV_KEYRING_PROVIDER": "subprocess"}, tmp_path
    )

    file = Path(environ.pop("UV_CONFIG_FILE"))
    assert environ == {"UV_CACHE_DIR": "/c", "UV_KEYRING_PROVIDER": "subprocess"}
    assert (file.parent, file.stat().st_mode & 0o777) == (tmp_path, 0o600)
    assert "s3cret" in file.read_text()


def given_to_uv(*words: str) -> UvSettings:
    """The settings for a uv that was asked for by name."""
    return pass_to_uv(installer_config.all_settings(words, [], {}))


def test_a_uv_that_was_asked_for_keeps_its_own_configuration_and_is_told_what_was_given() -> None:
    settings = given_to_uv("-i", C, "--extra-index-url", A, "-f", "/usr", "--pre", "--proxy", "p:1", "--no-index")

    assert settings.config is None
    assert settings.words == ("--no-index", "--prerelease=allow")
    assert {name: value for name, value in settings.variables.items() if name.startswith("UV_")} == {
        "UV_INDEX_URL": C,
        "UV_EXTRA_INDEX_URL": A,
        "UV_FIND_LINKS": "file:///usr",
    }
    assert settings.variables["HTTPS_PROXY"] == "http://p:1"


def test_a_uv_that_was_asked_for_refuses_what_it_does_not_know_by_name() -> None:
    with pytest.raises(NoCounterpart) as raised:
        given_to_uv("--user", "--prefer-binary", "-q")

    assert str(raised.value) == "--prefer-binary, --user"


def test_a_section_of_any_file_of_pip_goes_before_what_is_global(tmp_path: Path) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text(f"[install]\nindex-url = {A}\nno_deps = true\n")
    (tmp_path / "last.conf").write_text(f"[global]\nindex-url = {B}\nno-dependencies = false\n")
    environ = {"XDG_CONFIG_DIRS": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "last.conf"), "PIP_PRE": ""}

    found = {setting.name: setting for setting in installer_config.pip_configuration(environ)}
    overruled = {setting.name for setting in installer_config.pip_configuration({**environ, "PIP_NO_DEPS": "0"})}

    assert (found["index-url"].value, found["no-deps"].value, found.get("pre")) == (A, "true", None)
    assert found["index-url"].origin == str(tmp_path / "pip" / "pip.conf")
    assert "no-deps" not in overruled


def test_a_file_that_is_named_takes_the_place_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text("[install]\nfind_links =\n    /one\n    /two\n")
    (tmp_path / "own.conf").write_text(f"[global]\nindex-url = {A}\n")
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path)}

    def all_settings(**more: str) -> list[str]:
        found = installer_config.pip_configuration({**environ, **more})
        return [each.value for each in found if each.name in ("find-links", "index-url")]

    assert all_settings() == ["/one", "/two"]
    assert all_settings(PIP_CONFIG_FILE=str(tmp_path / "own.conf")) == [A]
    assert all_settings(PIP_CONFIG_FILE=str(tmp_path / "missing.conf")) == ["/one", "/two"]


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
