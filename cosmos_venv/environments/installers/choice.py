"""The choice between uv and pip, and what the chosen installer needs: places of packages and environment variables.

- uv installs wherever it can be told all that pip is told, else pip. A third installer may be handed down by name and
  command (``OtherInstaller``); this module knows nothing else of it.
- Users without a home get one: a uid without passwd entry, a HOME that is read-only. pip ends with a traceback where
  nobody knows a home, uv where its cache cannot be written.
- A record shows hosts and folders that packages came from, and no credential.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from cosmos_venv import credentials
from cosmos_venv.environments import requirement_files
from cosmos_venv.environments.installers import installer_config, uv_compatibility
from cosmos_venv.environments.installers.bundled_pip import pip_version
from cosmos_venv.environments.installers.installer_config import Places, Setting
from cosmos_venv.environments.installers.uv_compatibility import NoCounterpart, UvSettings
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError
from cosmos_venv.processes.inherited_environment import inherited_environment

_NO_HOME = "/"  # as container runtimes say it. Nowhere that others may write: a pip.conf there would be obeyed.

ORDER_VARIABLE = "COSMOS_VENV_ORDER"
_DEFAULT_INDEX = "the default index"  # of both tools: the same one

# Each would lead the installation somewhere else, or make it an installation of something else.
_DIVERTING = {
    "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV", "PIP_PYTHON", "PIP_DRY_RUN",
    "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__",
    "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_BREAK_SYSTEM_PACKAGES", "UV_VENV_SEED", "UV_VENV_CLEAR",
    "UV_VENV_RELOCATABLE", "UV_WORKING_DIR", "UV_COMPILE_BYTECODE",
}  # fmt: skip

# Connections, Variables and settings of Airflow, such as its database and the key of its secrets: each package that is
# built runs code of its own. Nothing that pip, uv or git read begins so.
_SECRET = ("AIRFLOW_CONN_", "AIRFLOW_VAR_")
_SETTINGS = "AIRFLOW__"

# Removing a variable is not enough where pip.conf says the same.
_NEUTRAL = {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_DRY_RUN": "0"}
_ALWAYS = {
    "PIP_NO_INPUT": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    # A hard link into uv's cache shares the file with every other environment on this machine: a change there would
    # change this one. uv's "clone" falls back to hard links; "copy" makes reflinks where the file system has them.
    "UV_LINK_MODE": "copy",
}


def home_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables to add to those of an installer; none for an ordinary user.

    :param environ: the variables that it has.
    """
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where there is none
    added = {}
    if not Path(home).is_absolute():
        home = added["HOME"] = _NO_HOME
    cache = Path(environ.get("XDG_CACHE_HOME") or f"{home}/.cache") / "uv"
    if not ({"UV_CACHE_DIR", "UV_NO_CACHE"} & set(environ)) and not _may_be_written(cache):
        added["UV_NO_CACHE"] = "1"
    return added


def _may_be_written(path: Path) -> bool:
    """Return whether a folder, or the one that it would be made in, can take files. Nothing is made."""
    while not os.path.lexists(path):
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK | os.X_OK)


@dataclass(frozen=True, kw_only=True)
class OtherInstaller:
    """A command that makes an environment and installs into it, as a process of its own under the guard.

    It finds its order as JSON in the environment variable ``ORDER_VARIABLE`` (credentials may be in it: it removes the
    variable first): ``directory``, ``python`` (executable to make it of), ``system_site_packages``, ``requirements``
    (words for ``pip install``, options among them) and ``sys_path`` (of the process that orders).

    :param name: for logs and records.
    :param command: program and arguments.
    """

    name: str
    command: tuple[str, ...]


InstallerPreference = Literal["auto", "uv", "pip"] | OtherInstaller


