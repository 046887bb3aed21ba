"""How does a server learn which parse files its commands have used? From their keepers, when they have ended.

A command that may use kept projects has a file in memory, into which it writes what it would tell. It holds nothing of
the server's: its keeper, which runs no line of a project, hands the file over.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

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
            with suppress(OSError), open(report, "rb") as file:  # noqa: PTH123 - a descriptor
                _tell(file.read(LARGEST + 2), projects)


def new_report() -> int | None:
    """A file in memory, for what a command has to tell; None where there can be none."""
    try:
        return os.memfd_create(_NAME)
    except OSError:
        return None


def _tell(words: bytes, projects: KeptProjects) -> None:
    """:param words: one more than may be told, where there are too many."""
    kind, content = words[:1], words[1:]
    if not content or len(content) > LARGEST:
        return
    if kind == USED:
        projects.use(content)
    elif kind == OFFERED:
        projects.offer(content)
