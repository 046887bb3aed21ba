"""One dbt command as a process of its own under the guard, or inside the worker's process.

As a process its lines stream into the task's log. Inside the worker it has its environment variables and folder for as
long as it runs, for a dbt that is installed beside Airflow. These are process-wide, so everything is put back
afterwards.
"""

from __future__ import annotations

import _thread
import errno
import importlib.util
import os
import shutil
import signal
import sys
import sysconfig
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from cosmos_venv.constants import InvocationMode
from cosmos_venv.dbt import installation
from cosmos_venv.dbt.command import FullOutputSubprocessResult
from cosmos_venv.dbt.log_lines import NodeEvent, event_of_runner, without_colour
from cosmos_venv.dbt.native.program import is_native
from cosmos_venv.dbt.results import Artifacts, adapter_advice
from cosmos_venv.exceptions import CosmosDbtRunError, CosmosValueError
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import GuardedProcess, WatchedProcess, run_guarded
from cosmos_venv.processes.inherited_environment import outside_of

DbtRunnerResult = Any
"""``dbt.cli.main.dbtRunnerResult``: on most workers there is no dbt to import it from."""

# As in Cosmos.
_FURTHER_FLAGS = ("--no-static-parser",)
# Characters of output: the names of 200,000 nodes that dbt ls lists. A log of level debug may have gigabytes.
_MOST_KEPT = 16 << 20
_PLUGIN = "dbt_"  # so begins each module that dbt imports as a plugin


def run_dbt(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    launcher: Callable[..., WatchedProcess] | None = None,
    **how: Any,
) -> FullOutputSubprocessResult:
    """Run dbt to its end, whatever its exit code.

    :param command: the command line.
    :param env: all environment variables of the process.
    :param launcher: starts the process; None: a guard does.
    :param **how: arguments of ``run_guarded``. The result has at most the last 16 million characters of the output.
    :raises CosmosValueError: when a word, a variable, or all together are too long for Linux. A warm dbt has no limit.
    :raises OSError: when it cannot be started.
    :raises CommandKilled: when ``cancellation`` was requested; dbt and its children are gone by then.
    """
    try:
        done = run_guarded(command, env=env, launcher=launcher or GuardedProcess, most_kept=_MOST_KEPT, **how)
    except OSError as error:
        if error.errno != errno.E2BIG:
            raise
        raise CosmosValueError(_too_long(command, env)) from error
    return FullOutputSubprocessResult(done.returncode, done.lines[-1] if done.lines else "", done.lines)


def _too_long(command: Sequence[str], env: Mapping[str, str]) -> str:
    """The message for words and variables that Linux does not take (execve(2))."""
    words = [len(os.fsencode(word)) for word in command]
    variables = {name: len(os.fsencode(f"{name}={value}")) for name, value in env.items()}
    name = max(variables, key=variables.__getitem__, default="")
    return (
        "dbt cannot be started: Linux takes 131,072 bytes for one word or variable, and a quarter of the limit of the "
        f"stack for all. The command has {len(words):,} words of {sum(words):,} bytes, the longest of {max(words):,}; "
        f"and {len(variables):,} environment variables of {sum(variables.values()):,} bytes, the longest, {name}, of "
        f"{variables.get(name, 0):,}. Choose nodes by tags, folders or a YAML selector instead of names, leave out "
        "variables (append_env=False keeps the worker's from dbt), or raise the limit of the stack (ulimit -s)."
    )


def is_importable() -> bool:
    """Whether dbt is installed in this Python. ``dbt.cli`` is only looked for: its import takes long."""
    try:
        return importlib.util.find_spec("dbt.cli") is not None
    except ImportError:
        return False


