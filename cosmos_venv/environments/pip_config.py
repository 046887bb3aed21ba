"""What is pip configured to do on this machine? By its variables and its files, for ``pip install``."""

from __future__ import annotations

import configparser
import sys
from collections.abc import Mapping
from pathlib import Path

from cosmos_venv.environments import options

_SECTIONS = ("global", "install")

ROUTES = frozenset({"proxy", "cert", "client-cert", "trusted-host", "keyring-provider"})
"""Settings that say how an index is reached."""

DECIDING = ROUTES | {
    *("index-url", "extra-index-url", "find-links", "no-index", "requirement", "requirements-from-script", "group"),
    *(
        "editable",
        "constraint",
        "build-constraint",
        "pre",
        "only-final",
        "all-releases",
        "uploaded-prior-to",
        "isolated",
    ),
    *("only-binary", "no-binary", "prefer-binary", "no-deps", "only-deps", "require-hashes", "ignore-requires-python"),
    *("upgrade", "upgrade-strategy", "ignore-installed", "force-reinstall", "platform", "python-version", "abi"),
    *("implementation", "no-build-isolation", "check-build-dependencies", "config-settings", "global-option"),
    *("use-pep517", "no-use-pep517", "use-feature", "use-deprecated", "no-proxy-env"),
}
"""Settings that say what is installed and from where. A test names the others of pip's, which do not."""

OFF = frozenset({"0", "false", "no", "off"})


def read(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """The settings that decide what is installed and from where, by their long names; none that is switched off.

    :param environ: whose ``PIP_*`` variables, home and configuration folders count.
    """
    return {
        name: value.split()
        for name, value in sorted(_settings(environ).items())
        if name in DECIDING and value.strip().lower() not in OFF
    }


def words_against_diversion(environ: Mapping[str, str], directory: Path) -> list[str]:
    """Words for ``pip install`` into ``directory`` that overrule what would lead it somewhere else."""
    # An empty prefix or root would be the working directory.
    home = {"target": "", "prefix": str(directory), "root": "/"}
    settings = _settings(environ)
    return [f"--{name}={value}" for name, value in home.items() if name in settings]


def _settings(environ: Mapping[str, str]) -> dict[str, str]:
    sections: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for file in _files(environ) if environ.get("PIP_CONFIG_FILE") != "/dev/null" else ():
        for section, found in _sections_of(file).items():
            sections[section].update(found)
    variables = {_long_name(key[4:]): value for key, value in environ.items() if key.startswith("PIP_")}
    settings: dict[str, str] = {}
    for layer in [*sections.values(), variables]:  # a section of any file goes before all that is global
        settings.update({name: value for name, value in layer.items() if value.strip()})
    return settings


def _long_name(key: str) -> str:
    """Each second spelling that pip takes is one here."""
    return next(options.parse([f"--{key.lower().replace('_', '-')}"])).name.removeprefix("--")


def _files(environ: Mapping[str, str]) -> list[Path]:
    """pip's configuration files, later ones win. The one of a virtual environment is not read by ``pip --python``."""
    home = Path(environ["HOME"]) if environ.get("HOME") else None
    files = [Path(folder, "pip/pip.conf") for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if folder]
    files.append(Path("/etc/pip.conf"))
    if sys.platform == "darwin":
        files.append(Path("/Library/Application Support/pip/pip.conf"))
    if home is not None:
        files.append(home / ".pip/pip.conf")
        if sys.platform == "darwin":
            files.append(home / "Library/Application Support/pip/pip.conf")
    if environ.get("XDG_CONFIG_HOME"):
        files.append(Path(environ["XDG_CONFIG_HOME"], "pip/pip.conf"))
    elif home is not None:
        files.append(home / ".config/pip/pip.conf")
    if environ.get("PIP_CONFIG_FILE"):
        files.append(Path(environ["PIP_CONFIG_FILE"]))
    return files


def _sections_of(file: Path) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}  # pip says so itself, in its own words, when it runs
    return {
        section: {_long_name(key): value or "" for key, value in parser.items(section)}
        for section in _SECTIONS
        if parser.has_section(section)
    }
