"""Steps of contenders, and the resources that each of them touches: two steps without a common resource commute.

A resource is a text: ``name:`` of a path below the explored folder (whether and what stands there), ``entries:`` of a
folder, ``file:`` for the content and times of a file, ``lock:`` of a file, ``process:`` of a contender, ``span:`` of a
name that the contenders' functions use.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import NamedTuple

READ, WRITE, ADD = "r", "w", "+"
"""The modes in which a step touches a resource. Two reads commute, and two adds; no other pair does."""
EVERYTHING = "everything"
"""The resource that each step reads; a step that may have changed anything writes it."""
GO, KILL = "go", "kill"
"""The actions of a choice. Any other action is the name of the error with which the step fails: ``ENOSPC``."""
KILLED_BEFORE = "killed before: "
"""The prefix of the text of a kill; the step that was not made follows."""
_LONGEST_CHAIN_OF_LINKS = 40

Footprint = tuple[tuple[str, str], ...]


class ExploredStep(NamedTuple):
    """One step that was made.

    :param contender: its index.
    :param action: ``go``, ``kill``, or the name of the error with which the step failed.
    :param name: of the call: ``link``.
    :param text: the step in words.
    :param outcome: the result in words; empty where the step succeeded.
    :param footprint: pairs of a resource and the mode in which it was touched.
    :param clock: seconds by which the virtual clock had been advanced.
    """

    contender: int
    action: str
    name: str
    text: str
    outcome: str
    footprint: Footprint
    clock: float


def commute(first: str, second: str) -> bool:
    """Return whether two steps commute, by the modes in which they touch one resource.

    :param first: the mode of one step.
    :param second: the mode of the other one.
    """
    return first == second != WRITE


def is_change(footprint: Footprint) -> bool:
    """Return whether a step has changed something that others, or a look at the folder, can see.

    :param footprint: what it has touched.
    """
    return any(mode != READ for _, mode in footprint)


class Places:
    """Translates paths and descriptors of a contender into resources.

    :param root: the explored folder, without links in its path. Nothing else is seen, except ``/proc`` of contenders.
    :param pids: the PIDs of the contenders.
    """

    def __init__(self, root: str, pids: Iterable[int] = ()) -> None:
        self.root = root
        self.pids = {pid: index for index, pid in enumerate(pids)}
        self.opened: dict[int, str] = {}
        """Descriptor of a file below the folder -> its path, as it was when it was opened."""
        self.locked: set[str] = set()
        """Resources of the locks that the contender has taken at some time."""

    def path_of(self, path: object, directory: int | None = None) -> str | None:
        """Return a path as an absolute text where it lies below the folder; None where it does not.

        :param path: what a call was given.
        :param directory: descriptor of the directory from which a relative path starts.
        """
        if isinstance(path, int):
            return self.opened.get(path)
        try:
            text = os.fsdecode(path)  # type: ignore[arg-type] # the call itself refuses other types
        except TypeError:
            return None
        if not text.startswith("/"):
            base = os.getcwd() if directory is None or directory < 0 else self.opened.get(directory)  # noqa: PTH109
            if base is None or not (base == self.root or base.startswith(self.root + "/")):
                return None
            text = f"{base}/{text}"
        text = os.path.normpath(text)
        return text if text == self.root or text.startswith(self.root + "/") else None

    def process_of(self, path: object) -> int | None:
        """Return the contender whose process a file of ``/proc`` describes; None for any other path.

        :param path: what a call was given.
        """
        text = path if isinstance(path, str) else str(path) if isinstance(path, os.PathLike) else ""
        if not text.startswith("/proc/"):
            return None
        number = text[6:].partition("/")[0]
        return self.pids.get(int(number)) if number.isdigit() else None

    def chain(self, path: str, *, follow: bool = True) -> list[str]:
        """Return the resources of all names that are looked up on the way to a path, the last one last.

        :param path: below the folder.
        :param follow: whether a link in the last place is followed.
        """
        return self._walk(path, follow=follow)[0]

    def _walk(self, path: str, *, follow: bool) -> tuple[list[str], str]:
        """The resources of all names on the way to a path, and the path without links."""
        names: list[str] = []
        todo = path[len(self.root) + 1 :].split("/") if path != self.root else []
        here, links = self.root, 0
        while todo:
            here = f"{here}/{todo.pop(0)}"
            names.append(self.name(here))
            if (todo or follow) and links < _LONGEST_CHAIN_OF_LINKS:
                try:
                    status = _lstat(here)
                except OSError:
                    continue
                if not stat.S_ISLNK(status.st_mode):
                    continue
                links += 1
                target = os.path.normpath(os.path.join(os.path.dirname(here), _readlink(here)))  # noqa: PTH118, PTH120
                if not target.startswith(self.root + "/"):
                    break
                todo = [*target[len(self.root) + 1 :].split("/"), *todo]
                here = self.root
        return names, here

    def name(self, path: str) -> str:
        """Return the resource of a name.

        :param path: below the folder.
        """
        return f"name:{path[len(self.root) + 1 :]}"

    def entries(self, path: str) -> str:
        """Return the resource of a folder's list of names.

        :param path: of the folder.
        """
        return f"entries:{self._walk(path, follow=True)[1][len(self.root) + 1 :]}"

    def file(self, path: str | int, *, kind: str = "file", follow: bool = True) -> str | None:
        """Return the resource of the content of a file, or of its lock; None where there is no file.

        :param path: a path or a descriptor.
        :param kind: ``file`` or ``lock``.
        :param follow: whether a link in the last place is followed.
        """
        try:
            status = _fstat(path) if isinstance(path, int) else _stat(path) if follow else _lstat(path)
        except OSError:
            return None
        return f"{kind}:{status.st_dev}:{status.st_ino}"


# The calls as they were before ``visible_calls`` replaced them.
_stat, _lstat, _fstat, _readlink = os.stat, os.lstat, os.fstat, os.readlink