def is_same_dbt(executable: str | None) -> bool:
    """Whether the dbt in this Python is the dbt of a path, or the only dbt that there is.

    :param executable: the path; None where no dbt is found.
    """
    if executable is None:
        return True
    if is_native(executable):  # dbt 2 beside the packages of a dbt 1
        return False
    schemes = (sysconfig.get_path("scripts"), sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")))
    return any(os.path.realpath(Path(executable).parent) == os.path.realpath(scripts) for scripts in schemes)


def found_executable(executable: str) -> str:
    """The whole path of a dbt where the worker finds it: dbt runs in another folder, and it may be without any PATH.

    :param executable: a path, or a name on the worker's PATH.
    """
    found = shutil.which(executable)
    return str(Path(found).absolute()) if found else executable


def chosen_mode(given: InvocationMode | None, executable: str) -> InvocationMode:
    """The way to start dbt: the given mode, else a mode that starts the same dbt.

    :param given: the operator's parameter.
    :param executable: the dbt, as ``found_executable`` gives it.
    :raises CosmosValueError: for DBT_RUNNER with a native dbt: Python would import another dbt.
    """
    if given is InvocationMode.DBT_RUNNER and is_native(executable):
        raise CosmosValueError(
            f"invocation_mode is DBT_RUNNER, and the dbt to run, {executable}, is a native program, as dbt 2 is: "
            "nothing can import it. Give InvocationMode.SUBPROCESS, without dbt_runner_callbacks, or in "
            "dbt_executable_path the dbt 1 of Airflow's own environment."
        )
    if given is not None:
        return given
    # Most workers have no dbt of their own, and so need not look for the executable.
    is_here = is_importable() and is_same_dbt(shutil.which(executable))
    return InvocationMode.DBT_RUNNER if is_here else InvocationMode.SUBPROCESS


def which_dbt(executable: str, mode: InvocationMode) -> str:
    """A text that identifies the dbt, without starting it: another dbt has another text.

    Both ways to start one dbt have the same text: so tasks use what ``dbt ls`` has kept while the DAG was parsed.

    :param executable: the dbt, as ``found_executable`` gives it.
    :param mode: how it is started.
    """
    is_that = mode is InvocationMode.SUBPROCESS or (shutil.which(executable) and is_same_dbt(executable))
    # A path may be given though dbt runs in the worker: it counts only where both are the same dbt.
    return installation.identity_of(executable) if is_that else installation.in_this_python()


def run_in_process(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    user_code: Collection[str],
    callbacks: Sequence[Callable[[Any], object]],
    cancellation: Cancellation,
    on_node: Callable[[NodeEvent], None] | None = None,
) -> DbtRunnerResult:
    """Run one dbt command by its ``dbtRunner``, and return its result, also after a failure.

    :param arguments: the command line without the executable.
    :param env: the whole environment that dbt sees. Afterwards the worker has its former environment and working
        directory.
    :param cwd: the folder in which it runs.
    :param user_code: folders on ``sys.path`` in which dbt finds no plugin, as Airflow's folders of DAG files.
    :param callbacks: get dbt's events.
    :param cancellation: ends dbt when it is requested.
    :param on_node: gets each event of a node; None: no events are handed on.
    :raises CosmosDbtRunError: when dbt cannot be imported.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    cancellation.raise_if_requested()

    def call_back(event: Any) -> None:
        if on_node is not None and (found := event_of_runner(event)) is not None:
            on_node(found)

    heard = [*callbacks, *([] if on_node is None else [call_back])]
    with _search_path_without(user_code):
        dbtRunner = _dbt_runner()  # noqa: N806 - dbt's own name
        with _environment(env), _working_directory(cwd), _interruptible(cancellation):
            result = dbtRunner(callbacks=heard).invoke([*arguments, *_FURTHER_FLAGS])
    cancellation.raise_if_requested()
    # dbt catches everything. Exceptions that are meant for the task, such as its time-out or its end, are raised here.
    if result.exception is not None and not isinstance(result.exception, Exception):
        raise result.exception
    return result


def _dbt_runner() -> Any:
    try:
        from dbt.cli.main import dbtRunner  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise CosmosDbtRunError(
            f"InvocationMode.DBT_RUNNER needs dbt in Airflow's own environment, and it cannot be imported: {error}. "
            "dbt 2 is a native program, which nothing can import. Install dbt-core 1 there, or give "
            "InvocationMode.SUBPROCESS or ExecutionMode.VIRTUALENV."
        ) from error
    return dbtRunner


def raise_for(result: DbtRunnerResult, artifacts: Artifacts) -> None:
    """Raise where dbt has failed, with the nodes that failed and what dbt says about them.

    :param result: dbt's own ``dbtRunnerResult``.
    :param artifacts: the artifacts that the command has left.
    :raises CosmosDbtRunError: where dbt has failed.
    """
    if result.success:
        return
    if result.exception is not None:
        reason = without_colour(str(result.exception)).strip()
        others = [error for error in artifacts.errors() if reason not in error]  # dbt logs it too
        said = [f"dbt invocation did not complete with unhandled error: {reason}", *others]
    else:
        said = ["dbt invocation completed with errors:", *(artifacts.failures() or artifacts.errors())]
    advice = adapter_advice("\n".join(said).splitlines())
    raise CosmosDbtRunError(without_colour("\n".join([*said, *filter(None, [advice])])))


class _UserCode:
    """Finds modules in folders of user code that are not on ``sys.path``, except modules that dbt takes for plugins.

    dbt looks for plugins in ``sys.path`` alone. A callback of the user may import from the folders while dbt runs.

    :param folders: the folders.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = folders

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """As of ``importlib.abc.MetaPathFinder``.

        :param name: of the module.
        :param path: of its package; None: it is a top-level module.
        :param target: not used.
        """
        if path is not None or name.startswith(_PLUGIN):
            return None
        return PathFinder.find_spec(name, self._folders, target)


@contextmanager
def _search_path_without(folders: Collection[str]) -> Iterator[None]:
    before = [*sys.path]
    sys.path[:] = outside_of(before, folders)
    hidden = _UserCode([entry for entry in before if entry not in sys.path])
    sys.meta_path.append(hidden)
    try:
        yield
    finally:
        sys.meta_path.remove(hidden)
        sys.path[:] = before


@contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    _set_environment(env)
    try:
        yield
    finally:
        _set_environment(before)


def _set_environment(env: Mapping[str, str]) -> None:
    """Set variables before others are deleted: other threads of the worker must not see an empty environment."""
    os.environ.update(env)
    for name in set(os.environ) - set(env):
        del os.environ[name]


@contextmanager
def _working_directory(cwd: Path) -> Iterator[None]:
    # A file descriptor, since the path may lead elsewhere by then. O_PATH needs no permission to read.
    before = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))
    try:
        os.chdir(cwd)
        yield
    finally:
        os.fchdir(before)
        os.close(before)


@contextmanager
def _interruptible(cancellation: Cancellation) -> Iterator[None]:
    """Let a kill within this block interrupt dbt as Ctrl-C does, so that dbt cancels its queries.

    Python delivers an interrupt to the main thread alone; elsewhere dbt runs to its end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # Airflow leaves it to the system
    try:
        with cancellation.stopping(_thread.interrupt_main):
            yield
    except KeyboardInterrupt:
        if not cancellation.is_requested:
            raise
    finally:
        signal.signal(signal.SIGINT, before)
