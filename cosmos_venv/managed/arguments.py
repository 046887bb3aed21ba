"""The arguments of an operator that decide about its environment.

DAG files construct operators by the thousand and make no environment, so this module imports little.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv import settings
from cosmos_venv.dbt.command import word_text
from cosmos_venv.dbt.native.program import LIBRARY_ENDINGS
from cosmos_venv.exceptions import CosmosValueError

if TYPE_CHECKING:
    from cosmos_venv.environments.spec import EnvironmentSpec, Library
    from cosmos_venv.processes.cancellation import Cancellation


class VirtualenvArguments(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments of an operator that decide about its environment.

    :param py_requirements: as ``pip install`` takes them.
    :param pip_install_options: words for ``pip install``.
    :param py_system_site_packages: whether packages of the worker are visible in the environment.
    :param py_executable: name or path of the Python to make it of; None: the worker's own.
    :param adbc_drivers: database drivers for dbt 2: paths of shared libraries, or requirements of distributions that
        hold one; None: those of ``[cosmos_venv] virtualenv_adbc_drivers``.
    """

    py_requirements: tuple[str, ...]
    pip_install_options: tuple[str, ...] = ()
    py_system_site_packages: bool = False
    py_executable: str | None = None
    adbc_drivers: tuple[str, ...] | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> VirtualenvArguments:
        """Pick these arguments from all arguments of an operator. The others are ignored.

        :param arguments: ``operator_args``, or an operator's attributes.
        :raises CosmosValueError: for anything but lists of texts, paths and numbers.
        """
        words = {}
        for name in ("py_requirements", "pip_install_options", "adbc_drivers"):
            given = arguments.get(name) or ()
            words[name] = tuple(map(word_text, given)) if isinstance(given, list | tuple) else given
            if not (isinstance(words[name], tuple) and all(isinstance(word, str) for word in words[name])):
                from cosmos_venv.environments.requirement_files import refuse_anything_but_strings

                refuse_anything_but_strings(name, words[name])
        return cls(
            py_requirements=tuple(words["py_requirements"]),
            pip_install_options=tuple(words["pip_install_options"]),
            py_system_site_packages=bool(arguments.get("py_system_site_packages")),
            py_executable=arguments.get("py_executable"),
            adbc_drivers=None if arguments.get("adbc_drivers") is None else tuple(words["adbc_drivers"]),
        )

    def spec(self, *, cancellation: Cancellation | None = None) -> EnvironmentSpec:
        """Return the spec of the environment.

        :param cancellation: ends the wait for the answer of another Python; None: nothing does.
        :raises CosmosValueError: when there are no requirements, or a text is no requirement.
        :raises CommandKilled: when ``cancellation`` was requested while another Python was asked for its version.
        """
        # Imported here: a DAG of thousands of tasks names their environments and makes none.
        from cosmos_venv.dbt.installation import DBT_CHECK
        from cosmos_venv.environments.spec import EnvironmentSpec, Interpreter

        if not self.py_requirements:
            raise CosmosValueError(
                "py_requirements is empty, so the environment would have no dbt. Name the dbt adapter to install, "
                'for example py_requirements=["dbt-core~=1.11.0", "dbt-postgres"].'
            )
        requirements, libraries = self._drivers()
        return EnvironmentSpec(
            requirements=(*self.py_requirements, *requirements),
            pip_install_options=self.pip_install_options,
            interpreter=Interpreter.of(self.py_executable, cancellation=cancellation),
            system_site_packages=self.py_system_site_packages,
            check=DBT_CHECK,
            libraries=libraries,
        )

    def _drivers(self) -> tuple[list[str], tuple[Library, ...]]:
        """The requirements of the distributions that hold a driver, and all drivers."""
        given = settings.virtualenv_adbc_drivers.split() if self.adbc_drivers is None else self.adbc_drivers
        if not given:
            return [], ()
        from cosmos_venv.environments.spec import Library, parsed_requirement

        requirements, libraries = [], []
        for driver in map(str.strip, given):
            if "://" not in driver and ("/" in driver or driver.endswith(LIBRARY_ENDINGS)):
                libraries += [_library(path) for path in _libraries_at(driver)]
            else:
                libraries.append(Library(source=parsed_requirement(driver, "adbc_drivers").name))
                requirements.append(driver)
        return requirements, tuple(libraries)


def _libraries_at(driver: str) -> list[Path]:
    path = Path(os.path.expanduser(driver)).absolute()  # noqa: PTH111 - Path.expanduser raises for ~somebody
    endings = LIBRARY_ENDINGS if path.is_dir() else ()
    found = sorted(file for ending in endings for file in path.glob(f"lib*{ending}")) if endings else [path]
    if not found:
        raise CosmosValueError(f"adbc_drivers: {path} is a folder without a shared library (lib….so or lib….dylib).")
    return found


def _library(path: Path) -> Library:
    from cosmos_venv.environments.spec import Library
    from cosmos_venv.files.file_cache import digest_of_file
    from cosmos_venv.files.os_errors import reason_of
    from cosmos_venv.managed import caches

    try:
        # The digest is cached by size and times: a driver has 70 MB, and each task needs its digest.
        digest = digest_of_file(path, known=caches.kept_fingerprints())
    except OSError as error:
        raise CosmosValueError(
            f"adbc_drivers: {path} cannot be read ({reason_of(error)}). Give the path of a shared library such as "
            f"libduckdb.so, or the name of a distribution that holds one."
        ) from None
    return Library(source=str(path), digest=digest)


def kept_directory(virtualenv_dir: str | Path | None, is_temporary: bool | str) -> Path | None:
    """Return where environments are kept; None when each run gets a temporary one.

    :param virtualenv_dir: as the user gave it; None: nothing is kept.
    :param is_temporary: whether the user wants a temporary one all the same; a text is what a template rendered to.
    :raises CosmosValueError: for an empty text, which would be the working directory.
    """
    if virtualenv_dir is not None and not str(virtualenv_dir).strip():
        raise CosmosValueError(f"virtualenv_dir={str(virtualenv_dir)!r} is empty: name a directory, or leave it out.")
    if isinstance(is_temporary, str):
        from cosmos_venv.compat import to_boolean  # imports Airflow, which a detached process does without

        is_temporary = to_boolean(is_temporary)
    return None if virtualenv_dir is None or is_temporary else Path(virtualenv_dir)
