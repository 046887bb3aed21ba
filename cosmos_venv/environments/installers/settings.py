"""The settings of pip on this machine, from its files and its ``PIP_*`` variables, passed on to pip or to uv.

The files are read here and not by ``pip config list``: a worker that installs with uv need not have pip. The digest of
an environment needs the constraints too, wherever a DAG file is parsed. pip itself then reads no file: it gets the
settings as variables, without those that would lead an installation somewhere else. uv gets pip's settings as its own
flags and variables; a setting that uv does not have is named.
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

_SECTIONS = ("global", "install")  # the second section wins, in whichever file it is
_OFF = frozenset({"0", "f", "false", "n", "no", "off"})

LISTS = frozenset({"--extra-index-url", "--find-links", "--trusted-host", "--constraint"})
"""Options that take several values at once in pip's configuration, separated by blanks or lines."""

# Each would lead the installation somewhere else, make it an installation of something else, or leave out byte code.
_DIVERTING = frozenset({
    "--user", "--target", "--prefix", "--root", "--require-virtualenv", "--python", "--dry-run", "--compile",
    "--no-compile", "--config-file",
})  # fmt: skip

# Variables of uv by pip's option. An address may hold a credential, so it is no word of a command line.
_VARIABLES = {
    "--index-url": ("UV_DEFAULT_INDEX",),
    "--extra-index-url": ("UV_EXTRA_INDEX_URL",),
    "--find-links": ("UV_FIND_LINKS",),
    "--trusted-host": ("UV_INSECURE_HOST",),
    "--cert": ("SSL_CERT_FILE",),
    "--client-cert": ("SSL_CLIENT_CERT",),
    "--proxy": ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
    "--timeout": ("UV_HTTP_TIMEOUT",),
    "--retries": ("UV_HTTP_RETRIES",),
}
_WORDS = {
    "--no-index": "--no-index",
    "--upgrade": "--upgrade",
    "--no-deps": "--no-deps",
    "--pre": "--prerelease=allow",
    "--require-hashes": "--require-hashes",
    "--only-binary": "--only-binary={}",
    "--no-binary": "--no-binary={}",
    "--cache-dir": "--cache-dir={}",
    "--no-cache-dir": "--no-cache",
}
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "UV_SYSTEM_CERTS", "UV_NATIVE_TLS")

# Options that uv obeys in a requirements file, which uv reads itself. It ignores all others, such as --pre.
_IN_FILES = frozenset({
    "--index-url", "--extra-index-url", "--no-index", "--find-links", "--constraint", "--requirement", "--editable",
    "--no-binary", "--only-binary", "--hash",
})  # fmt: skip

# Options that do not change what is installed, or that have no effect in a new environment.
_OF_NO_CONCERN = frozenset({
    "--no-input", "--progress-bar", "--no-color", "--quiet", "--verbose", "--log", "--debug", "--format",
    "--disable-pip-version-check", "--no-python-version-warning", "--no-warn-script-location", "--no-warn-conflicts",
    "--root-user-action", "--exists-action", "--break-system-packages", "--compile", "--no-clean", "--resume-retries",
    "--ignore-installed", "--force-reinstall", "--upgrade-strategy",
})  # fmt: skip
_KNOWN = _OF_NO_CONCERN | _VARIABLES.keys() | _WORDS.keys() | {"--constraint"}


def pip_configuration(environ: Mapping[str, str]) -> list[InstallOption]:
    """Return the settings of pip, without those that are empty, switched off, or would divert an installation.

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
    """Return the variables that tell pip these settings and no others: pip reads no configuration file then.

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
    """Return pip's configuration files; later ones win. A virtual environment's own file is not among them, since
    ``pip --python`` does not read it.
    """
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
    """Return the settings of a file; None where pip passes over it too: it is missing, or this user may not read it."""
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


def unknown_to_uv(configured: Iterable[InstallOption], given: Iterable[InstallOption]) -> Iterator[str]:
    """Yield the settings that uv does not have, as texts that name each setting and its origin.

    :param configured: what pip is configured with.
    :param given: the options of an installation, and those in its requirements files.
    """
    constraint = None
    for setting in configured:
        if setting.name not in _KNOWN:
            yield str(setting)
        constraint = setting if setting.name == "--constraint" else constraint
    for option in given:
        known = _IN_FILES if option.origin else _KNOWN | {"--requirement", "--editable"}
        if option.name not in known:
            yield str(option)
        if constraint and option.name in ("--hash", "--require-hashes"):
            yield f"{constraint} beside hashes: uv wants each constraint pinned with == then"


def uv_configuration(environ: Mapping[str, str]) -> Iterator[InstallOption]:
    """Yield the settings of ``UV_*`` variables, as the options of pip that mean the same.

    :param environ: the variables that uv would read.
    """
    for name, variables in _VARIABLES.items():
        for variable in variables:
            text = environ.get(variable, "") if variable.startswith("UV_") else ""
            for value in text.replace(",", " ").split() if name in LISTS else filter(None, [text]):
                yield InstallOption(name=name, value=value, origin=variable)


def for_uv(settings: Iterable[InstallOption], environ: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the flags and variables of uv for pip's settings.

    :param settings: the settings; later ones of a kind take the place of earlier ones, or are added where pip takes a
        list.
    :param environ: the variables that pip would read.
    """
    values: dict[str, list[str]] = {}
    words = []
    for setting in settings:
        if setting.name in _WORDS:
            words.append(_WORDS[setting.name].format(setting.value))
        values.setdefault(setting.name, []).append(setting.value)
    # If several indexes have the same version, pip takes it from the last index, and uv from the first one.
    values["--extra-index-url"] = values.get("--extra-index-url", [])[::-1]
    values["--proxy"] = [each if "://" in each else f"http://{each}" for each in values.get("--proxy", ())]
    # pip prefers these variables to --cert. uv reads none of them.
    bundles = [environ[name] for name in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE") if environ.get(name)]
    values["--cert"] = [*values.get("--cert", ()), *bundles]
    variables = {}
    for name, variables_of in _VARIABLES.items():
        if found := values.get(name):
            told = ("," if name == "--find-links" else " ").join(found) if name in LISTS else found[-1]
            variables.update(dict.fromkeys(variables_of, told))
    if not any(name in {*environ, *variables} for name in _CERTIFICATES):
        # pip trusts the certificates of the system too. An older uv knows the second name only.
        variables |= {"UV_SYSTEM_CERTS": "true", "UV_NATIVE_TLS": "true"}
    return tuple(dict.fromkeys(words)), variables
