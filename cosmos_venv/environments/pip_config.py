"""What pip is told for one installation: by its files, its variables, options and requirements files."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cosmos_venv.environments import options
from cosmos_venv.environments.content import options_in_file

_SECTIONS = ("global", "install")

DECIDING = frozenset({
    *("index-url", "extra-index-url", "find-links", "no-index", "requirement", "requirements-from-script", "group"),
    *("proxy", "cert", "client-cert", "trusted-host", "keyring-provider", "no-proxy-env"),
    *("editable", "constraint", "build-constraint", "pre", "only-final", "all-releases", "uploaded-prior-to"),
    *("only-binary", "no-binary", "prefer-binary", "no-deps", "only-deps", "require-hashes", "ignore-requires-python"),
    *("upgrade", "upgrade-strategy", "ignore-installed", "force-reinstall", "platform", "python-version", "abi"),
    *("implementation", "no-build-isolation", "check-build-dependencies", "config-settings", "global-option"),
    *("use-pep517", "no-use-pep517", "use-feature", "use-deprecated", "isolated"),
})  # fmt: skip
"""Settings that say what is installed, from where, and how one gets there."""

PATIENCE = frozenset({"timeout", "retries"})
"""Settings that say how long one waits for that. A test names all others of pip's."""

OFF = frozenset({"0", "f", "false", "n", "no", "off"})
_ON = frozenset({"1", "t", "true", "y", "yes", "on"})
_COUNTED = frozenset({"quiet", "verbose"})  # switches that take a number too

# Of these pip takes several values at once, parted by blanks or lines.
_LISTS = frozenset({
    *("extra-index-url", "find-links", "trusted-host", "constraint", "build-constraint", "requirement", "editable"),
    *("use-feature", "use-deprecated", "platform", "abi", "group", "requirements-from-script"),
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
    """Where pip looks for packages.

    :param index: the address that was said last; empty: pip's own index.
    :param extra: further addresses, of which pip takes the best version, of equal ones the last.
    :param links: settings that name folders or pages.
    :param without_index: whether no index is asked.
    """

    index: Setting | None = None
    extra: list[Setting] = field(default_factory=list)
    links: list[Setting] = field(default_factory=list)
    without_index: bool = False

    @classmethod
    def of(cls, told: Iterable[Setting]) -> Places:
        """Those that pip makes of its settings, one after the other."""
        places = cls()
        for setting in told:
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


def configured(environ: Mapping[str, str]) -> list[Setting]:
    """What pip is configured with, by its files and variables; nothing that is switched off.

    :param environ: whose ``PIP_*`` variables, home and configuration folders count.
    """
    return [
        Setting(name=name, value=value, origin=setting.origin)
        for name, setting in sorted(_settings(environ).items())
        if name in DECIDING | PATIENCE and _is_on(setting)
        for value in (setting.value.split() if name in _LISTS else [setting.value.strip()])
    ]


def faults(environ: Mapping[str, str]) -> Iterator[str]:
    """Sentences on what pip refuses to start with: a file that it cannot parse, a switch that is neither on nor off."""
    for file in _files(environ):
        try:
            _parsed(file)
        except ValueError as error:
            yield str(error)
    for setting in _settings(environ).values():
        if f"--{setting.name}" in options.WITHOUT_VALUE:
            value = setting.value.strip().lower()
            if value not in OFF | _ON and not (setting.name in _COUNTED and value.isdigit()):
                yield f"{setting} is neither on nor off: {setting.value.strip()}"


def told(
    pip_install_options: Iterable[str],
    requirements: Iterable[str],
    environ: Mapping[str, str],
    *,
    of_machine: Iterable[Setting] = (),
) -> list[Setting]:
    """Everything that an installation is told, in the order in which pip applies it.

    :param requirements: as ``EnvironmentSpec`` has them: with ``-r`` they name files that hold options too.
    :param environ: for ``${NAME}`` in requirements files.
    :param of_machine: what pip is configured with (``configured``), which an ``--isolated`` pip does not read; none for
        a tool that does not.
    :raises CosmosValueError: naming a requirements file that cannot be read.
    """
    of_machine = list(of_machine)
    given = [
        Setting(name=option.name.removeprefix("--"), value=option.value or "")
        for option in [*options.parse(pip_install_options), *options.in_requirements(requirements)]
        if option.name
    ]
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


def words_against_diversion(environ: Mapping[str, str], directory: Path) -> list[str]:
    """Words for ``pip install`` into ``directory`` that overrule what would lead it somewhere else."""
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
    for file in _files(environ):
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
    """Each second spelling that pip takes is one here."""
    return next(options.parse([f"--{key.lower().replace('_', '-')}"])).name.removeprefix("--")


def _files(environ: Mapping[str, str]) -> list[Path]:
    """pip's configuration files, later ones win. The one of a virtual environment is not read by ``pip --python``."""
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
