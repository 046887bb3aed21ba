"""An empty virtual environment: made in this process where it is one of its own Python, else by a tool.

Starting a tool and its guard takes 35 ms, a sixth of a small installation; the same work takes 5 ms here.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv.environments.installers.choice import Installer
from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import run_guarded

if TYPE_CHECKING:
    from types import SimpleNamespace

_OTHERS_MAY_READ = 0o755


def creation_command(installer: Installer, interpreter: Interpreter, *, system_site_packages: bool) -> list[str]:
    """Return the command that makes an empty environment, without the directory, which comes last.

    :param installer: the tool that installs later: uv makes it too; for pip the interpreter's ``venv`` does.
    :param interpreter: the Python of the environment.
    :param system_site_packages: whether it sees the packages of the interpreter.
    """
    if installer.name == "uv":
        command = [installer.uv, "venv", "--no-project", "--python", interpreter.executable]
    else:
        # ensurepip would install a pip into each environment; one outside serves them all.
        command = [interpreter.executable, "-I", "-m", "venv", "--without-pip"]
    return [*command, "--system-site-packages"] if system_site_packages else command


def create_in_process(directory: Path, *, interpreter: Interpreter, system_site_packages: bool) -> None:
    """Make an empty environment of the Python that runs this process, as ``python -m venv --without-pip`` does.

    :param directory: does not exist yet or is empty.
    :param interpreter: the Python that runs this process.
    :param system_site_packages: whether it sees the packages of the interpreter.
    :raises ImportError: where the Python has no ``venv``.
    :raises OSError: where a file or link cannot be made.
    """
    import venv  # few tasks build

    class Builder(venv.EnvBuilder):
        def ensure_directories(self, env_dir: Any) -> SimpleNamespace:
            # The path that digests name: in a worker that runs in an environment, Python's own is one of its links.
            context: SimpleNamespace = super().ensure_directories(env_dir)
            context.executable = interpreter.executable
            context.python_dir, context.python_exe = os.path.split(interpreter.executable)
            context.env_exe = context.env_exec_cmd = os.path.join(context.bin_path, context.python_exe)  # noqa: PTH118
            return context

    Builder(system_site_packages=system_site_packages, symlinks=True).create(directory)
    # As under the umask 022 of the tools (a umask is of a whole process): others must be able to read, and not to
    # write.
    for folder, _, names in os.walk(directory):
        for path in (folder, *(f"{folder}/{name}" for name in names)):
            if not os.path.islink(path):  # noqa: PTH114
                mode = os.stat(path).st_mode  # noqa: PTH116
                own = mode & 0o700
                os.chmod(path, (own | own >> 3 | own >> 6) & _OTHERS_MAY_READ)  # noqa: PTH101


def create_empty(directory: Path, interpreter: Interpreter, *, cancellation: Cancellation) -> None:
    """Make an empty environment that sees no packages of the worker, by the interpreter's own ``venv``.

    :param directory: does not exist yet or is empty.
    :param interpreter: the Python of the environment.
    :param cancellation: ends the waiting for another Python.
    :raises VirtualenvBuildError: when that Python cannot make one.
    :raises OSError: where a file or link cannot be made.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    if interpreter.is_own:
        create_in_process(directory, interpreter=interpreter, system_site_packages=False)
        return
    command = creation_command(Installer(name="pip", reason=""), interpreter, system_site_packages=False)
    completed = run_guarded([*command, str(directory)], cancellation=cancellation)
    if completed.returncode:
        said = "; ".join(completed.lines[-3:])
        raise VirtualenvBuildError(f"no virtual environment could be made of {interpreter.executable}: {said}")


def empty_directory(directory: Path) -> None:
    """Remove everything in a directory, where it is there: a tool wants to begin anew.

    :param directory: of an environment that nobody uses.
    :raises OSError: when something cannot be removed.
    """
    for entry in directory.iterdir() if directory.exists() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
