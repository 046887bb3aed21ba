"""The configuration of pip and uv on this machine, and all that an installation is told besides.

pip is told by its files, its variables, the options of the installation and the options in requirements files. uv's
configuration is parted into what decides what is installed, and what does not.
"""

from __future__ import annotations

import configparser
import importlib
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cosmos_venv.environments import requirement_files
from cosmos_venv.environments.requirement_files import options_in_file

_SECTIONS = ("global", "install")

DECIDING = frozenset({
    "index-url", "extra-index-url", "find-links", "no-index", "requirement", "requirements-from-script", "group",
    "proxy", "cert", "client-cert", "trusted-host", "keyring-provider", "no-proxy-env",
    "editable", "constraint", "build-constraint", "pre", "only-final", "all-releases", "uploaded-prior-to",
    "only-binary", "no-binary", "prefer-binary", "no-deps", "only-deps", "require-hashes", "ignore-requires-python",
    "upgrade", "upgrade-strategy", "ignore-installed", "force-reinstall", "platform", "python-version", "abi",
    "implementation", "no-build-isolation", "check-build-dependencies", "config-settings", "global-option",
    "use-pep517", "no-use-pep517", "use-feature", "use-deprecated", "isolated",
})  # fmt: skip
"""Settings that say what is installed, from where, and how one gets there."""

PATIENCE = frozenset({"timeout", "retries"})
"""Settings that say how long one waits for that. A test names all others of pip's."""

OFF = frozenset({"0", "f", "false", "n", "no", "off"})
_ON = frozenset({"1", "t", "true", "y", "yes", "on"})
_COUNTED = frozenset({"quiet", "verbose"})  # switches that take a number too

# Of these pip takes several values at once, parted by blanks or lines.
_LISTS = frozenset({
    "extra-index-url", "find-links", "trusted-host", "constraint", "build-constraint", "requirement", "editable",
    "use-feature", "use-deprecated", "platform", "abi", "group", "requirements-from-script",
})  # fmt: skip

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
    "UV_NO_CONFIG", "UV_CONFIG_FILE", "UV_CONSTRAINT", "UV_BUILD_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE",
    "UV_PRERELEASE", "UV_RESOLUTION", "UV_FORK_STRATEGY", "UV_EXCLUDE_NEWER", "UV_INDEX_STRATEGY", "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE", "UV_NO_BUILD", "UV_NO_BUILD_PACKAGE", "UV_NO_BUILD_ISOLATION", "UV_NO_SOURCES",
    "UV_REQUIRE_HASHES", "UV_NO_VERIFY_HASHES", "UV_REQUIRE_BUILD_HASHES", "UV_OFFLINE", "UV_TORCH_BACKEND",
    "UV_NO_EDITABLE", "UV_NO_SOURCES_PACKAGE", "UV_EXCLUDE_NEWER_PACKAGE", "UV_NO_DEPS", "UV_NO_INDEX",
})  # fmt: skip

