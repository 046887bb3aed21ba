"""What pip is configured with on this machine, by its files and by its ``PIP_*`` variables.

The files are read here and not by ``pip config list``: a worker that installs with uv need not have pip, and the digest
of an environment asks for constraints wherever a DAG file is parsed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.environments import requirement_files
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from configparser import RawConfigParser

_SECTIONS = ("global", "install")  # what the second says wins, whichever file says it
_OFF = frozenset({"0", "f", "false", "n", "no", "off"})

# Of these pip takes several values at once, parted by blanks or lines.
_LISTS = frozenset({"extra-index-url", "find-links", "trusted-host", "constraint"})


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One thing that an installer is told.

    :param name: long name of pip's option, without dashes.
    :param value: empty for a switch of the command line.
    :param origin: the variable or file that says so; empty for an option of the installation itself.
    """

    name: str
    value: str
    origin: str = ""

    def __str__(self) -> str:
        return f"--{self.name} ({self.origin})" if self.origin else f"--{self.name}"


def pip_configuration(environ: Mapping[str, str]) -> list[Setting]:
    """Return what pip is configured with; nothing that is empty or switched off.

    :param environ: whose ``PIP_*`` variables, home and configuration folders count.
    :raises CosmosValueError: naming a configuration file that pip cannot read either.
    """
    files = [(str(file), parser) for file in _files(environ) if (parser := _parsed(file))]
    said = [
        (key, value, file)
        for section in _SECTIONS
        for file, parser in files
        if parser.has_section(section)
        for key, value in parser.items(section)
    ]
    said += [(key[4:], value, key) for key, value in environ.items() if key.startswith("PIP_")]
    found: dict[str, Setting] = {}
    for key, value, origin in said:
        name = requirement_files.long_name(f"--{key.lower().replace('_', '-')}").removeprefix("--")
        if value and value.strip():
            found[name] = Setting(name=name, value=value.strip(), origin=origin)
    return [
        Setting(name=setting.name, value=value, origin=setting.origin)
        for setting in found.values()
        if not (setting.value.lower() in _OFF and f"--{setting.name}" in requirement_files.WITHOUT_VALUE)
        for value in (setting.value.split() if setting.name in _LISTS else [setting.value])
    ]


def configured_constraints(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the files and addresses of constraints that pip or uv is configured with.

    :param environ: as for ``pip_configuration``; ``UV_CONSTRAINT`` counts too.
    :raises CosmosValueError: as ``pip_configuration``.
    """
    yield from (setting.value for setting in pip_configuration(environ) if setting.name == "constraint")
    yield from environ.get("UV_CONSTRAINT", "").split()


def options_against_diversion(environ: Mapping[str, str], directory: Path) -> list[str]:
    """Return words for ``pip install`` into a directory that overrule what would lead it somewhere else.

    :param environ: as for ``pip_configuration``.
    :param directory: the environment to install into.
    :raises CosmosValueError: as ``pip_configuration``.
    """
    # An empty prefix or root would be the working directory.
    home = {"target": "", "prefix": str(directory), "root": "/"}
    said = {setting.name for setting in pip_configuration(environ)}
    return [f"--{name}={value}" for name, value in home.items() if name in said]


def _files(environ: Mapping[str, str]) -> list[Path]:
    """Return pip's configuration files, later ones win. ``pip --python`` reads none of a virtual environment."""
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    files = [Path(folder, "pip/pip.conf") for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if folder]
    files += [Path("/etc/pip.conf"), Path("/Library/Application Support/pip/pip.conf")]
    if named and Path(named).exists():
        return [*files, Path(named)]  # then pip leaves out the user's own
    if home := environ.get("HOME", ""):
        files += [Path(home, ".pip/pip.conf"), Path(home, "Library/Application Support/pip/pip.conf")]
    if folder := environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config"):
        files.append(Path(folder, "pip/pip.conf"))
    return files


def _parsed(file: Path) -> RawConfigParser | None:
    """Return what a file says; None where pip passes over it, too: it is not there, or not for this user to read."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return None
    except UnicodeDecodeError as error:
        raise _unreadable(file) from error
    import configparser  # most machines have no such file

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise _unreadable(file) from error
    return parser


def _unreadable(file: Path) -> CosmosValueError:
    return CosmosValueError(
        f"{file} cannot be read as pip's configuration, and pip does not start with it. Correct it (pip config debug)."
    )
