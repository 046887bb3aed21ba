"""The description of an environment that tasks share, the digest over it, and the interpreter that it names.

- The digest is the name of an environment in every store: a change of the canonical form leaves all existing
  environments behind (raise ``_FORM`` then, and only then).
- Credentials are no part of the digest. The content of local files is.
- Constraints that pip or uv is configured with are part of the digest: a new security constraint asks for another
  environment. Configured indexes are not part of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import site
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv import credentials
from cosmos_venv.environments import requirement_files
from cosmos_venv.environments.requirement_files import (
    InstallOption,
    canonical_options,
    canonical_requirements_file,
    configured_constraints,
    is_url,
    local_path,
    parse_requirement,
    refuse_anything_but_strings,
)
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import CompletedCommand, run_guarded

if TYPE_CHECKING:
    from packaging.requirements import Requirement


_ANSWER_TIMEOUT = 30.0

# Run by the interpreter in question; keep to what every Python 3 has.
_QUESTION = """
import json, os, platform, sys
real = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps([os.path.realpath(real), platform.python_version(), sys.implementation.name + sys.abiflags,
    "-".join([sys.platform, platform.machine(), getattr(sys.implementation, "_multiarch", "")])]))
"""

_known: dict[tuple[str, str], Interpreter] = {}
_FORM = 1  # raise it when the canonical form changes: environments of the old form are then not found


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python installation as builders and digests see it.

    :param executable: real path of the executable, never a virtual environment's link.
    :param version: full version, such as ``3.12.7``.
    :param implementation: name and ABI flags, such as ``cpython`` or ``cpythont`` (free-threaded).
    :param platform: system, machine and C library, such as ``linux-x86_64-x86_64-linux-gnu``.
    """

    executable: str
    version: str
    implementation: str
    platform: str

    @classmethod
    def of(cls, executable: str | None = None, *, cancellation: Cancellation | None = None) -> Interpreter:
        """Return the interpreter of a name or path.

        :param executable: a name on ``PATH``, or a path; None: the interpreter of this process, without starting
            another process.
        :param cancellation: ends the waiting for its answer; None: only the limit of 30 s ends it.
        :raises CosmosValueError: when there is no such interpreter or it does not answer.
        :raises CommandKilled: when ``cancellation`` was requested before it had answered.
        """
        if executable is None:
            return _own()
        asked = (executable, os.environ.get("PATH", os.defpath))
        if asked not in _known:
            _known[asked] = _ask(*asked, cancellation)
        return _known[asked]

    @property
    def is_own(self) -> bool:
        """Whether this process runs on it, so that packages of this process fit into its environments."""
        return self == _own()


@cache
def _own() -> Interpreter:
    """Return the interpreter of this process."""
    return Interpreter(
        # The base and not the worker's own virtual environment: the new environment must outlive the worker's.
        executable=os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable),
        version=platform.python_version(),
        implementation=sys.implementation.name + sys.abiflags,
        platform="-".join([sys.platform, platform.machine(), getattr(sys.implementation, "_multiarch", "")]),
    )


def _ask(name: str, search_path: str, cancellation: Cancellation | None) -> Interpreter:
    found = shutil.which(name, path=search_path)
    if found is None:
        raise CosmosValueError(
            f"py_executable: there is no interpreter {name!r}. "
            "Give the path of an executable Python, or a name on PATH."
        )
    try:
        completed = _answer(found, _QUESTION, cancellation)
        if completed.returncode:
            raise ValueError(completed.lines[0] if completed.lines else f"exit status {completed.returncode}")
        # Other output, of the interpreter or of a shim that starts it, comes before this line.
        executable, version, implementation, its_platform = json.loads(completed.lines[-1] if completed.lines else "")
    except (OSError, ValueError) as error:
        raise CosmosValueError(
            f"py_executable: {name!r} ({found}) does not answer as a Python interpreter does: {error}. "
            "Give the path of an executable Python 3."
        ) from error
    return Interpreter(executable=executable, version=version, implementation=implementation, platform=its_platform)


def _answer(executable: str, source: str, cancellation: Cancellation | None) -> CompletedCommand:
    """Ask under a guard: a Python on a mount that hangs, or a shim that waits, ends with the task."""
    deadline = time.monotonic() + _ANSWER_TIMEOUT

    def give_up_in_time() -> None:
        if time.monotonic() >= deadline:
            raise TimeoutError(f"it said nothing within {_ANSWER_TIMEOUT:.0f} s")

    # No PYTHON* variable of the worker may reach another Python, and no module of the working directory.
    return run_guarded([executable, "-I", "-c", source], on_tick=give_up_in_time, cancellation=cancellation)


@dataclass(frozen=True, kw_only=True)
class Library:
    """A shared library that is put into the ``lib/`` of an environment, where a native program looks for it.

    :param source: the absolute path of the file; or the name of a distribution that is installed and holds it.
    :param digest: SHA-256 of the file, 64 hex digits; empty for a distribution.
    """

    source: str
    digest: str = ""

    @property
    def name(self) -> str:
        """The name of the file in ``lib/``; empty for a distribution, whose files are known when it is installed."""
        return library_name(self.source) if self.digest else ""


def library_name(path: str | Path) -> str:
    """The name of a library in ``lib/``: its file name; for DuckDB without ``adbc_driver_``, as dbt 2 looks for it.

    :param path: of the file, such as ``adbc_driver_duckdb/libadbc_driver_duckdb.so``.
    """
    return Path(path).name.replace("libadbc_driver_duckdb.", "libduckdb.", 1)