# Of a configuration file: whatever is not here may decide what is installed, now or in a later release of uv.
_HARMLESS = frozenset({
    "required-version", "system-certs", "native-tls", "no-cache", "cache-dir", "cache-keys", "preview", "link-mode",
    "preview-features", "python-preference", "python-downloads", "concurrent-downloads", "concurrent-builds",
    "concurrent-installs", "http-proxy", "https-proxy", "no-proxy", "python-install-mirror", "keyring-provider",
    "pypy-install-mirror", "graalpy-install-mirror", "allow-insecure-host",
})  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One thing that pip is told.

    :param name: long name of the option, without dashes.
    :param value: empty for a switch.
    :param origin: the variable or file that says so; empty for an option of the installation itself.
    :param is_in_requirements: whether that file is a requirements file, whose options pip combines in another way.
    """

    name: str
    value: str
    origin: str = ""
    is_in_requirements: bool = False

    def __str__(self) -> str:
        return f"--{self.name} ({self.origin})" if self.origin else f"--{self.name}"


@dataclass(kw_only=True)
class Places:
    """The places where pip looks for packages.

    :param index: the address that was said last; None: pip's own index.
    :param extra: further addresses, of which pip takes the best version, of equal ones the last.
    :param links: settings that name folders or pages.
    :param without_index: whether no index is asked.
    """

    index: Setting | None = None
    extra: list[Setting] = field(default_factory=list)
    links: list[Setting] = field(default_factory=list)
    without_index: bool = False

    @classmethod
    def of(cls, all_settings: Iterable[Setting]) -> Places:
        """Return the places that pip makes of its settings, one after the other.

        :param all_settings: all settings, in the order in which pip applies them.
        """
        places = cls()
        for setting in all_settings:
            if setting.name == "no-index":
                places.without_index = True
            elif setting.name == "find-links":
                places.links.append(setting)
            elif setting.is_in_requirements and places.without_index:
                continue
            elif setting.name == "index-url":
                if setting.is_in_requirements:
                    places.extra.clear()
                places.index = setting
            elif setting.name == "extra-index-url":
                places.extra.append(setting)
        return places

    @property
    def indexes(self) -> list[Setting]:
        """Every index with an address that is asked."""
        return [] if self.without_index else [*([self.index] if self.index else []), *self.extra]


def pip_configuration(environ: Mapping[str, str]) -> list[Setting]:
    """Return what pip is configured with, by its files and variables; nothing that is switched off.

    :param environ: whose ``PIP_*`` variables, home and configuration folders count.
    """
    return [
        Setting(name=name, value=value, origin=setting.origin)
        for name, setting in sorted(_settings(environ).items())
        if name in DECIDING | PATIENCE and _is_on(setting)
        for value in (setting.value.split() if name in _LISTS else [setting.value.strip()])
    ]


def pip_config_faults(environ: Mapping[str, str]) -> Iterator[str]:
    """Give sentences on what pip refuses to start with: a file that it cannot parse, a switch that is neither on nor
    off.

    :param environ: as for ``pip_configuration``.
    """
    for file in _pip_files(environ):
        try:
            _parsed(file)
        except ValueError as error:
            yield str(error)
    for setting in _settings(environ).values():
        if f"--{setting.name}" in requirement_files.WITHOUT_VALUE:
            value = setting.value.strip().lower()
            if value not in OFF | _ON and not (setting.name in _COUNTED and value.isdigit()):
                yield f"{setting} is neither on nor off: {setting.value.strip()}"


def all_settings(
    pip_install_options: Iterable[str],
    requirements: Iterable[str],
    environ: Mapping[str, str],
    *,
    of_machine: Iterable[Setting] = (),
) -> list[Setting]:
    """Return everything that an installation is told, in the order in which pip applies it.

    :param pip_install_options: as in ``EnvironmentSpec``.
    :param requirements: as in ``EnvironmentSpec``: with ``-r`` they name files that hold options too.
    :param environ: variables for ``${NAME}`` in requirements files.
    :param of_machine: what pip is configured with (``pip_configuration``), which an ``--isolated`` pip does not read;
        empty for a tool that does not read it.
    :raises CosmosValueError: naming a requirements file that cannot be read.
    """
    of_machine = list(of_machine)
    given = [
        Setting(name=option.name.removeprefix("--"), value=option.value or "")
        for option in requirement_files.given_options(pip_install_options, requirements)
        if option.name
    ]
    # The record named indexes that an isolated pip had never read.
    if any(setting.name == "isolated" for setting in given):
        of_machine = []
    files = [*_files_named(of_machine, given, "constraint"), *_files_named(of_machine, given, "requirement")]
    in_files = [
        Setting(
            name=option.name.removeprefix("--"),
            value=option.value or "",
            origin=option.origin,
            is_in_requirements=True,
        )
        for file in files
        for option in options_in_file(Path(file), environ)
    ]
    return [*of_machine, *given, *in_files]


def _files_named(of_machine: Iterable[Setting], given: Iterable[Setting], name: str) -> Iterator[str]:
    for setting in [*of_machine, *given]:
        if setting.name == name and setting.value and "://" not in setting.value:
            yield setting.value


def options_against_diversion(environ: Mapping[str, str], directory: Path) -> list[str]:
    """Return words for ``pip install`` into a directory that overrule what would lead it somewhere else.

    :param environ: as for ``pip_configuration``.
    :param directory: the environment to install into.
    """
    # An empty prefix or root would be the working directory.
    home = {"target": "", "prefix": str(directory), "root": "/"}
    settings = _settings(environ)
    return [f"--{name}={value}" for name, value in home.items() if name in settings]


def _is_on(setting: Setting) -> bool:
    is_off = setting.value.strip().lower() in OFF
    # pip stores the value itself as "build isolation": false is what switches it off.
    return is_off if setting.name == "no-build-isolation" else not is_off


def _settings(environ: Mapping[str, str]) -> dict[str, Setting]:
    sections: dict[str, dict[str, Setting]] = {section: {} for section in _SECTIONS}
    for file in _pip_files(environ):
        for section, found in _sections_of(file).items():
            sections[section].update(found)
    variables: dict[str, Setting] = {}
    for key, value in environ.items():
        if key.startswith("PIP_"):
            name = _long_name(key[4:])
            variables[name] = Setting(name=name, value=value, origin=key)
    settings: dict[str, Setting] = {}
    for layer in [*sections.values(), variables]:  # a section of any file goes before all that is global
        settings.update({name: setting for name, setting in layer.items() if setting.value.strip()})
    return settings


def _long_name(key: str) -> str:
    """Return the one long name of an option. Each second spelling that pip takes becomes one."""
    return next(requirement_files.parse([f"--{key.lower().replace('_', '-')}"])).name.removeprefix("--")


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    """Return pip's configuration files, later ones win. ``pip --python`` reads none of a virtual environment."""
    if environ.get("PIP_CONFIG_FILE") == os.devnull:
        return []
    home = Path(environ["HOME"]) if environ.get("HOME") else None
    files = [Path(folder, "pip/pip.conf") for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if folder]
    files.append(Path("/etc/pip.conf"))
    if sys.platform == "darwin":
        files.append(Path("/Library/Application Support/pip/pip.conf"))
    named = environ.get("PIP_CONFIG_FILE")
    if named and Path(named).exists():
        return [*files, Path(named)]  # then pip leaves out the user's own
    if home is not None:
        files.append(home / ".pip/pip.conf")
        if sys.platform == "darwin":
            files.append(home / "Library/Application Support/pip/pip.conf")
    if environ.get("XDG_CONFIG_HOME"):
        files.append(Path(environ["XDG_CONFIG_HOME"], "pip/pip.conf"))
    elif home is not None:
        files.append(home / ".config/pip/pip.conf")
    return files


