"""The check of locks: whether a kernel lock that one process holds keeps another process out, in each directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

from cosmos_venv.cli.doctor.check_result import CheckResult, Examined
from cosmos_venv.cli.doctor.directory_check import trial_folder, why_no_trial
from cosmos_venv.files.kernel_lock import flock_at_once, open_for_locking

_IS_LOCKED = 3
_TRY_TO_LOCK = f"""
import fcntl, sys
try:
    fcntl.flock(open(sys.argv[1], "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit({_IS_LOCKED})
"""
_OTHER_MOUNT = "Use a local disk or NFS 4, mounted without nolock and local_lock."


def locks_lock(examined: Examined) -> Iterator[CheckResult]:
    """Yield a result for each directory that was asked for, and for each other one that can be written to.

    :param examined: its directories are looked at.
    """
    for directory in examined.directories:
        reason = why_no_trial(directory) if directory.is_dir() else "There is no such directory"
        if reason:
            if directory not in examined.searched:
                way_out = "Make it, writable for the user of the tasks, and run this again."
                yield CheckResult(
                    check="locks",
                    subject=str(directory),
                    outcome="warning",
                    text=f"{reason}, so no lock was tried.",
                    way_out=way_out,
                )
            continue
        with trial_folder(directory) as folder:
            descriptor = open_for_locking(folder / "lock")
            try:
                fault = "" if flock_at_once(descriptor) else "a new file is locked already"
                tried = subprocess.run([sys.executable, "-I", "-c", _TRY_TO_LOCK, folder / "lock"], check=False)
                if tried.returncode != _IS_LOCKED:
                    fault = "a second process gets the lock that the first one holds, so two would build at once"
            except OSError as error:
                fault = f"it has no kernel locks ({error.strerror})"
            finally:
                os.close(descriptor)
        yield CheckResult(
            check="locks",
            subject=str(directory),
            outcome="failed" if fault else "ok",
            text=f"The file system will not do: {fault}." if fault else "A lock keeps a second process out.",
            way_out=_OTHER_MOUNT if fault else "",
        )
