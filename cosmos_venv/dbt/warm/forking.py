"""May this process be forked, and how?"""

from __future__ import annotations

import os
import threading
import time
import warnings
from pathlib import Path

HARMLESS_THREADS = frozenset({"jemalloc_bg_thd"})  # it is stopped before a fork and started anew after it
_LONGEST_END = 1.0  # seconds from the end of a thread until the kernel shows it no longer
_LOOK_AGAIN = 0.01


def fork() -> int:
    """As os.fork, without Python's warning of threads (3.12), which have been looked at."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def unproven_threads() -> list[str]:
    """The threads beside the main one of which nobody has shown that a fork does them no harm; by name.

    One that its library ends before a fork, to begin anew where there is work for it, shows it here. OpenBLAS does so
    (``blas_thread_shutdown`` is its handler of pthread_atfork), which numpy and pandas load.
    """
    if not _threads():
        return []
    pid = fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    deadline = time.monotonic() + _LONGEST_END
    while (left := _threads()) and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN)
    return left


def _threads() -> list[str]:
    python = [each.name for each in threading.enumerate() if each is not threading.main_thread()]
    native = []
    for entry in Path("/proc/self/task").iterdir():
        if int(entry.name) != os.getpid():
            native.append(_name(entry))
    return python or [name for name in native if name and name not in HARMLESS_THREADS]


def _name(task: Path) -> str:
    """Empty for a thread that has just ended."""
    try:
        return (task / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
