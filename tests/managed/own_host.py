"""Run a command as on a host of its own: with its own name and empty disks that nobody else sees. Needs root.

    python own_host.py NAME FOLDER[:FOLDER...] COMMAND [ARGUMENT...]

What is mounted ends with the last process in it, however that ends.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from pathlib import Path

from pytest_cosmos_venv.processes.mounts import begin_own_mounts, mount

CLONE_NEWUTS = 0x04000000  # <linux/sched.h>


def main() -> None:
    """Become the command."""
    name, folders, *command = sys.argv[1:]
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUTS):
        raise OSError(ctypes.get_errno(), "it cannot have a name of its own")
    socket.sethostname(name)
    begin_own_mounts()
    for folder in folders.split(":"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        mount("tmpfs", folder, "tmpfs", 0, "mode=0755")
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
