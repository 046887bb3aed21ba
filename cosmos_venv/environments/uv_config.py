"""What is uv configured to do on this machine? By its variables and its files, said in pip's words."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from cosmos_venv.environments.pip_config import OFF

# Setting by variable. The option of the same name takes its place.
_VARIABLES = {
    "UV_DEFAULT_INDEX": "default-index",
    "UV_INDEX_URL": "index-url",
    "UV_INDEX": "index",
    "UV_EXTRA_INDEX_URL": "extra-index-url",
    "UV_INSECURE_HOST": "allow-insecure-host",
    "UV_EXCLUDE": "excludes",
    **{
        f"UV_{name.upper().replace('-', '_')}": name
        for name in (
            *("find-links", "constraint", "build-constraint", "override", "prerelease", "resolution", "exclude-newer"),
            *("index-strategy", "keyring-provider", "no-binary", "no-binary-package", "no-build", "no-build-package"),
            *("no-build-isolation", "no-sources", "require-hashes", "no-verify-hashes", "offline", "torch-backend"),
        )
    },
}
_OF_PIP = {"index": "extra-index-url", "allow-insecure-host": "trusted-host"}
_DEFAULTS = {("resolution", "highest"), ("prerelease", "if-necessary-or-explicit"), ("keyring-provider", "disabled")}
# Of a configuration file: whatever is not here may decide what is installed, now or in a later release of uv.
_HARMLESS = {
    *("required-version", "system-certs", "native-tls", "no-cache", "cache-dir", "cache-keys", "preview", "link-mode"),
    *("preview-features", "python-preference", "python-downloads", "concurrent-downloads", "concurrent-builds"),
    *(
        "concurrent-installs",
        "http-proxy",
        "https-proxy",
        "no-proxy",
        "fork-strategy",
        "compile-bytecode",
        "add-bounds",
    ),
    *("python-install-mirror", "pypy-install-mirror", "graalpy-install-mirror", "publish-url", "check-url", "audit"),
    *("trusted-publishing", "environments", "required-environments"),
}


def read(environ: Mapping[str, str], given: Collection[str] = ()) -> dict[str, list[str]]:
    """The settings that decide what is installed and from where; none that is switched off or says the default.

    A default index of uv, which overrules an ``--index-url``, is ``default-index`` here.

    :param environ: whose ``UV_*`` variables, home and configuration folders count.
    :param given: long names of the options of this installation.
    """
    settings: dict[str, list[str]] = {}
    for name, value in [*_of_variables(environ, given), *_of_files(environ)]:
        if (name, value) == ("prerelease", "allow"):
            settings["pre"] = ["1"]
        elif value and value.lower() not in OFF and (name, value) not in _DEFAULTS:
            settings.setdefault(_OF_PIP.get(name, name), []).append(value)
    return settings


def _of_variables(environ: Mapping[str, str], given: Collection[str]) -> Iterator[tuple[str, str]]:
    for variable, name in _VARIABLES.items():
        if f"--{name}" not in given:
            value = environ.get(variable, "")
            for word in (value.replace(",", " ") if name == "find-links" else value).split():
                yield name, _address(word) if "index" in name else word


def _address(word: str) -> str:
    """Of ``name=address`` the address."""
    name, equals, address = word.partition("=")
    return address if equals and "/" not in name else word


def _of_files(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for file in _files(environ):
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError):
            yield str(file), "cannot be read"
            continue
        try:
            content = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli").loads(text)
        except (ImportError, ValueError):  # Python 3.10 brings no parser; of a fault uv tells in its own words
            yield str(file), "cannot be read"
        else:
            yield from _of_table(content)


def _of_table(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if name == "pip":
            yield from _of_table(value)
        elif name == "index":
            for each in value:
                yield "default-index" if each.get("default") else "index", str(each.get("url", ""))
        elif name not in _HARMLESS and value:
            yield from ((name, str(each)) for each in (value if isinstance(value, list) else [value]))


def _files(environ: Mapping[str, str]) -> list[Path]:
    """uv's configuration files; of a project it is kept from reading one (``UV_PROJECT``)."""
    if environ.get("UV_CONFIG_FILE"):
        return [Path(environ["UV_CONFIG_FILE"])]
    if environ.get("UV_NO_CONFIG", "0").lower() not in {*OFF, ""}:
        return []
    system = [Path(folder, "uv/uv.toml") for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if folder]
    system = [next((file for file in system if file.exists()), Path("/etc/uv/uv.toml"))]
    if environ.get("XDG_CONFIG_HOME"):
        return [Path(environ["XDG_CONFIG_HOME"], "uv/uv.toml"), *system]
    return [Path(environ["HOME"], ".config/uv/uv.toml"), *system] if environ.get("HOME") else system