@dataclass(frozen=True, kw_only=True, repr=False)
class EnvironmentSpec:
    """The description of one environment.

    :param requirements: as ``pip install`` takes them: names with versions, paths, URLs, ``-r FILE``.
    :param pip_install_options: options of ``pip install``, one command line word each.
    :param interpreter: the Python to make it of.
    :param system_site_packages: whether packages of the worker are visible in it.
    :param check: Python source that the finished build's own interpreter runs; a non-zero exit means broken. A line
        ``{"provides": {…}}`` of its output, JSON with texts by name, goes into the record. The check does not change
        what is built, so it is no part of the digest.
    :param libraries: shared libraries that are put into its ``lib/``.
    :raises CosmosValueError: naming the parameter, for a text that is no requirement, a string in place of a list, or
        ``--upgrade`` beside a lock file.
    """

    requirements: tuple[str, ...]
    pip_install_options: tuple[str, ...] = ()
    interpreter: Interpreter
    system_site_packages: bool = False
    check: str = ""
    libraries: tuple[Library, ...] = ()

    def __post_init__(self) -> None:
        refuse_anything_but_strings("py_requirements", self.requirements)
        refuse_anything_but_strings("pip_install_options", self.pip_install_options)
        for text in self.requirements:
            if any(each.name in requirement_files.NEEDS_A_VALUE and not each.value for each in parse_requirement(text)):
                raise CosmosValueError(
                    f"py_requirements: {text!r} stands without its file. Write both in one string, such as "
                    "'-r requirements.txt'."
                )
            if not (text.lstrip().startswith("-") or local_path(text) or is_url(text)):
                parsed_requirement(text)
        if self.lock_file is not None and self.asks_for_upgrade:
            raise CosmosValueError(
                f"pip_install_options: --upgrade cannot renew what {self.lock_file} has fixed. Leave it out, and lock "
                "anew: cosmos-venv env lock DAGFILE."
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over what the spec means, as 64 hexadecimal digits. The files that it names are read.

        :raises CosmosValueError: naming the file that cannot be read.
        """
        canonical: dict[str, object] = {
            "form": _FORM,
            "requirements": sorted({_canonical_requirement(text) for text in self.requirements}),
            "options": list(canonical_options(requirement_files.parse(self.pip_install_options))),
            "interpreter": asdict(self.interpreter),
            "system_site_packages": [self.system_site_packages, *self.worker_site_packages],
        }
        # A lock file was made under constraints, and takes no others.
        if self.lock_file is None and (constraints := sorted(_configured_constraints())):
            canonical["constraints"] = constraints
        if self.libraries:
            canonical["libraries"] = sorted([each.name or each.source, each.digest] for each in self.libraries)
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def worker_site_packages(self) -> tuple[str, ...]:
        """Directories of this process's own virtual environment that ``system_site_packages`` makes visible.

        The environment is made of the base interpreter, whose site-packages are not the worker's when the worker
        itself runs in a virtual environment. Another Python could not import what lies there.
        """
        is_in_virtualenv = sys.prefix != sys.base_prefix
        if not (self.system_site_packages and is_in_virtualenv and self.interpreter.is_own):
            return ()
        return tuple(site.getsitepackages())

    @cached_property
    def all_options(self) -> list[InstallOption]:
        """All that an installer is told: the options, and then the requirements with the options among them."""
        required = (option for text in self.requirements for option in parse_requirement(text))
        return [*requirement_files.parse(self.pip_install_options), *required]

    @cached_property
    def lock_file(self) -> Path | None:
        """The lock file (PEP 751) that everything is installed from; None where requirements are resolved.

        :raises CosmosValueError: naming a lock file that cannot be one here.
        """
        return requirement_files.lock_file_among(self.all_options)

    @property
    def asks_for_upgrade(self) -> bool:
        """Whether ``--upgrade`` (``-U``) is among the options: newest versions are wanted again from time to time."""
        return any(option.name == "--upgrade" for option in self.all_options)

    @property
    def redacted(self) -> dict[str, Any]:
        """The spec as it may be shown and stored: without any credential."""
        shown = asdict(self)
        del shown["check"]
        for name in ("requirements", "pip_install_options"):
            shown[name] = tuple(credentials.mask(text) for text in shown[name])
        return shown

    def __repr__(self) -> str:
        return f"EnvironmentSpec({', '.join(f'{name}={value!r}' for name, value in self.redacted.items())})"

    def __str__(self) -> str:
        return credentials.mask(", ".join(self.requirements)) or "no requirements"


def _configured_constraints() -> Iterator[list[str]]:
    """Yield the lines of each configured constraints file. A missing file, or an address, counts by its name alone."""
    for named in configured_constraints(os.environ):
        file = Path(named)
        yield canonical_requirements_file(file) if file.is_file() else [credentials.remove(named)]


def parsed_requirement(text: str, parameter: str = "py_requirements") -> Requirement:
    """Return a requirement that is a name, with or without a version or an address.

    :param text: the requirement.
    :param parameter: the parameter that holds it, for the error.
    :raises CosmosValueError: naming the parameter and the text, when it is no requirement.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(text)
    except InvalidRequirement as error:
        raise CosmosValueError(
            f"{parameter}: {credentials.mask(text)!r} is not a requirement "
            f"({credentials.mask(str(error).splitlines()[0])}). "
            "Write a name with an optional version, such as 'dbt-core~=1.11.0', a path, or a URL."
        ) from None


def _canonical_requirement(text: str) -> str:
    text = text.strip()
    if text.startswith("-"):
        return " ".join(canonical_options(parse_requirement(text)))
    if not (local_path(text) or is_url(text) or "file:" in text):
        from packaging.utils import canonicalize_name

        requirement = parsed_requirement(text)
        text = canonicalize_name(requirement.name) + str(requirement).removeprefix(requirement.name)
    return " ".join(requirement_files.canonical(text))
