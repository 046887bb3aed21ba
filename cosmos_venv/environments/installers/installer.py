"""The choice between uv and pip, and the words, variables and requirements file of the chosen installer.

- uv installs where every setting is one that both tools know, else pip. A third installer may be handed down by name
  and command; this module knows nothing else of it.
- pip reads no configuration file: it gets its settings as variables, without those that would lead an installation
  somewhere else. uv gets pip's settings as its own flags and variables; a setting that uv does not have is named.
- No address stands on a command line, which everybody may read. A credential may be user and password, a token in a
  query, or a whole address that nobody can take apart. Requirements go into a requirements file, addresses of indexes
  and proxies into environment variables.
- An installer runs code of each package that it builds: it gets nothing that Airflow keeps secret.
- Users without a home get one: a uid without passwd entry, a HOME that is read-only.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from cosmos_venv import credentials
from cosmos_venv.environments import requirement_files
from cosmos_venv.environments.requirement_files import LISTS, InstallOption, local_path, pip_configuration
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError
from cosmos_venv.processes.inherited_environment import inherited_environment

ORDER_VARIABLE = "COSMOS_VENV_ORDER"

# Each of these variables would lead the installation somewhere else. ``InstallArguments`` adds pip's configuration.
_DIVERTING = frozenset({
    "PYTHONHOME", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__",
    "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_BREAK_SYSTEM_PACKAGES", "UV_WORKING_DIR",
})  # fmt: skip
_OF_PIP = "PIP_"

# Connections, Variables and settings of Airflow, such as its database and the key of its secrets. No variable that pip,
# uv or git reads has these prefixes.
_SECRET = ("AIRFLOW_CONN_", "AIRFLOW_VAR_")
_SETTINGS = "AIRFLOW__"

_ALWAYS = {
    "PIP_COMPILE": "1",
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "UV_NO_PROGRESS": "1",
    # Byte code is there before anybody uses the environment, which never changes.
    "UV_COMPILE_BYTECODE": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    # A hard link into uv's cache shares the file with every other environment on this machine: a change there would
    # change this one. uv's "clone" falls back to hard links; "copy" makes reflinks where the file system has them.
    "UV_LINK_MODE": "copy",
}
_UNLESS_CONFIGURED = {
    "UV_INDEX_STRATEGY": "unsafe-best-match",  # the best version of all indexes, as pip ranks
    "UV_PREVIEW_FEATURES": "pylock",  # else uv warns at each build from a lock file that this is a preview
}
_PIP_WAY_OUT = "or choose pip, which takes no lock file ([cosmos_venv] virtualenv_installer = pip)"

_REQUIREMENTS = {"", "--requirement", "--constraint", "--editable"}
# pip gets these by variables: an address may hold a credential, so it is no word of a command line.
_ADDRESSES = {"--index-url", "--extra-index-url", "--find-links", "--proxy"}
# uv takes no constraints and overrides beside a lock file, which was made under them.
_BESIDE_A_LOCK_FILE = {"UV_CONSTRAINT": "", "UV_OVERRIDE": ""}
_GIT = r"git\+(?=https?://)"
_ISOLATED = "--isolated"  # pip would then ignore our variables too: so pip's configuration is left out instead
_DEFAULT_INDEX = "the default index"  # pip and uv have the same

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


@dataclass(frozen=True, kw_only=True)
class Installer:
    """The tool that installs.

    An installer that is handed down as a ``preference`` is a command that makes an environment and installs into it. It
    runs as a process of its own under the guard. It finds its order as JSON in the environment variable
    ``ORDER_VARIABLE`` (credentials may be in it: it removes the variable first): ``directory``, ``python`` (executable
    to make it of), ``system_site_packages``, ``requirements`` (words for ``pip install``, options among them) and
    ``sys_path`` (of the process that gives the order).

    :param name: ``uv``, ``pip``, or the name of an installer that is handed down.
    :param uv: path of the uv executable; empty for any other.
    :param command: program and arguments of an installer that is handed down; empty for uv and pip.
    :param reason: why it was chosen, in words for a log.
    """

    name: str
    uv: str = ""
    command: tuple[str, ...] = ()
    reason: str = "it was asked for"


InstallerPreference = Literal["auto", "uv", "pip"] | Installer


def choose_installer(preference: InstallerPreference, spec: EnvironmentSpec, environ: Mapping[str, str]) -> Installer:
    """Return the installer for an environment on this machine.

    :param preference: ``auto``: uv where it is installed and can be told every setting, else pip.
    :param spec: of the environment. A lock file takes uv.
    :param environ: the environment variables that pip and uv would read, ``PATH`` among them.
    :raises CosmosValueError: naming a setting that uv cannot be told, where it has to be uv; or a requirements file or
        configuration file that cannot be read.
    :raises VirtualenvBuildError: when it has to be uv, and uv is not installed or another installer was asked for.
    """
    if spec.lock_file is not None and preference not in ("auto", "uv"):
        asked_for = preference if isinstance(preference, str) else preference.name
        raise VirtualenvBuildError(
            f"{spec.lock_file} is a lock file, which uv installs, and {asked_for} was asked for. Install uv "
            "(cosmos-venv[uv]) and set [cosmos_venv] virtualenv_installer = auto; or name requirements with hashes "
            "(cosmos-venv env lock DAGFILE --output requirements.txt)."
        )
    if isinstance(preference, Installer):
        return preference
    if preference == "pip":
        return Installer(name="pip", reason="pip was asked for")
    uv, takes_uv = find_uv(environ), preference == "uv" or spec.lock_file is not None
    if not uv and not takes_uv:
        return Installer(name="pip", reason="uv is not installed")
    if not uv:
        what = "uv was asked for" if preference == "uv" else f"uv installs the lock file {spec.lock_file}"
        raise VirtualenvBuildError(f"{what}, and it is not on PATH. Install it (cosmos-venv[uv]), {_PIP_WAY_OUT}.")
    # Beside packages of the base Python uv installs other versions, where pip keeps the versions that are there.
    if spec.system_site_packages and not takes_uv:
        return Installer(name="pip", reason="packages of the base Python count for it, which uv does not look at")
    # A lock file was made under constraints, and takes no others.
    configured = [each for each in pip_configuration(environ) if spec.lock_file is None or each.name != "--constraint"]
    unknown = next(unknown_to_uv(configured, given_options(spec)), "")
    if unknown and takes_uv:
        raise CosmosValueError(
            f"uv cannot be told {unknown}. Leave it out, {_PIP_WAY_OUT}. "
            "uv obeys its own settings in UV_… variables and in uv.toml."
        )
    if unknown:
        return Installer(name="pip", reason=f"uv cannot be told {unknown}")
    return Installer(name="uv", uv=uv, reason="uv was asked for" if preference == "uv" else "uv is installed")


def given_options(spec: EnvironmentSpec) -> list[InstallOption]:
    """Return the options of a spec, then those in its requirements files, with the file as their origin.

    :param spec: of the environment. A lock file has no options.
    :raises CosmosValueError: naming a requirements file that cannot be read.
    """
    given = [option for option in spec.all_options if option.name]
    files = [option.requirements_file for option in given if option.requirements_file]
    return [*given, *(option for file in files for option in requirement_files.options_in_file(file))]


def find_uv(environ: Mapping[str, str]) -> str:
    """Return the path of uv; empty where there is none.

    :param environ: with the ``PATH`` on which it may be; it may also lie beside this Python.
    """
    beside_python = str(Path(sys.executable).parent)
    return shutil.which("uv", path=environ.get("PATH")) or shutil.which("uv", path=beside_python) or ""


def installer_environment(environ: Mapping[str, str], scratch: Path, *, is_airflow: bool = False) -> dict[str, str]:
    """Return the environment of an installer: that of the worker without secrets of Airflow and without variables that
    would lead the installation to another place. ``InstallArguments`` adds what pip and uv are configured with.

    :param environ: the worker's variables.
    :param scratch: folder that gets what is written for the installer, and its temporary files.
    :param is_airflow: whether it runs code of Airflow, and so gets Airflow's settings.
    :raises OSError: when the folder cannot be written.
    """
    dropped = (_OF_PIP, *_SECRET) if is_airflow else (_OF_PIP, *_SECRET, _SETTINGS)
    inherited = inherited_environment(environ)
    kept = {name: value for name, value in inherited.items() if not (name in _DIVERTING or name.startswith(dropped))}
    # uv looks for these files upwards from its project's folder, and stops at the first. Without them, files above that
    # folder, or of the worker's working directory, would count.
    for name in ("uv.toml", "pyproject.toml"):
        (scratch / name).touch()
    in_scratch = {"UV_PROJECT": str(scratch), "TMPDIR": str(scratch), **_home_variables(kept, scratch)}
    return _UNLESS_CONFIGURED | kept | _ALWAYS | in_scratch


@dataclass(frozen=True, kw_only=True)
class InstallArguments:
    """The orders to an installer: command line words, variables, and lines of a requirements file.

    :param words: options, and requirements that are paths: nothing that may hold a credential.
    :param variables: environment variables, which may hold credentials.
    :param file_lines: lines for a requirements file of its own.
    :param secrets: texts that must not appear in any output.
    :param sources: where packages may come from: hosts, and folders of this machine. No credentials. Empty for an
        installer that was handed down: nobody knows where it looks.
    :param asks_for_packages: whether there is anything to install.
    """

    words: tuple[str, ...]
    variables: Mapping[str, str]
    file_lines: tuple[str, ...]
    secrets: tuple[str, ...]
    sources: tuple[str, ...]
    asks_for_packages: bool

    @classmethod
    def of(cls, spec: EnvironmentSpec, installer: Installer, environ: Mapping[str, str]) -> InstallArguments:
        """Return the arguments for one tool.

        :param spec: the packages and options that are wanted. With a lock file the packages are those of the file.
        :param installer: the tool.
        :param environ: the worker's variables, which may configure pip: that configuration is kept.
        :raises CosmosValueError: naming ``pip_install_options``: a credential could only stand on the command line; or
            a requirements file or configuration file that cannot be read.
        """
        configured = _configuration(spec, installer, environ)
        required = [option for option in spec.all_options if option.name in _REQUIREMENTS]
        others = [option for option in spec.all_options if option.name not in _REQUIREMENTS]
        settings = list(_with_links_that_exist([*configured, *others]))
        if spec.lock_file is not None:
            required = [option for option in required if requirement_files.is_lock_file(option.value)][:1]
        elif installer.name == "uv":
            required += [each for each in configured if each.name == "--constraint"]
        lines = {option: _file_line(option) for option in sorted(required, key=lambda each: each.name == "--editable")}
        git, in_file = git_apart(filter(None, lines.values()), environ)
        words: Iterable[str]
        if installer.name == "uv":
            # As soon as one requirement has a hash, pip demands a hash for each.
            is_hashed = any(each.name == "--hash" for each in given_options(spec))
            hashes = [InstallOption(name="--require-hashes")] if is_hashed else []
            words, variables = for_uv([*settings, *hashes], environ)
        else:
            variables = pip_variables(each for each in settings if each.origin or each.name in _ADDRESSES)
            words = [word for each in others if each.name not in {*_ADDRESSES, _ISOLATED} for word in each.words]
            if installer.command:  # nobody knows whose variables it reads
                variables |= for_uv(settings, environ)[1]
        words = (*words, *(word for option in required if lines[option] is None for word in option.words))
        _refuse_credentials(words)
        texts = [each.value for each in (*spec.all_options, *configured)]
        return cls(
            words=words,
            variables={**(_BESIDE_A_LOCK_FILE if spec.lock_file is not None else {}), **variables, **git},
            file_lines=tuple(in_file),
            secrets=tuple(sorted({secret for text in texts for secret in credentials.secrets_in(text)}, key=len))[::-1],
            sources=() if installer.command else _sources(spec, configured),
            asks_for_packages=any(option.name != "--constraint" for option in required),
        )

    def mask(self, text: str) -> str:
        """Return a line of the tool's output as it may be logged.

        :param text: the line.
        """
        for secret in self.secrets:
            text = text.replace(secret, credentials.MASK)
        return credentials.mask(text)


def git_apart(lines: Iterable[str], environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return variables with which git logs in, and the lines without user and password.

    git puts the address on a command line of its own, but never a header of its configuration. git reads its
    configuration from variables since 2.31; an older git finds no login.

    :param lines: requirements or options, some with an address that begins with ``git+https://``.
    :param environ: the variables that git would get without.
    """
    headers: dict[str, str] = {}
    apart = []
    for line in lines:
        users = credentials.found_in(line) if re.search(_GIT, line) else []
        apart.append(credentials.remove(line) if users else line)
        if users:
            address = urlsplit(re.split(_GIT, apart[-1], maxsplit=1)[1].split()[0])
            user, _, password = users[0].partition(":")
            login = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
            path = address.path.partition("@")[0]
            headers[f"http.{address.scheme}://{address.netloc}{path}.extraHeader"] = f"Authorization: Basic {login}"
    if not headers:
        return {}, apart
    known = int(environ.get("GIT_CONFIG_COUNT") or 0)
    variables = {"GIT_CONFIG_COUNT": str(known + len(headers))}
    for number, (name, value) in enumerate(headers.items(), start=known):
        variables |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return variables, apart


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


