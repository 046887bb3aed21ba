"""Run a command as on a host of its own: with its own name and empty disks that nobody else sees. Needs root.

    python own_host.py NAME FOLDER[:FOLDER...] COMMAND [ARGUMENT...]

What is mounted ends with the last process in it, however that ends.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys

CLONE_NEWNS, CLONE_NEWUTS = 0x00020000, 0x04000000  # <linux/sched.h>


def main() -> None:
    """Become the command."""
    name, folders, *command = sys.argv[1:]
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS | CLONE_NEWUTS):
        raise OSError(ctypes.get_errno(), "namespaces cannot be made")
    socket.sethostname(name)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    for folder in folders.split(":"):
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - a script that starts fast
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", folder], check=True)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
