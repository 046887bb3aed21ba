"""Where pip and uv are told different things pip builds, whichever of the two was told."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cosmos_venv.environments import pip_config
from cosmos_venv.environments.agreement import why_not_uv
from cosmos_venv.environments.installer import choose_installer
from cosmos_venv.environments.options import parse

A, B = "https://a/simple", "https://b/simple"
BEST = {"UV_INDEX_STRATEGY": "unsafe-best-match"}


def objection(*given: str, **variables: str) -> str:
    """Why pip builds on a machine where nothing but these variables counts."""
    environ = {"PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1", **variables}
    return why_not_uv(list(parse(given)), [], environ)


@pytest.mark.parametrize(
    ("given", "variables", "reason"),
    [
        pytest.param([], {"UV_DEFAULT_INDEX": A}, "uv is configured with index-url", id="default-index"),
        pytest.param([], {"UV_INDEX_URL": A}, "uv is configured with index-url", id="index-url"),
        pytest.param([], {"UV_INDEX": f"name={A}"}, "uv ranks several indexes", id="index"),
        pytest.param([], {"UV_INDEX": A, **BEST}, "uv is configured with extra-index-url", id="index-of-uv-alone"),
        pytest.param([], {"UV_FIND_LINKS": "/wheels"}, "uv is configured with find-links", id="find-links"),
        pytest.param([], {"UV_EXCLUDE_NEWER": "2024-01-01"}, "uv is configured with exclude-newer", id="exclude-newer"),
        pytest.param([], {"UV_RESOLUTION": "lowest"}, "uv is configured with resolution", id="resolution"),
        pytest.param([], {"UV_PRERELEASE": "allow"}, "uv is configured with pre,", id="prerelease"),
        pytest.param([], {"UV_CONSTRAINT": "c.txt"}, "uv is configured with constraint", id="constraint"),
        pytest.param([], {"UV_OVERRIDE": "o.txt"}, "uv is configured with override", id="override"),
        pytest.param([], {"UV_OFFLINE": "1"}, "uv is configured with offline", id="offline"),
        # uv lets its default index overrule an --index-url, pip has none.
        pytest.param(["-i", A], {"UV_DEFAULT_INDEX": B}, "uv is configured with index-url", id="overruled-index"),
        pytest.param([], {"PIP_EXTRA_INDEX_URL": A, "UV_EXTRA_INDEX_URL": A}, "uv ranks several", id="first-match"),
        pytest.param(
            [],
            {"PIP_EXTRA_INDEX_URL": A, "UV_EXTRA_INDEX_URL": A, "UV_INDEX_STRATEGY": "first-index"},
            "uv ranks several",
            id="first-match-by-name",
        ),
        pytest.param(
            [], {"PIP_EXTRA_INDEX_URL": A, "UV_INDEX": B, **BEST}, "configured with extra-index-url", id="other-extra"
        ),
        pytest.param([], {"PIP_PRE": "1"}, "pip is configured with pre", id="pre"),
        pytest.param([], {"PIP_ONLY_BINARY": ":all:"}, "pip is configured with only-binary", id="only-binary"),
        pytest.param([], {"PIP_NO_BINARY": "hello"}, "pip is configured with no-binary", id="no-binary"),
        pytest.param([], {"PIP_NO_DEPENDENCIES": "1"}, "pip is configured with no-deps", id="no-deps"),
        pytest.param([], {"PIP_CONSTRAINT": "c.txt"}, "pip is configured with constraint", id="constraint-of-pip"),
        pytest.param([], {"PIP_PREFER_BINARY": "1"}, "pip is configured with prefer-binary", id="prefer-binary"),
        pytest.param([], {"PIP_REQUIRE_HASHES": "1"}, "pip is configured with require-hashes", id="require-hashes"),
        pytest.param([], {"PIP_UPGRADE_STRATEGY": "eager"}, "upgrade-strategy", id="upgrade-strategy"),
        pytest.param(["-f", "/more"], {"PIP_FIND_LINKS": "/w", "UV_FIND_LINKS": "/w"}, "find-links", id="uv-replaces"),
    ],
)
def test_pip_builds(given: list[str], variables: Mapping[str, str], reason: str) -> None:
    assert reason in objection(*given, **variables)


@pytest.mark.parametrize(
    ("given", "variables"),
    [
        pytest.param([], {"PIP_INDEX_URL": A, "UV_DEFAULT_INDEX": f"{A}/"}, id="same-index"),
        pytest.param(["-i", A], {"UV_DEFAULT_INDEX": A, "PIP_INDEX_URL": B}, id="index-given"),
        pytest.param([], {"PIP_EXTRA_INDEX_URL": A, "UV_INDEX": A, **BEST}, id="ranked-as-pip-does"),
        pytest.param(["--extra-index-url", A], BEST, id="extra-index-given"),
        pytest.param(["--extra-index-url", A, "--index-strategy", "first-index"], {}, id="strategy-given"),
        pytest.param(["--default-index", A, "--index", B], {}, id="words-of-uv"),
        pytest.param([], {"PIP_FIND_LINKS": "/a /b", "UV_FIND_LINKS": "/b,/a"}, id="same-find-links"),
        pytest.param([], {"PIP_FIND_LINKS": "/a%20b/", "UV_FIND_LINKS": "file:///a%2520b"}, id="same-folder"),
        pytest.param(["-f", "/w"], {"PIP_FIND_LINKS": "file:///w", "UV_FIND_LINKS": "file:///w"}, id="given-too"),
        pytest.param([], {"PIP_PRE": "true", "UV_PRERELEASE": "allow"}, id="same-pre"),
        pytest.param(["--pre"], {"PIP_PRE": "1"}, id="pre-given"),
        pytest.param([], {"PIP_PRE": "0", "UV_OFFLINE": "false"}, id="switched-off"),
        pytest.param([], {"PIP_CONSTRAINT": "c.txt", "UV_CONSTRAINT": "c.txt"}, id="same-constraint"),
        pytest.param(["--no-index"], {"UV_INDEX": A, "UV_DEFAULT_INDEX": B}, id="no-index"),
        # The builder takes these out, or they decide nothing.
        pytest.param([], {"PIP_TARGET": "/x", "PIP_PREFIX": "/x", "PIP_ROOT": "/x", "PIP_USER": "1"}, id="diverting"),
        pytest.param([], {"PIP_TIMEOUT": "1", "PIP_NO_INPUT": "1", "UV_LINK_MODE": "copy"}, id="harmless"),
        pytest.param([], {"PIP_VERSION": "25.0", "UV_VERSION": "1"}, id="of-an-image"),
    ],
)
def test_uv_builds(given: list[str], variables: Mapping[str, str]) -> None:
    assert objection(*given, **variables) == ""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(f'index-url = "{A}"', "uv is configured with index-url", id="index-url"),
        pytest.param(f'[pip]\nindex-url = "{A}"', "uv is configured with index-url", id="section-of-pip"),
        pytest.param(f'[[index]]\nurl = "{A}"\ndefault = true', "uv is configured with index-url", id="default-index"),
        pytest.param(f'[[index]]\nurl = "{A}"', "uv ranks several indexes", id="index"),
        pytest.param('override-dependencies = ["a==1"]', "override-dependencies", id="what-pip-has-not"),
        pytest.param("something-new = 3", "something-new", id="unknown"),
        pytest.param("not toml", "uv.toml", id="unreadable"),
        pytest.param('cache-dir = "/c"\nnative-tls = true\noffline = false', "", id="harmless"),
    ],
)
@pytest.mark.parametrize("place", ["home", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "UV_CONFIG_FILE"])
def test_the_files_of_uv_count_as_its_variables_do(tmp_path: Path, text: str, reason: str, place: str) -> None:
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    file = tmp_path / (".config/uv/uv.toml" if place == "home" else "uv/uv.toml")
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    environ = {"PIP_CONFIG_FILE": "/dev/null", "HOME": str(tmp_path), "XDG_CONFIG_DIRS": ""}
    environ[place] = str(file if place == "UV_CONFIG_FILE" else tmp_path)

    found = why_not_uv([], [], environ)

    assert reason in found
    assert bool(found) is bool(reason)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("--extra-index-url https://a\nhello", "uv ranks several indexes"),
        ("--prefer-binary\nhello", "uv does not obey --prefer-binary in a requirements file"),
        ("-r more.txt", "uv does not obey --pre in a requirements file"),
        ("--index-url https://a\nhello", ""),
        ("hello  # --pre", ""),
    ],
)
@pytest.mark.parametrize("as_requirement", [True, False])
def test_the_options_in_requirements_files_count(
    tmp_path: Path, lines: str, reason: str, as_requirement: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)
    (tmp_path / "wanted.txt").write_text(lines)
    (tmp_path / "more.txt").write_text("--pre\nhello\n")
    environ = {"PATH": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null", "UV_NO_CONFIG": "1"}
    named = ("-r", str(tmp_path / "wanted.txt"))

    if as_requirement:
        chosen = choose_installer("auto", [], environ, requirements=[" ".join(named)])
    else:
        chosen = choose_installer("auto", named, environ)

    assert chosen.name == ("pip" if reason else "uv")
    assert reason in chosen.reason


def test_a_section_of_any_file_of_pip_goes_before_what_is_global(tmp_path: Path) -> None:
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text(f"[install]\nindex-url = {A}\nno_deps = true\n")
    (tmp_path / "last.conf").write_text(f"[global]\nindex-url = {B}\nno-dependencies = false\n")
    environ = {"XDG_CONFIG_DIRS": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "last.conf"), "PIP_PRE": ""}

    found, overruled = pip_config.read(environ), pip_config.read({**environ, "PIP_NO_DEPS": "0"})

    assert (found["index-url"], found["no-deps"], found.get("pre")) == ([A], ["true"], None)
    assert "no-deps" not in overruled


# What is installed does not depend on these, or the builder takes them out.
DECIDE_NOTHING = {
    *("help", "debug", "quiet", "verbose", "log", "log-file", "local-log", "source", "source-dir", "source-directory"),
    *("refresh-package", "no-input", "no-color", "progress-bar", "version", "report"),
    *("timeout", "default-timeout", "retries", "exists-action", "resume-retries", "cache-dir", "no-cache-dir", "src"),
    *("disable-pip-version-check", "no-python-version-warning", "no-warn-script-location", "no-warn-conflicts"),
    *("root-user-action", "no-clean", "compile", "no-compile", "no-require-hashes"),
    *("user", "no-user", "target", "prefix", "root", "python", "dry-run", "require-virtualenv", "require-venv"),
    *("break-system-packages", "no-break-system-packages"),
}


def test_every_setting_of_pip_is_known_to_decide_or_not() -> None:
    ask = (
        "import json; from pip._internal.commands import create_command as c; "
        "print(json.dumps([n for o in c('install').parser.option_list_all for n in o._long_opts]))"
    )
    asked = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    if "No module named 'pip'" in asked.stderr:
        pytest.skip("this Python has no pip")
    known = {next(parse([name])).name.removeprefix("--") for name in json.loads(asked.stdout)}

    assert known - DECIDE_NOTHING - pip_config.DECIDING == set()
