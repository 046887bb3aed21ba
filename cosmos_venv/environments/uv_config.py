"""What uv is configured with on this machine: what of it decides what is installed, and what does not."""

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
    "UV_FIND_LINKS": "find-links",
}
# What would lead uv away from pip's answer, beside those. Ways to an index that uv knows do not.
_LEADING_AWAY = frozenset({
    *_VARIABLES,
    *("UV_NO_CONFIG", "UV_CONFIG_FILE", "UV_CONSTRAINT", "UV_BUILD_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE"),
    *("UV_PRERELEASE", "UV_RESOLUTION", "UV_FORK_STRATEGY", "UV_EXCLUDE_NEWER", "UV_INDEX_STRATEGY", "UV_NO_BINARY"),
    *("UV_NO_BINARY_PACKAGE", "UV_NO_BUILD", "UV_NO_BUILD_PACKAGE", "UV_NO_BUILD_ISOLATION", "UV_NO_SOURCES"),
    *("UV_REQUIRE_HASHES", "UV_NO_VERIFY_HASHES", "UV_REQUIRE_BUILD_HASHES", "UV_OFFLINE", "UV_TORCH_BACKEND"),
    *("UV_NO_EDITABLE", "UV_NO_SOURCES_PACKAGE", "UV_EXCLUDE_NEWER_PACKAGE", "UV_NO_DEPS", "UV_NO_INDEX"),
})  # fmt: skip
# Of a configuration file: whatever is not here may decide what is installed, now or in a later release of uv.
_HARMLESS = frozenset({
    *("required-version", "system-certs", "native-tls", "no-cache", "cache-dir", "cache-keys", "preview", "link-mode"),
    *("preview-features", "python-preference", "python-downloads", "concurrent-downloads", "concurrent-builds"),
    *("concurrent-installs", "http-proxy", "https-proxy", "no-proxy", "python-install-mirror", "keyring-provider"),
    *("pypy-install-mirror", "graalpy-install-mirror", "allow-insecure-host"),
})  # fmt: skip


def without_what_leads_away(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables but for those by which uv would install something else than pip, or from somewhere else."""
    return {name: value for name, value in environ.items() if name not in _LEADING_AWAY}


def harmless(environ: Mapping[str, str]) -> dict[str, Any]:
    """What uv's configuration files say that does not decide what is installed: its cache, say.

    :raises ValueError: naming the file that cannot be read.
    """
    found: dict[str, Any] = {}
    for file in _files(environ):
        try:
            table = _read(file)
        except ValueError:
            if _may_have_harmless(file):
                raise
            continue
        for section in (table, table.get("pip", {})):
            for name in _HARMLESS & section.keys():
                if isinstance(section[name], bool | int | str | list):
                    found.setdefault(name, section[name])
    return found


def read(environ: Mapping[str, str], given: Collection[str] = ()) -> dict[str, list[str]]:
    """Where uv is told to look for packages; nothing that is switched off.

    A default index of uv, which overrules an ``--index-url``, is ``default-index`` here; all that is asked besides is
    ``extra-index-url``.

    :param environ: whose ``UV_*`` variables, home and configuration folders count.
    :param given: long names of the options of this installation.
    """
    settings: dict[str, list[str]] = {}
    for name, value in [*_of_variables(environ, given), *_of_files(environ)]:
        if value and value.lower() not in OFF:
            settings.setdefault("extra-index-url" if name == "index" else name, []).append(value)
    return settings


def what_names_places(environ: Mapping[str, str]) -> list[str]:
    """Variables and files that tell uv, and not pip, where to look for packages."""
    variables = [name for name in _VARIABLES if environ.get(name)]
    return [*variables, *(str(file) for file in _files(environ) if any(_of_file(file)))]


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
        yield from _of_file(file)


def _of_file(file: Path) -> Iterator[tuple[str, str]]:
    try:
        table = _read(file)
    except ValueError:
        return  # uv says so itself, in its own words, when it runs
    for section in (table, table.get("pip", {})):
        for each in section.get("index", ()):
            yield "default-index" if each.get("default") else "index", str(each.get("url", ""))
        for name in (*_VARIABLES.values(), "no-index"):
            value = section.get(name, ()) if name != "index" else ()
            yield from ((name, str(each)) for each in (value if isinstance(value, list | tuple) else [value]))


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read") from error
    if not text.strip():
        return {}
    try:
        table: dict[str, Any] = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli").loads(
            text
        )
    except (ImportError, ValueError) as error:  # Python 3.10 brings no parser; of a fault uv tells in its own words
        raise ValueError(f"{file} cannot be read") from error
    return table


def _may_have_harmless(file: Path) -> bool:
    """Of a file that cannot be taken apart: whether something in it would be missed."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return any(name in text for name in _HARMLESS)


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
