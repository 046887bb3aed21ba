"""Which tool installs into a new environment: uv wherever it can be told all that pip is told, else pip.

A third one may be handed down by name and command (``OtherInstaller``); what it is, nobody knows here.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cosmos_venv.environments import credentials, pip_config, uv_compatibility
from cosmos_venv.environments.own_pip import pip_version
from cosmos_venv.environments.uv_compatibility import NoCounterpart, UvSettings
from cosmos_venv.exceptions import CosmosValueError, VirtualenvBuildError

ORDER_VARIABLE = "COSMOS_VENV_ORDER"


@dataclass(frozen=True, kw_only=True)
class OtherInstaller:
    """A command that makes an environment and installs into it, as a process of its own under the guard.

    It finds its order as JSON in the environment variable ``ORDER_VARIABLE`` (credentials may be in it: it removes the
    variable first): ``directory``, ``python`` (executable to make it of), ``system_site_packages``, ``requirements``
    (words for ``pip install``, options among them) and ``sys_path`` (of the process that orders).
    """

    name: str
    command: tuple[str, ...]


InstallerPreference = Literal["auto", "uv", "pip"] | OtherInstaller


@dataclass(frozen=True, kw_only=True)
class Installer:
    """The tool that was chosen.

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
    """The installer for these options on this machine.

    :param preference: ``auto``: uv where it is installed and can be told all that pip is told, else pip.
    :param requirements: as ``EnvironmentSpec`` has them: with ``-r`` they name files that hold options too.
    :param environ: the environment variables that pip and uv would read, ``PATH`` among them.
    :param system_site_packages: whether the environment is to see the packages of the Python that it is made of.
    :raises CosmosValueError: naming ``pip_install_options``: uv was asked for with options that it does not know; or
        naming a requirements file that cannot be read.
    :raises VirtualenvBuildError: when uv was asked for and is not installed.
    """
    if isinstance(preference, OtherInstaller):
        return Installer(name=preference.name, command=preference.command, reason="it was asked for")
    if preference == "pip":
        return Installer(name="pip", reason="pip was asked for")
    uv = _find_uv(environ)
    if preference == "uv":
        told = pip_config.told(pip_install_options, requirements, environ)
        return _as_asked(uv, told)
    if not uv:
        return Installer(name="pip", reason="uv is not installed")
    if system_site_packages:
        return Installer(name="pip", reason="packages of the base Python count for it, which uv does not look at")
    if fault := next(pip_config.faults(environ), ""):
        return Installer(name="pip", reason=credentials.mask(fault))  # which refuses to start, and says why
    of_machine = pip_config.configured(environ)
    told = pip_config.told(pip_install_options, requirements, environ, of_machine=of_machine)
    try:
        settings = uv_compatibility.as_pip_is_told(told, environ, uv, pip_version())
    except NoCounterpart as error:
        return Installer(name="pip", reason=credentials.mask(str(error)))
    return Installer(name="uv", uv=uv, settings=settings, reason="uv is installed")


def _as_asked(uv: str, told: Iterable[pip_config.Setting]) -> Installer:
    try:
        settings = uv_compatibility.as_given(told)
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


def _find_uv(environ: Mapping[str, str]) -> str:
    beside_python = str(Path(sys.executable).parent)
    return shutil.which("uv", path=environ.get("PATH")) or shutil.which("uv", path=beside_python) or ""
