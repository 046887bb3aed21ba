"""What does the chosen scheduler of pytest-xdist see of a worker that has races to run first?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_cosmos_venv.racers.xdist_types import Worker


class Lane:
    """A worker as the chosen scheduler sees it. It outlives the worker, where that dies before it has begun a test.

    :param node: the worker.
    :param translation: an index without races to one with them.
    """

    def __init__(self, node: Worker, translation: Sequence[int]) -> None:
        self.node = node
        self.is_open = False
        self.has_begun = False
        self._translation = translation
        self._kept: list[int] = []
        self._asked: list[int] = []
        self._is_shut = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)

    @property
    def shutting_down(self) -> bool:
        return self._is_shut or (self.is_open and self.node.shutting_down)

    @property
    def has_kept(self) -> bool:
        """Whether there are tests for the worker's successor."""
        return bool(self._kept)

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        translated = [self._translation[index] for index in indices]
        if not self.has_begun:
            self._kept += translated
        if self.is_open:
            self.node.send_runtest_some(translated)

    def send_steal(self, indices: Sequence[int]) -> None:
        translated = [self._translation[index] for index in indices]
        if self.is_open:
            self._asked = translated
            self.node.send_steal(translated)
        else:
            self.give_back(translated)
            # As the worker would answer: later, since the scheduler is in the middle of something.
            self.node.notify_inproc("unscheduled", node=self.node, indices=translated)

    def give_back(self, indices: Sequence[int]) -> None:
        """The answer to having been asked: these will be another one's."""
        self._asked = []
        self._kept = [index for index in self._kept if index not in indices]

    def shutdown(self) -> None:
        self._is_shut = True
        if self.is_open:
            self.node.shutdown()

    def open(self) -> None:
        """The worker's last race begins: hand on what was kept, and everything from now on."""
        self.is_open = True
        if self._kept:
            self.node.send_runtest_some(self._kept)
        if self._is_shut:
            self.node.shutdown()

    def begin(self) -> None:
        """The worker's last race is over: from now on what it was sent may have been run."""
        self.has_begun = self.is_open
        if self.has_begun:
            self._kept.clear()

    def lose(self) -> list[int]:
        """The worker has died before it began: everything is kept for its successor but what is returned.

        That is what it was asked to give back and has not answered.
        """
        self.is_open = False
        return self._asked
