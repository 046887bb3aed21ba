"""The scheduler that pytest-xdist holds, in the process that hands out the tests; loaded only where xdist is in use.

Whether there are races is not known until all workers have collected. Then the proxy stands for the scheduler that was
chosen, untouched, or for one that hands out races before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_cosmos_venv.marked_races.forms import OFFER
from pytest_cosmos_venv.marked_races.mark import find_races
from pytest_cosmos_venv.marked_races.scheduling import RaceScheduling

if TYPE_CHECKING:
    from pytest_cosmos_venv.marked_races.scheduling import Worker


class SchedulerProxy:
    """The scheduler that pytest-xdist holds: first workers collect, then it is the chosen one or one for races.

    :param inner: the scheduler that was chosen.
    :param root: folder of all races of the run.
    :param workers: number of workers that there will be.
    """

    def __init__(self, inner: Any, *, root: Path, workers: int) -> None:
        self._inner = inner
        self._root = root
        self._target: Any = CollectionPhase(self, workers)

    @property  # type: ignore[misc] # mypy knows it as something to be written, too
    def __class__(self) -> type:
        # pytest-xdist prints its name, and plugins may ask what was chosen.
        return type(self._inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def choose(self, collections: dict[Worker, list[str]]) -> None:
        """Hand the tests out: all workers have collected.

        :param collections: worker -> ids of what it has collected.
        """
        ids = next(iter(collections.values()))
        races = find_races(ids, workers=len(collections))
        # Where they differ, the chosen scheduler says so in its own words.
        if races and all(other == ids for other in collections.values()):
            # gw0, gw1, …, gw10: copy 0 runs in gw0, which makes a report easier to read.
            nodes = sorted(collections, key=lambda node: (len(node.gateway.id), node.gateway.id))
            self._target = RaceScheduling(self._inner, races, nodes, ids, self._root)
            self._target.start()
            return
        self._target = self._inner
        for node in collections:
            self._inner.add_node(node)
        for node, collection in collections.items():
            self._inner.add_node_collection(node, collection)
        self._inner.schedule()

    def down(self, node: Worker, error: object | None) -> None:
        """Take note that a worker has ended, or crashed.

        :param node: the worker.
        :param error: why it crashed; None: it was stopped.
        """
        if isinstance(self._target, RaceScheduling):
            self._target.down(node, error)


class CollectionPhase:
    """The scheduler while workers come up and collect; nothing is handed out.

    :param proxy: chooses the scheduler when all have collected.
    :param workers: number of workers that there will be.
    """

    tests_finished = False
    has_pending = False

    def __init__(self, proxy: SchedulerProxy, workers: int) -> None:
        self._proxy = proxy
        self._workers = workers
        self._collections: dict[Worker, list[str]] = {}
        self.nodes: list[Worker] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._proxy._inner, name)

    @property
    def collection_is_completed(self) -> bool:
        """Whether all workers have collected."""
        return len(self._collections) >= self._workers

    def add_node(self, node: Worker) -> None:
        """Take in a worker that has come up.

        :param node: the worker.
        """
        self.nodes.append(node)

    def add_node_collection(self, node: Worker, collection: Sequence[str]) -> None:
        """Take in what a worker has collected.

        :param node: the worker.
        :param collection: ids of tests.
        """
        self._collections[node] = list(collection)

    def remove_node(self, node: Worker) -> str | None:
        """Take out a worker that died while it collected. It has died of no test.

        :param node: the worker.
        :raises KeyError: there is no such worker.
        """
        if node not in self.nodes:
            raise KeyError(node)
        self.nodes.remove(node)
        self._collections.pop(node, None)
        return None

    def schedule(self) -> None:
        """Let the proxy choose the scheduler."""
        self._proxy.choose(self._collections)


_PROXY = pytest.StashKey[SchedulerProxy]()


def offer(node: Worker) -> None:
    """Say in the worker's input that races are handed out here; nothing where they cannot be.

    :param node: the worker that is about to start.
    """
    root = _root(node.config)
    if root is not None:
        node.workerinput[OFFER] = {"folder": str(root), "workers": len(_specs(node.config))}


def replace_scheduler(config: pytest.Config, scheduler: Any) -> Any:
    """The scheduler with races taken out of its sight; the same one where copies in several workers cannot meet.

    :param config: the configuration of the run.
    :param scheduler: the one that pytest-xdist or a plugin has chosen; None: it was not chosen yet.
    """
    root = _root(config)
    if root is None or scheduler is None:
        return scheduler
    config.stash[_PROXY] = SchedulerProxy(scheduler, root=root, workers=len(_specs(config)))
    return config.stash[_PROXY]


def down(node: Worker, error: object | None) -> None:
    """Take note that a worker has ended, or crashed.

    :param node: the worker.
    :param error: why it crashed; None: it was stopped.
    """
    found = node.config.stash.get(_PROXY, None)
    if found is not None:
        found.down(node, error)


def _root(config: pytest.Config) -> Path | None:
    """The folder where copies in several workers meet; None: each worker runs all tests, or is elsewhere."""
    factory: pytest.TempPathFactory | None = getattr(config, "_tmp_path_factory", None)
    if factory is None or config.getoption("dist") == "each" or not all("popen" in spec for spec in _specs(config)):
        return None
    return factory.getbasetemp() / "cosmos-races"


def _specs(config: pytest.Config) -> list[str]:
    from xdist.workermanage import parse_tx_spec_config  # type: ignore[import-untyped]

    specs: list[str] = parse_tx_spec_config(config)
    return specs