def _sections_of(file: Path) -> dict[str, dict[str, Setting]]:
    try:
        parser = _parsed(file)
    except ValueError:
        return {}  # pip says so itself, in its own words, when it runs
    return {
        section: {
            name: Setting(name=name, value=value or "", origin=str(file))
            for name, value in ((_long_name(key), value) for key, value in parser.items(section))
        }
        for section in _SECTIONS
        if parser.has_section(section)
    }


def _parsed(file: Path) -> configparser.RawConfigParser:
    """The file's settings; none where pip passes over it, too: it is not there, or not for this user to read.

    :raises ValueError: naming the file, with which pip refuses to start.
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except OSError:
        pass
    except (UnicodeDecodeError, configparser.Error) as error:
        raise ValueError(f"{file} cannot be read as pip's configuration") from error
    return parser


def without_diverting_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables but for those by which uv would install something else than pip, or from somewhere else.

    :param environ: the variables.
    """
    return {name: value for name, value in environ.items() if name not in _LEADING_AWAY}


def harmless_uv_settings(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what uv's configuration files say that does not decide what is installed, such as its cache.

    :param environ: whose ``UV_*`` variables, home and configuration folders count.
    :raises ValueError: naming the file that cannot be read.
    """
    found: dict[str, Any] = {}
    for file in _uv_files(environ):
        try:
            table = _read(file)
        except ValueError:
            if _may_have_harmless(file):
                raise
            continue
        for section in (table, table.get("pip", {})):
            for name in _HARMLESS & section.keys():
                if isinstance(section[name], bool | int | str | list):
                    # uv reads the user's file before the system's, and the first that says something counts.
                    found.setdefault(name, section[name])
    return found


def uv_places(environ: Mapping[str, str], given: Collection[str] = ()) -> dict[str, list[str]]:
    """Return where uv is told to look for packages; nothing that is switched off.

    A default index of uv, which overrules an ``--index-url``, is ``default-index`` here; all that is asked besides is
    ``extra-index-url``.

    :param environ: whose ``UV_*`` variables, home and configuration folders count.
    :param given: long names of the options of this installation.
    """
    settings: dict[str, list[str]] = {}
    of_files = [setting for file in _uv_files(environ) for setting in _of_file(file)]
    for name, value in [*_of_variables(environ, given), *of_files]:
        if value and value.lower() not in OFF:
            settings.setdefault("extra-index-url" if name == "index" else name, []).append(value)
    return settings


def sources_of_uv_places(environ: Mapping[str, str], asked: Collection[str]) -> list[str]:
    """Return variables and files that tell uv, and not pip, where to look for packages.

    :param environ: as for ``uv_places``.
    :param asked: addresses and folders in which packages were looked for; ``no-index`` where no index was asked.
    """
    heeded = {_plain(place) for place in asked}

    def names_others(settings: Iterable[tuple[str, str]]) -> bool:
        places = [name if name == "no-index" else value for name, value in settings if value.lower() not in OFF]
        return any(_plain(place) not in heeded for place in places)

    variables = [name for name in _VARIABLES if names_others(_of_variables({name: environ.get(name, "")}, ()))]
    return [*variables, *(str(file) for file in _uv_files(environ) if names_others(_of_file(file)))]


def _plain(place: str) -> str:
    """Return a place in the one form by which two of them are compared: folders as paths."""
    return place.removeprefix("file://").rstrip("/")


def _of_variables(environ: Mapping[str, str], given: Collection[str]) -> Iterator[tuple[str, str]]:
    for variable, name in _VARIABLES.items():
        if f"--{name}" not in given:
            value = environ.get(variable, "")
            for word in (value.replace(",", " ") if name == "find-links" else value).split():
                yield name, _address(word) if "index" in name else word


def _address(word: str) -> str:
    """Return the address of ``address`` or ``name=address``."""
    name, equals, address = word.partition("=")
    return address if equals and "/" not in name else word


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
        return parsed_toml(text)
    except (ImportError, ValueError) as error:  # of a fault uv tells in its own words
        raise ValueError(f"{file} cannot be read") from error


def parsed_toml(text: str) -> dict[str, Any]:
    """Return what a text in TOML says.

    :param text: the text.
    :raises ImportError: on Python 3.10, which brings no parser, without tomli.
    :raises ValueError: for what is no TOML.
    """
    table: dict[str, Any] = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli").loads(text)
    return table


def _may_have_harmless(file: Path) -> bool:
    """Return whether something would be missed of a file that cannot be taken apart."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
    return any(name in text for name in _HARMLESS)


def _uv_files(environ: Mapping[str, str]) -> list[Path]:
    """Return uv's configuration files. uv is kept from reading one of a project (``UV_PROJECT``)."""
    if environ.get("UV_CONFIG_FILE"):
        return [Path(environ["UV_CONFIG_FILE"])]
    if environ.get("UV_NO_CONFIG", "0").lower() not in {*OFF, ""}:
        return []
    system = [Path(folder, "uv/uv.toml") for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if folder]
    system = [next((file for file in system if file.exists()), Path("/etc/uv/uv.toml"))]
    if environ.get("XDG_CONFIG_HOME"):
        return [Path(environ["XDG_CONFIG_HOME"], "uv/uv.toml"), *system]
    return [Path(environ["HOME"], ".config/uv/uv.toml"), *system] if environ.get("HOME") else system