def _home_variables(environ: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Return a home for a user without one, and a cache where that of the home cannot be written: uv would fail."""
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where there is none
    added = {} if Path(home).is_absolute() else {"HOME": str(scratch)}
    cache = Path(environ.get("XDG_CACHE_HOME") or Path(added.get("HOME", home), ".cache"), "uv")
    while not cache.exists():
        cache = cache.parent
    return added if os.access(cache, os.W_OK | os.X_OK) else {"UV_CACHE_DIR": str(scratch / "uv-cache"), **added}


def _configuration(spec: EnvironmentSpec, installer: Installer, environ: Mapping[str, str]) -> list[InstallOption]:
    """Return the settings, as options of pip, that an installer is configured with on this machine."""
    if any(option.name == _ISOLATED for option in spec.all_options):
        return []
    configured = pip_configuration(environ)
    if installer.name != "uv":
        return configured
    own = list(uv_configuration(environ))
    # A variable that uv alone reads wins over pip's setting. pip's settings of a cache are about pip's own cache.
    of_uv = {"--cache-dir", "--no-cache-dir", *(each.name for each in own)}
    return [*(each for each in configured if each.name not in of_uv), *own]


def _file_line(option: InstallOption) -> str | None:
    """Return an option or requirement as a line of a requirements file; None where it must be on the command line."""
    value = option.value
    if option.requirements_file:
        return None
    if local := local_path(value):
        # In a requirements file, pip and uv resolve a relative path against another folder.
        path, rest = str(Path(local[0]).absolute()), local[1]
        if re.search(r"[\s#]", path):
            return None
        value = f"{path}{rest if rest.startswith('[') else f' {rest}'}".strip()
    elif value.startswith("file:"):
        return None
    return f"{option.name} {value}".strip()


def _with_links_that_exist(settings: Iterable[InstallOption]) -> Iterator[InstallOption]:
    """Yield settings, with the folders of ``--find-links`` as addresses, which have neither blanks nor commas."""
    for each in settings:
        if each.name != "--find-links" or "://" in each.value:
            yield each
        elif (folder := Path(each.value).expanduser().absolute()).exists():  # else pip passes over it
            yield replace(each, value=folder.as_uri())


def _refuse_credentials(words: Iterable[str]) -> None:
    for word in words:
        if credentials.secrets_in(word):
            raise CosmosValueError(
                f"pip_install_options: {credentials.mask(word)} holds a credential, which would stand on the command "
                "line for everybody to read. Give it in .netrc, or by a variable that the installer reads."
            )


def _sources(spec: EnvironmentSpec, configured: Iterable[InstallOption]) -> tuple[str, ...]:
    if spec.lock_file is not None:
        return (str(spec.lock_file.absolute()),)
    told: dict[str, list[str]] = {}
    for each in (*configured, *given_options(spec)):
        told.setdefault(each.name, []).append(each.value)
    places = told.get("--find-links", [])
    if "--no-index" not in told:
        places = [*told.get("--index-url", [""])[-1:], *told.get("--extra-index-url", ()), *places]
    return tuple(dict.fromkeys(map(_host, places)))


def _host(address: str) -> str:
    """Return the host of an address, or the folder of this machine that it is. No credentials."""
    if not address:
        return _DEFAULT_INDEX
    parts = urlsplit(credentials.remove(address))
    return parts.netloc or unquote(parts.path) if parts.scheme else credentials.mask(address)