@dataclass(frozen=True, kw_only=True)
class Installer:
    """The tool that was chosen.

    :param name: ``uv``, ``pip``, or the name of an installer that was handed down.
    :param uv: path of the uv executable; empty for any other.
    :param settings: what uv is told; None for any other.
    :param command: of an installer that was handed down; empty for uv and pip.
    :param reason: why it was chosen, in words for a log.
    """

    name: str
    uv: str = ""
    settings: UvSettings | None = field(default=None, repr=False)
    command: tuple[str, ...] = ()
    reason: str

    @property
    def answers_for_pip(self) -> bool:
        """Whether it is a uv that is to install what pip would."""
        return self.settings is not None and self.settings.is_pips

    @property
    def obeys_pip_config(self) -> bool:
        """Whether it installs what pip's configuration says."""
        return not self.command and (self.settings is None or self.settings.config is not None)


def choose_installer(
    preference: InstallerPreference,
    pip_install_options: Iterable[str],
    environ: Mapping[str, str],
    *,
    requirements: Iterable[str] = (),
    system_site_packages: bool = False,
) -> Installer:
    """Return the installer for these options on this machine.

    :param preference: ``auto``: uv where it is installed and can be told all that pip is told, else pip.
    :param pip_install_options: as in ``EnvironmentSpec``.
    :param environ: the environment variables that pip and uv would read, ``PATH`` among them.
    :param requirements: as in ``EnvironmentSpec``: with ``-r`` they name files that hold options too.
    :param system_site_packages: whether the environment is to see the packages of the Python that it is made of.
    :raises CosmosValueError: naming ``pip_install_options``: uv was asked for with options that it does not know; or
        naming a requirements file that cannot be read.
    :raises VirtualenvBuildError: when uv was asked for and is not installed.
    """
    if isinstance(preference, OtherInstaller):
        return Installer(name=preference.name, command=preference.command, reason="it was asked for")
    if preference == "pip":
        return Installer(name="pip", reason="pip was asked for")
    uv = find_uv(environ)
    if preference == "uv":
        all_settings = installer_config.all_settings(pip_install_options, requirements, environ)
        return _as_asked(uv, all_settings)
    if not uv:
        return Installer(name="pip", reason="uv is not installed")
    # uv installed other versions beside those of the base Python, where pip would have been content with them.
    if system_site_packages:
        return Installer(name="pip", reason="packages of the base Python count for it, which uv does not look at")
    # A pip.conf with a stray line, a byte order mark or no-index = ture was taken for empty, and uv asked the public
    # index.
    if fault := next(installer_config.pip_config_faults(environ), ""):
        return Installer(name="pip", reason=credentials.mask(fault))  # which refuses to start, and says why
    of_machine = installer_config.pip_configuration(environ)
    all_settings = installer_config.all_settings(pip_install_options, requirements, environ, of_machine=of_machine)
    try:
        settings = uv_compatibility.translate_for_uv(all_settings, environ, uv, pip_version())
    except NoCounterpart as error:
        return Installer(name="pip", reason=credentials.mask(str(error)))
    return Installer(name="uv", uv=uv, settings=settings, reason="uv is installed")


def _as_asked(uv: str, all_settings: Iterable[installer_config.Setting]) -> Installer:
    try:
        settings = uv_compatibility.pass_to_uv(all_settings)
    except NoCounterpart as error:
        raise CosmosValueError(
            f"pip_install_options: uv does not know {credentials.mask(str(error))}. "
            "Leave it out, or choose pip ([cosmos_venv] virtualenv_installer = pip)."
        ) from error
    if not uv:
        raise VirtualenvBuildError(
            "uv was asked for and is not on PATH. Install it (cosmos-venv[uv]), or choose pip "
            "([cosmos_venv] virtualenv_installer = pip)."
        )
    return Installer(name="uv", uv=uv, settings=settings, reason="uv was asked for")


def find_uv(environ: Mapping[str, str]) -> str:
    """Return the path of uv; empty where there is none.

    :param environ: with the ``PATH`` on which it may be; it may also lie beside this Python.
    """
    beside_python = str(Path(sys.executable).parent)
    return shutil.which("uv", path=environ.get("PATH")) or shutil.which("uv", path=beside_python) or ""


