"""How is what was installed kept through a power cut? It is on the disk before a link leads to it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cosmos_venv import guard
from cosmos_venv.exceptions import VirtualenvBuildError
from cosmos_venv.guarded import Cancellation, GuardedProcess

_LONGEST_WAIT = 10.0  # a disk that others keep busy is no reason to fail, nor to wait for ever
_LONGEST_END = 1.5
_TURN = 0.1

_DISK_ERROR = 3

# One call for all files: one for each of 6,000 took 20 s where this took 0.1 s. Elsewhere all file systems are asked.
_WRITE_OUT = f"""
import errno, os, sys
try:
    import ctypes
    library = ctypes.CDLL(None, use_errno=True)
    syncfs = library.syncfs
except (ImportError, AttributeError, OSError):
    os.sync()
    sys.exit()
if syncfs(os.open(sys.argv[1], os.O_RDONLY)) and ctypes.get_errno() in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
    print(os.strerror(ctypes.get_errno()))
    sys.exit({_DISK_ERROR})
"""


@contextmanager
def written_out(
    directory: Path, *, cancellation: Cancellation, report: Callable[[str], None], keep_open: Sequence[int] = ()
) -> Iterator[None]:
    """At the end of this block is on the disk what was written to the directory's file system before it.

    The disk works while the block does. Where it takes longer than 10 s, that is reported, and nobody waits any more.

    :raises VirtualenvBuildError: when the disk cannot take it.
    :raises CommandKilled: when ``cancellation`` was requested.
    """
    # A process of its own under a guard: nothing interrupts a process that waits for a disk.
    command = [sys.executable, "-I", "-S", "-c", _WRITE_OUT, str(directory)]
    process = GuardedProcess(command, keep_open=keep_open)
    try:
        with cancellation.stopping(process.stop):
            yield
            if not _ends_in_time(process, cancellation):
                report(f"The disk of {directory} is busy: what was installed is not yet safe from a power cut.")
                return
            said = b"".join(process.lines()).decode(errors="replace").strip()
            failed = process.wait() == _DISK_ERROR
        cancellation.raise_if_requested()
        if failed:
            raise VirtualenvBuildError(f"What was installed cannot be written to the disk of {directory}: {said}.")
    finally:
        # Nothing ends a process that waits for a disk, and it changes nothing.
        process.close(within=_LONGEST_END)


def _ends_in_time(process: GuardedProcess, cancellation: Cancellation) -> bool:
    """Whether it says something or ends before it has been waited for long enough."""
    deadline = time.monotonic() + _LONGEST_WAIT
    while not guard.readable([process.output.fileno()], _TURN):
        cancellation.raise_if_requested()
        if time.monotonic() >= deadline:
            return False
    return True
