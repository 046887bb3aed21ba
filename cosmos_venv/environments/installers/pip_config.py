"""What pip is configured with on this machine, by its files and by its ``PIP_*`` variables.

The files are read here and not by ``pip config list``: a worker that installs with uv need not have pip, and the digest
of an environment asks for constraints wherever a DAG file is parsed. pip itself reads no file then: variables tell it
what its files say, without the settings that would lead an installation somewhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv.environments.requirement_files import WITHOUT_VALUE, InstallOption, long_name
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from configparser import RawConfigParser

_SECTIONS = ("global", "install")  # what the second says wins, whichever file says it
_OFF = frozenset({"0", "f", "false", "n", "no", "off"})

LISTS = frozenset({"--extra-index-url", "--find-links", "--trusted-host", "--constraint"})
"""Options of which pip takes several values at once, parted by blanks or lines."""

# Each would lead the installation somewhere else, make it an installation of something else, or leave out byte code.
_DIVERTING = frozenset({
    "--user", "--target", "--prefix", "--root", "--require-virtualenv", "--python", "--dry-run", "--compile",
    "--no-compile", "--config-file",
})  # fmt: skip


def pip_configuration(environ: Mapping[str, str]) -> list[InstallOption]:
    """Return what pip is configured with; nothing that is empty or switched off, or would divert an installation.

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
    found: dict[str, tuple[str, str]] = {}
    for key, value, origin in said:
        name = long_name(f"--{key.lower().replace('_', '-')}")
        if value and value.strip() and name not in _DIVERTING:
            found[name] = value.strip(), origin
    return [
        InstallOption(name=name, value=value, words=(f"{name}={value}",), origin=origin)
        for name, (text, origin) in found.items()
        if not (text.lower() in _OFF and name in WITHOUT_VALUE)
        for value in (text.split() if name in LISTS else [text])
    ]


def pip_variables(settings: Iterable[InstallOption]) -> dict[str, str]:
    """Return variables by which pip is told settings, and nothing else: it reads no configuration file then.

    :param settings: the settings; later ones take the place of earlier ones, or are added where pip takes a list.
    """
    values: dict[str, str] = {}
    for each in settings:
        before = values.get(each.name) if each.name in LISTS else None
        values[each.name] = f"{before} {each.value}" if before else each.value
    told = {f"PIP_{name[2:].upper().replace('-', '_')}": value for name, value in values.items()}
    return {"PIP_CONFIG_FILE": os.devnull, **told}


def configured_constraints(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the files and addresses of constraints that pip or uv is configured with.

    :param environ: as for ``pip_configuration``; ``UV_CONSTRAINT`` counts too.
    :raises CosmosValueError: as ``pip_configuration``.
    """
    yield from (setting.value for setting in pip_configuration(environ) if setting.name == "--constraint")
    yield from environ.get("UV_CONSTRAINT", "").split()


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
