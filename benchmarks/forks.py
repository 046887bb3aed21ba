"""The time of a call in a process that does nothing else: each time in a new fork of this one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import partial


def least_cpu_seconds(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The least CPU seconds of each call; they run in turns, each time in a fork of this process."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(float(in_a_fork(partial(cpu_seconds, call))))
    return {name: min(times) for name, times in taken.items()}


def in_a_fork(call: Callable[[], object]) -> str:
    """The result of the call in a fork, as text.

    :raises ChildProcessError: when it failed; what it raised is on standard error.
    """
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        code = 1
        try:
            os.write(writing, str(call()).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as answer:
        text = answer.read()
    if os.waitpid(child, 0)[1]:
        raise ChildProcessError("A measurement has failed.")
    return text


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU seconds of this process for the call alone."""
    began = time.process_time()
    kept = call()
    taken = time.process_time() - began
    del kept  # to free it is no part of the time
    return taken


def wall_seconds(call: Callable[[], object]) -> float:
    """Until the call returns."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
