"""STDLIB ONLY. The projects that one server keeps: the few that were used last, and what its commands report of them.

What cannot be kept is not tried again. A command writes its report into a file in memory, which its keeper hands over
when the command has ended; a keeper runs no line of a project.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import IO

from cosmos_venv.dbt.warm.server import dbt_internals
from cosmos_venv.dbt.warm.server.parse_cache.kept_project import LARGEST, KeptProject, Likeness
from cosmos_venv.dbt.warm.server.parse_cache.manifest_reuse import OFFERED, USED

MOST = 2
MEMORY_FACTOR = 24
"""Bytes of memory for one of the parse file, at most, while it is made."""
_MOST_REFUSED, _LONGEST_REASON = 8, 200


class KeptProjects:
    """The kept projects of one server."""

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

    def hear(self, report: IO[bytes]) -> None:
        """Take in what one command tells: which kept project it has used, or the parse file that it has found to fit.

        :param report: the file that the command has written, at its beginning.
        """
        words = report.read(LARGEST + 2)  # one byte more than may be told shows that there are too many
        kind, content = words[:1], words[1:]
        if not content or len(content) > LARGEST:
            return
        if kind == USED:
            self.use(content)
        elif kind == OFFERED:
            self.offer(content)

    def offer(self, content: bytes) -> None:
        """Keep a project whose parse file dbt has just read, and found to fit.

        :param content: of the parse file.
        """
        # Each command with a parse file that is not kept offers it again.
        if self._given_up or len(content) > LARGEST or self._has_seen(content):
            return
        if dbt_internals.is_known():
            self._offered = content

    def give_up(self, reason: str) -> None:
        """Drop all, and keep nothing from now on.

        :param reason: for people who ask why.
        """
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
        """Note that a command has used a project.

        :param digest: of the project.
        """
        self.uses += 1
        for each in self.ready:
            if each.digest == digest:
                each.used = time.monotonic()

    def forget_unused(self, seconds: float) -> bool:
        """Drop what no command has used for so long.

        :param seconds: since the last use.
        :returns: whether one was dropped.
        """
        left = [each for each in self.ready if time.monotonic() - each.used <= seconds]
        has_dropped = len(left) < len(self.ready)
        self.ready[:] = left
        return has_dropped

    def take_step(self) -> bool:
        """Make a piece of what was offered.

        :returns: whether there was something to make.
        :raises StopIteration: when all of one was made, or cannot be.
        """
        if self._making is None:
            content, self._offered = self._offered, None
            # Another project that was made since this one was offered may be the same but for its folder.
            if content is None or self._has_seen(content):
                return False
            project = KeptProject(content)
            self._making = project, project.make()
        project, steps = self._making
        try:
            next(steps)
        except StopIteration:
            self._making = None
            # The one that was used last stays, beside the new one.
            self.ready[:] = [*sorted(self.ready, key=lambda each: each.used)[-(MOST - 1) :], project]
            raise
        except Exception as error:  # noqa: BLE001 - dbt then says itself what is wrong with it
            self._making = None
            reason = f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
            self._refused[:] = [*self._refused[-(_MOST_REFUSED - 1) :], (project.likeness, reason)]
            raise StopIteration from None
        return True