def hosts(
    installer: Installer, pip_install_options: Iterable[str], requirements: Iterable[str], environ: Mapping[str, str]
) -> tuple[str, ...]:
    """Return where the packages of an installation may have come from: hosts, and folders of this machine. No
    credentials.

    :param installer: the one that installs. Nobody knows where one that was handed down looks: then there are none.
    :param pip_install_options: as in ``EnvironmentSpec``.
    :param requirements: as in ``EnvironmentSpec``.
    :param environ: the environment variables that pip and uv would read.
    :raises CosmosValueError: naming a requirements file that cannot be read.
    """
    if installer.command:
        return ()
    pip_install_options, requirements = list(pip_install_options), list(requirements)
    of_machine = installer_config.pip_configuration(environ) if installer.obeys_pip_config else []
    all_settings = installer_config.all_settings(pip_install_options, requirements, environ, of_machine=of_machine)
    places = Places.of(all_settings)
    of_uv = _values(all_settings, "index"), _values(all_settings, "default-index")[-1:]
    links = [setting.value for setting in places.links]
    first, extra = [setting.value for setting in filter(None, [places.index])], [each.value for each in places.extra]
    without_index = places.without_index
    if not installer.obeys_pip_config:
        given = {option.name for option in requirement_files.given_options(pip_install_options, requirements)}
        own = installer_config.uv_places(environ, given)
        without_index = without_index or "no-index" in own
        links = [*own.get("find-links", ()), *links]
        first = [*own.get("default-index", ()), *first, *own.get("index-url", ())]
        extra = [*own.get("extra-index-url", ()), *extra]
    if not without_index:
        links = [*(of_uv[1] or first or [""])[:1], *extra, *of_uv[0], *links]
    return tuple(dict.fromkeys(host_of(address) for address in links))


def host_of(address: str) -> str:
    """Return the host of an address, or the folder of this machine that it is. No credentials.

    :param address: of an index, a folder or a file; empty: pip's own index.
    """
    if not address:
        return _DEFAULT_INDEX
    parts = urlsplit(credentials.remove(address))
    return parts.netloc or unquote(parts.path) if parts.scheme else credentials.mask(address)


def _values(all_settings: Iterable[Setting], name: str) -> list[str]:
    return [setting.value for setting in all_settings if setting.name == name and setting.value]


def installer_environment(environ: Mapping[str, str], *, is_airflow: bool = False) -> dict[str, str]:
    """Return the environment variables for an installer: the worker's, without Airflow's connections, Variables and
    settings, and without those that would divert it.

    :param environ: the worker's.
    :param is_airflow: whether it runs code of Airflow, and so gets Airflow's settings.
    """
    dropped = _SECRET if is_airflow else (*_SECRET, _SETTINGS)
    inherited = inherited_environment(environ)
    kept = {name: value for name, value in inherited.items() if not (name in _DIVERTING or name.startswith(dropped))}
    return kept | _NEUTRAL | _ALWAYS | home_variables(environ)


def environment_of_installation(installer: Installer, environ: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Return the variables for an installer and what it starts, but for those that ``InstallArguments`` adds.

    :param installer: the one that installs.
    :param environ: the worker's variables.
    :param scratch: folder that gets what is written for the installer, and its temporary files.
    """
    kept = installer_environment(environ, is_airflow=bool(installer.command))
    if installer.settings is not None:
        kept = installer.settings.environment(kept, scratch)
    return kept | no_project_variables(scratch) | {"TMPDIR": str(scratch)}


def no_project_variables(folder: Path) -> dict[str, str]:
    """Return variables that keep uv from the ``uv.toml`` or ``pyproject.toml`` of the worker's working directory.

    uv looks for them upwards from its project's folder, and ends at the first.

    :param folder: gets empty files of those names, and is named as the project's folder.
    :raises OSError: when they cannot be made.
    """
    for name in ("uv.toml", "pyproject.toml"):
        (folder / name).touch()
    return {"UV_PROJECT": str(folder)}
