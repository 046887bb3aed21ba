"""What pip is configured to do on this machine that uv, which reads none of it, would not do."""

from __future__ import annotations

import configparser
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

_SECTIONS = ("global", "install")

# pip's setting, and the variables in which uv is told the same.
_OF_UV = {
    "index-url": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "extra-index-url": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "find-links": ("UV_FIND_LINKS",),
    "no-index": (),  # uv takes it as an option and from its configuration file only
    "proxy": ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "constraint": ("UV_CONSTRAINT",),
}
_OFF = {"0", "false", "no", "off"}
_MOOT_WITHOUT_INDEX = {"no-index", "index-url", "extra-index-url", "proxy", "cert", "client-cert", "trusted-host"}
_UV_NO_INDEX = re.compile(r"^no-index\s*=\s*true\b", re.MULTILINE)


def read(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """pip's settings that decide what is installed and from where: its variables, then its files.

    :param environ: whose ``PIP_*`` variables, home and configuration folders count.
    """
    settings: dict[str, list[str]] = {}
    if environ.get("PIP_CONFIG_FILE") != "/dev/null":
        for file in _files(environ):
            settings.update(_settings_of(file))
    for name in _OF_UV:
        value = environ.get(f"PIP_{name.upper().replace('-', '_')}", "")
        if value.strip() and value.strip().lower() not in _OFF:
            settings[name] = value.split()
    return settings


def unknown_to_uv(
    settings: Mapping[str, Iterable[str]], environ: Mapping[str, str], *, given: Iterable[str]
) -> list[str]:
    """Names of the settings that matter for this installation and that uv is not told.

    :param settings: as ``read`` gives them.
    :param given: long names of the options of this installation.
    """
    given = set(given)
    unknown = []
    for name, values in settings.items():
        is_moot = (name == "index-url" and "--index-url" in given) or (
            name in _MOOT_WITHOUT_INDEX and ("--no-index" in given or _has_uv_no_index(environ))
        )
        told = {word for variable in _OF_UV[name] for word in environ.get(variable, "").replace(",", " ").split()}
        if not is_moot and not set(values) <= told:
            unknown.append(name)
    return sorted(unknown)


def _has_uv_no_index(environ: Mapping[str, str]) -> bool:
    """Whether the configuration file that uv is pointed to switches the index off."""
    try:
        text = Path(environ["UV_CONFIG_FILE"]).read_text(encoding="utf-8")
    except (KeyError, OSError, UnicodeDecodeError):
        return False
    return _UV_NO_INDEX.search(text) is not None


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


def _settings_of(file: Path) -> dict[str, list[str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}  # pip says so itself, in its own words, when it runs
    found = {}
    for section in _SECTIONS:
        for name, value in parser.items(section) if parser.has_section(section) else ():
            setting = name.replace("_", "-")
            if setting in _OF_UV and value.strip() and value.strip().lower() not in _OFF:
                found[setting] = value.split()
    return found
