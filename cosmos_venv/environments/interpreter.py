"""Which Python an environment is made of: resolved once to a real executable, with its full version."""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cosmos_venv import os_errors
from cosmos_venv.exceptions import CosmosValueError, VirtualenvError
from cosmos_venv.guarded import Cancellation, CompletedCommand, run_guarded

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
    def of(cls, executable: str | None = None, *, cancellation: Cancellation | None = None) -> Interpreter:
        """The interpreter of that name or path; None: the one that runs this process, without starting another.

        :raises CosmosValueError: naming ``py_executable``, when there is no such interpreter or it does not answer.
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


_known: dict[tuple[str, str], Interpreter] = {}


def _ask(name: str, search_path: str, cancellation: Cancellation | None) -> Interpreter:
    found = shutil.which(name, path=search_path)
    if found is None:
        raise CosmosValueError(
            f"py_executable: there is no interpreter {name!r}. "
            "Give the path of an executable Python, or a name on PATH."
        )
    try:
        completed = _answer(found, cancellation)
        if completed.returncode:
            raise ValueError(completed.lines[0] if completed.lines else f"exit status {completed.returncode}")
        # Whatever else it or a shim before it says comes first.
        executable, version, implementation, its_platform = json.loads(completed.lines[-1] if completed.lines else "")
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and (words := os_errors.shortage(error)):
            raise VirtualenvError(words) from error
        raise CosmosValueError(
            f"py_executable: {name!r} ({found}) does not answer as a Python interpreter does: {error}. "
            "Give the path of an executable Python 3."
        ) from error
    return Interpreter(executable=executable, version=version, implementation=implementation, platform=its_platform)


def _answer(executable: str, cancellation: Cancellation | None) -> CompletedCommand:
    """Ask under a guard: a Python on a mount that hangs, or a shim that waits, ends with the task."""
    deadline = time.monotonic() + _ANSWER_TIMEOUT

    def give_up_in_time() -> None:
        if time.monotonic() >= deadline:
            raise TimeoutError(f"it said nothing within {_ANSWER_TIMEOUT:.0f} s")

    # No PYTHON* variable of the worker may reach another Python, and no module of the working directory.
    return run_guarded([executable, "-I", "-c", _QUESTION], on_tick=give_up_in_time, cancellation=cancellation)
