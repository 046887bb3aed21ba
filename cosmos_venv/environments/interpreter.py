"""Which Python an environment is made of: resolved once to a real executable, with its full version."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cosmos_venv.exceptions import CosmosValueError

_ANSWER_TIMEOUT = 30.0

# Run by the interpreter in question; keep to what every Python 3 has.
_QUESTION = """
import json, os, platform, sys
real = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps([os.path.realpath(real), platform.python_version(), sys.implementation.name + sys.abiflags,
    "-".join([sys.platform, platform.machine(), getattr(sys.implementation, "_multiarch", "")])]))
"""


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
    def of(cls, executable: str | None = None) -> Interpreter:
        """The interpreter of that name or path; None: the one that runs this process, without starting another.

        :raises CosmosValueError: naming ``py_executable``, when there is no such interpreter or it does not answer.
        """
        return _own() if executable is None else _asked(executable, os.environ.get("PATH", os.defpath))

    @property
    def is_own(self) -> bool:
        """Whether this process runs on it, so that packages of this process fit into its environments."""
        return self == _own()


@cache
def _own() -> Interpreter:
    return Interpreter(
        executable=_own_executable(),
        version=platform.python_version(),
        implementation=sys.implementation.name + sys.abiflags,
        platform="-".join([sys.platform, platform.machine(), getattr(sys.implementation, "_multiarch", "")]),
    )


def _own_executable() -> str:
    real = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    if sys.prefix == sys.base_prefix or not Path(real).is_relative_to(Path(sys.prefix).resolve()):
        return real
    # Python 3.10 in an environment made with --copies knows its base only as a prefix.
    return os.path.realpath(Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}"))


@cache
def _asked(name: str, search_path: str) -> Interpreter:
    found = shutil.which(name, path=search_path)
    if found is None:
        raise CosmosValueError(
            f"py_executable: there is no interpreter {name!r}. "
            "Give the path of an executable Python, or a name on PATH."
        )
    # No PYTHON* variable of the worker may reach another Python, and no module of the working directory.
    command = [found, "-I", "-c", _QUESTION]
    try:
        answer = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_ANSWER_TIMEOUT, check=True
        )
        executable, version, implementation, its_platform = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = (getattr(error, "stderr", "") or "").strip()
        raise CosmosValueError(
            f"py_executable: {name!r} ({found}) does not answer as a Python interpreter does: "
            f"{said.splitlines()[0] if said else error}. Give the path of an executable Python 3."
        ) from error
    return Interpreter(executable=executable, version=version, implementation=implementation, platform=its_platform)
