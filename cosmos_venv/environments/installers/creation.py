"""An empty virtual environment, made by the ``venv`` of the Python that it is to have."""

from __future__ import annotations

import shutil
from pathlib import Path

from cosmos_venv.environments.spec import Interpreter
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import run_guarded


def creation_command(directory: Path, interpreter: Interpreter, *, system_site_packages: bool) -> list[str]:
    """Return the command that makes an empty environment.

    :param directory: does not exist yet or is empty.
    :param interpreter: the Python of the environment.
    :param system_site_packages: whether it sees the packages of the interpreter.
    """
    # ensurepip would install a pip into each environment; one outside serves them all.
    command = [interpreter.executable, "-I", "-m", "venv", "--without-pip"]
    return [*command, *(["--system-site-packages"] if system_site_packages else []), str(directory)]


def create_empty(directory: Path, interpreter: Interpreter, *, cancellation: Cancellation) -> None:
    """Make an empty environment that sees no packages of the worker, and that others can read.

    :param directory: does not exist yet or is empty.
    :param interpreter: the Python of the environment.
    :param cancellation: ends the waiting.
    :raises VirtualenvBuildError: when the Python cannot make one.
    :raises OSError: when the Python cannot be started.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    command = creation_command(directory, interpreter, system_site_packages=False)
    completed = run_guarded(command, cancellation=cancellation)
    if completed.returncode:
        said = "; ".join(completed.lines[-3:])
        raise VirtualenvBuildError(f"no virtual environment could be made of {interpreter.executable}: {said}")
    for path in (directory, *directory.rglob("*")):  # others may read it and not write to it, whatever the umask is
        if not path.is_symlink():
            own = path.stat().st_mode & 0o700
            path.chmod((own | own >> 3 | own >> 6) & 0o755)


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
