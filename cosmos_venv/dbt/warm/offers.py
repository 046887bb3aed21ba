"""How does a server learn which parse files its commands have used? From their keepers, when they have ended.

A command that may use kept projects has a file in memory, into which it writes what it would tell. It holds nothing of
the server's: its keeper, which runs no line of a project, hands the file over.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

from cosmos_venv.dbt.warm.kept_projects import LARGEST, KeptProjects
from cosmos_venv.dbt.warm.parsed import OFFERED, USED

_NAME = "dbt-warm-parsed"


class Offers:
    """The way from keepers to a server, made before it forks."""

    def __init__(self) -> None:
        self._reads, self._writes = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._reads.setblocking(False)
        self._writes.setblocking(False)

    def fileno(self) -> int:
        """What the server waits for."""
        return self._reads.fileno()

    def close_readers(self) -> None:
        """Called in a keeper."""
        self._reads.close()

    def close(self) -> None:
        """Called in a command."""
        self._writes.close()

    def hand_over(self, report: int) -> None:
        """Called in a keeper when its command has ended. What cannot be sent at once is for later commands to tell."""
        try:
            if os.fstat(report).st_size:
                socket.send_fds(self._writes, [b"p"], [report])
        except OSError:
            pass

    def take(self, projects: KeptProjects) -> None:
        """Called in the server: tell its projects what there is."""
        try:
            _, found, _, _ = socket.recv_fds(self._reads, 1, 1)
        except OSError:
            return
        for report in found:
            try:
                _tell(report, projects)
            finally:
                os.close(report)


def new_report() -> int | None:
    """A file in memory, for what a command has to tell; None where there can be none."""
    try:
        return os.memfd_create(_NAME)
    except OSError:
        return None


def _tell(report: int, projects: KeptProjects) -> None:
    try:
        size = os.fstat(report).st_size
        if not 1 < size <= LARGEST + 1:
            return
        content = _read(lambda at: os.pread(report, size - at, at), size)
    except OSError:
        return
    if content[:1] == USED:
        projects.use(content[1:])
    elif content[:1] == OFFERED:
        projects.offer(content[1:])


def _read(read: Callable[[int], bytes], size: int) -> bytes:
    found = b""
    while len(found) < size and (more := read(len(found))):
        found += more
    return found
