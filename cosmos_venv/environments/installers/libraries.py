"""Shared libraries that are put into the ``lib/`` of an environment, where a native program looks for them.

dbt 2 loads its driver for DuckDB from there, by name.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from cosmos_venv.environments.post_install import distributions_in
from cosmos_venv.environments.spec import Library, library_name
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.files import os_errors
from cosmos_venv.files.read_limits import sha256_of_file

_LIBRARY = re.compile(r"lib[^/]+\.(so|dylib)")
_MODE = 0o644  # as installers write, whatever the umask of the worker is


def copy_libraries(libraries: Iterable[Library], environment: Path) -> dict[str, int]:
    """Copy libraries into an environment, and return the size in bytes of each by its name.

    :param libraries: files, and distributions that are installed there; of two with one name the later one counts.
    :param environment: directory of a virtual environment.
    :raises VirtualenvBuildError: where a file cannot be read, or is no longer that of its digest, or a distribution
        has brought no library.
    """
    copied: dict[str, int] = {}
    for library in libraries:
        for source in [Path(library.source)] if library.digest else _libraries_of(library.source, environment):
            name = library_name(source)
            copy = environment / "lib" / name
            try:
                shutil.copyfile(source, copy)
                copy.chmod(_MODE)
            except OSError as error:
                words = os_errors.reason_of(error)
                raise VirtualenvBuildError(
                    f"adbc_drivers: {source} cannot be put into {copy.parent}: {words}."
                ) from error
            if library.digest and sha256_of_file(copy) != library.digest:
                raise VirtualenvBuildError(f"{source} was changed while the environment was built. Try again.")
            copied[name] = copy.stat().st_size
    return copied


def _libraries_of(distribution: str, environment: Path) -> list[Path]:
    from packaging.utils import canonicalize_name

    wanted = canonicalize_name(distribution)
    files = [
        file
        for each in distributions_in(environment)
        if canonicalize_name(each.metadata["Name"] or "") == wanted
        for file in each.files or ()
        if _LIBRARY.fullmatch(file.name)
    ]
    if not files:
        raise VirtualenvBuildError(
            f"adbc_drivers: the distribution {distribution} has brought no shared library (lib….so) into the "
            "environment. Name another one, or the path of a library."
        )
    return [Path(str(file.locate())) for file in files]


def library_faults(
    environment: Path, copied: Mapping[str, int], libraries: Iterable[Library], *, content: bool
) -> Iterator[str]:
    """Yield what is missing or changed of the libraries of an environment, one clause each.

    :param environment: directory of a virtual environment.
    :param copied: as ``copy_libraries`` gave it back.
    :param libraries: those of its spec.
    :param content: whether each file is read and compared with its digest.
    """
    digests = {each.name: each.digest for each in libraries if each.digest}
    for name, size in copied.items():
        file = environment / "lib" / name
        try:
            found = file.stat().st_size
            if found != size:
                yield f"lib/{name} has {found} bytes instead of {size}"
            elif content and name in digests and sha256_of_file(file) != digests[name]:
                yield f"lib/{name} has another content than was installed"
        except FileNotFoundError:
            yield f"lib/{name} is missing"
        except OSError as error:
            yield f"lib/{name} cannot be read: {error.strerror}"
