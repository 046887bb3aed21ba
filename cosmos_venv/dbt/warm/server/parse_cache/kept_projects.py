"""STDLIB ONLY. Which projects are kept, and reports of commands.

Which projects does a server keep? The few that were used last; what cannot be kept is not tried again.

How does a server learn which parse files its commands have used? From their keepers, when they have ended.

A command that may use kept projects has a file in memory, into which it writes what it would tell. It holds nothing of
the server's: its keeper, which runs no line of a project, hands the file over.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

from cosmos_venv.dbt.warm.server import dbt_internals
from cosmos_venv.dbt.warm.server.parse_cache.kept_project import LARGEST, KeptProject, Likeness
from cosmos_venv.dbt.warm.server.parse_cache.manifest_reuse import OFFERED, USED

MOST = 2
MEMORY_FACTOR = 24
"""Bytes of memory for one of the parse file, at most, while it is made."""
_MOST_REFUSED, _LONGEST_REASON = 8, 200


class KeptProjects:
    """Those of one server."""

    def __init__(self) -> None:
        self.ready: list[KeptProject] = []
        self.uses = 0
        """Commands that have used one."""
        self._offered: bytes | None = None
        self._making: tuple[KeptProject, Iterator[None]] | None = None
        self._refused: list[tuple[Likeness, str]] = []
        self._given_up: str | None = None

    @property
    def memory(self) -> int:
        """Bytes that they may take, what is being made included."""
        making = len(self._making[0].content) if self._making else 0
        return MEMORY_FACTOR * (making + sum(len(each.content) for each in self.ready))

    @property
    def size(self) -> int:
        """Bytes of their parse files."""
        return sum(len(each.content) for each in self.ready)

    @property
    def is_making(self) -> bool:
        """Whether something of one is yet to be made."""
        return self._making is not None or self._offered is not None

    @property
    def reasons(self) -> list[str]:
        """Why the last of those that cannot be kept cannot, the oldest first."""
        return [*(reason for _, reason in self._refused), *([self._given_up] if self._given_up else [])]

    def offer(self, content: bytes) -> None:
        """A parse file that dbt has just read, and found to fit the project."""
        if self._given_up or len(content) > LARGEST or self._has_seen(content):
            return
        if dbt_internals.is_known():
            self._offered = content

    def give_up(self, reason: str) -> None:
        """Drop all, and keep nothing from now on."""
        self._given_up = reason
        self.drop()

    def drop(self) -> None:
        """Forget all that is kept, or about to be."""
        self.ready.clear()
        self._offered = self._making = None

    def _has_seen(self, content: bytes) -> bool:
        """Whether to make it would give nothing new: it is there, or about to be, or cannot be kept."""
        making = [self._making[0]] if self._making else []
        seen = [*(each.likeness for each in (*self.ready, *making)), *(likeness for likeness, _ in self._refused)]
        return any(each.is_of(content) for each in seen)

    def use(self, digest: bytes) -> None:
        """A command has used the project of this digest."""
        self.uses += 1
        for each in self.ready:
            if each.digest == digest:
                each.used = time.monotonic()

    def forget_unused(self, seconds: float) -> bool:
        """Whether one was dropped that no command has used for so long."""
        left = [each for each in self.ready if time.monotonic() - each.used <= seconds]
        has_dropped = len(left) < len(self.ready)
        self.ready[:] = left
        return has_dropped

    def take_step(self) -> bool:
        """Make a piece of what was offered. Whether there was something to make.

        :raises StopIteration: when all of one was made, or cannot be.
        """
        if self._making is None:
            content, self._offered = self._offered, None
            # What was made since it was offered may be the same, which was not known to be like it before.
            if content is None or self._has_seen(content):
                return False
            project = KeptProject(content)
            self._making = project, project.make()
        project, steps = self._making
        try:
            next(steps)
        except StopIteration:
            self._making = None
            self.ready[:] = [*sorted(self.ready, key=lambda each: each.used)[-(MOST - 1) :], project]
            raise
        except Exception as error:  # noqa: BLE001 - dbt then says itself what is wrong with it
            self._making = None
            reason = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
            self._refused[:] = [*self._refused[-(_MOST_REFUSED - 1) :], (project.likeness, reason)]
            raise StopIteration from None
        return True


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
