"""One try of a task in a child process, as a worker runs it, so that it can be killed for real."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn, TypeVar

from pytest_cosmos_venv.airflow.home import prepare_this_process
from pytest_cosmos_venv.airflow.outcomes import portable
from pytest_cosmos_venv.airflow.task_log import TaskLog
from pytest_cosmos_venv.fake_dbt.whole_writes import write_whole

_Value = TypeVar("_Value")


class WorkerLost(Exception):
    """The process of a task was killed: no code of the task could notice it.

    Airflow learns of it by a missing heartbeat.
    """


class WorkerFailed(WorkerLost):
    """The process of a task ended by itself, and handed back nothing that its parent can read."""


def run_in_child(
    work: Callable[[], _Value], *, folder: Path, log: TaskLog, surroundings: AbstractContextManager[object]
) -> _Value:
    """Run a function in a child process to its end; return what it returns, or raise what it raises.

    :param work: the function. It returns what can be pickled.
    :param folder: a folder for the child's output.
    :param log: the log of the try, which gets what the child logs, even if it is killed.
    :param surroundings: entered in the child, around the function.
    :raises WorkerLost: a signal has ended the child.
    :raises WorkerFailed: the child ended before the function did, or what it returned cannot be pickled.
    """
    text, result = folder / "log", folder / "result"
    text.touch()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    pid = os.fork()
    if pid == 0:
        _work_as_child(work, text, result, log, surroundings)
    try:
        _, status = os.waitpid(pid, 0)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    finally:
        log.print(text.read_text(encoding="utf-8", errors="replace"))
    if os.WIFSIGNALED(status):
        raise WorkerLost(f"the process of the task was ended by {signal.Signals(os.WTERMSIG(status)).name}")
    if not result.exists():
        code = os.WEXITSTATUS(status)
        raise WorkerFailed(f"the process of the task ended with exit code {code} before its work was done")
    has_succeeded, value = pickle.loads(result.read_bytes())  # noqa: S301 - written by our own child
    if not has_succeeded:
        raise value
    found: _Value = value
    return found


def _work_as_child(
    work: Callable[[], object],
    text: Path,
    result: Path,
    log: TaskLog,
    surroundings: AbstractContextManager[object],
) -> NoReturn:
    """Work, write down the end, and leave: what pytest has open in this process belongs to its parent."""
    try:
        prepare_this_process()
        with text.open("a", encoding="utf-8") as stream:
            log.stream_to(stream)
            try:
                with surroundings:
                    found = True, work()
            except BaseException as error:  # noqa: BLE001 - it is raised in the parent
                found = False, portable(error)
            write_whole(result, _pickled(found))
            for each in (sys.stdout, sys.stderr):
                each.flush()
        os._exit(0)
    finally:
        os._exit(1)


def _pickled(found: tuple[bool, object]) -> bytes:
    """Return the end of the work as bytes that the parent can read."""
    try:
        data = pickle.dumps(found)
        pickle.loads(data)  # noqa: S301 - made here
    except Exception as error:  # noqa: BLE001 - pickling raises whatever the object does
        said = f"what the task returned cannot be pickled: {type(error).__name__}: {error}"
        return pickle.dumps((False, WorkerFailed(said)))
    return data
