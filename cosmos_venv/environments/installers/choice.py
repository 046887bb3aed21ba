"""The choice between uv and pip, and the environment variables of the chosen installer.

- uv installs where every setting is one that both tools know, else pip. A third installer may be handed down by name
  and command; this module knows nothing else of it.
- An installer runs code of each package that it builds: it gets nothing that Airflow keeps secret.
- Users without a home get one: a uid without passwd entry, a HOME that is read-only.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cosmos_venv.environments import requirement_files
from cosmos_venv.environments.installers.pip_config import pip_configuration
from cosmos_venv.environments.installers.uv_settings import unknown_to_uv
from cosmos_venv.environments.requirement_files import InstallOption
from cosmos_venv.environments.spec import EnvironmentSpec
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError
from cosmos_venv.processes.inherited_environment import inherited_environment

ORDER_VARIABLE = "COSMOS_VENV_ORDER"

# Each would lead the installation somewhere else. What pip is configured with comes by ``InstallArguments``.
_DIVERTING = frozenset({
    "PYTHONHOME", "PYTHONPATH", "PYTHONPYCACHEPREFIX", "VIRTUAL_ENV", "CONDA_PREFIX", "__PYVENV_LAUNCHER__",
    "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_BREAK_SYSTEM_PACKAGES", "UV_WORKING_DIR",
})  # fmt: skip
_OF_PIP = "PIP_"

# Connections, Variables and settings of Airflow, such as its database and the key of its secrets. Nothing that pip, uv
# or git read begins so.
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
    "UV_PREVIEW_FEATURES": "pylock",  # else each build of a lock file is told that this is new
}
_PIP_WAY_OUT = "or choose pip, which takes no lock file ([cosmos_venv] virtualenv_installer = pip)"


@dataclass(frozen=True, kw_only=True)
class Installer:
    """The tool that installs.

    One that is handed down as a ``preference`` is a command that makes an environment and installs into it, as a
    process of its own under the guard. It finds its order as JSON in the environment variable ``ORDER_VARIABLE``
    (credentials may be in it: it removes the variable first): ``directory``, ``python`` (executable to make it of),
    ``system_site_packages``, ``requirements`` (words for ``pip install``, options among them) and ``sys_path`` (of the
    process that orders).

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
    # uv installed other versions beside those of the base Python, where pip would have been content with them.
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
    :raises OSError: when that cannot be written.
    """
    dropped = (_OF_PIP, *_SECRET) if is_airflow else (_OF_PIP, *_SECRET, _SETTINGS)
    inherited = inherited_environment(environ)
    kept = {name: value for name, value in inherited.items() if not (name in _DIVERTING or name.startswith(dropped))}
    # uv looks upwards from its project's folder for these, and ends at the first: else one of the folder in which the
    # worker happens to run would count.
    for name in ("uv.toml", "pyproject.toml"):
        (scratch / name).touch()
    in_scratch = {"UV_PROJECT": str(scratch), "TMPDIR": str(scratch), **_home_variables(kept, scratch)}
    return _UNLESS_CONFIGURED | kept | _ALWAYS | in_scratch


def _home_variables(environ: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Return a home for a user without one, and a cache where that of the home cannot be written: uv fails then."""
    home = environ.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.home raises where there is none
    added = {} if Path(home).is_absolute() else {"HOME": str(scratch)}
    cache = Path(environ.get("XDG_CACHE_HOME") or Path(added.get("HOME", home), ".cache"), "uv")
    while not cache.exists():
        cache = cache.parent
    return added if os.access(cache, os.W_OK | os.X_OK) else {"UV_CACHE_DIR": str(scratch / "uv-cache"), **added}
