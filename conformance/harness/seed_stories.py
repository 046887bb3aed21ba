"""The suite's own seed scenarios: each refusal asked alone, and the memory that a large seed needs.

The toolkit's scenarios ask at once whether ``when_seed_changes`` is refused, in which words, and without a library.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from pytest_cosmos_venv.seeds.ready_made import OTHER_MODES
from pytest_cosmos_venv.seeds.scenario_model import BUILD, CHANGED, MODES, Chapter

if TYPE_CHECKING:
    from pytest_cosmos_venv import SeedScenario

CHANGES = "when_seed_changes"
GROUP = "port/north"
MIB = 2**20
LARGE = {size: f"a-seed-of-{size}-mib-needs-little-memory" for size in (256, 1024)}
"""MiB of a large seed -> the id of the scenario that loads it."""
_MOST = 64
"""MiB of memory that a large seed may need more than a small one."""
_CHAPTER = Chapter(behavior=CHANGES)
STORIES = _CHAPTER.scenarios


def _lacks_a_library(harbor: SeedScenario) -> bool:
    """Whether a library of the mode is missing here."""
    with suppress(Exception):
        try:
            harbor.build()
        except ImportError:
            harbor.trace.add("build the DAG: a library of the mode is missing")
            return True
    return False


def _refused(harbor: SeedScenario) -> None:
    if not _lacks_a_library(harbor):
        harbor.must_be_refused()


def _refused_in_words(harbor: SeedScenario) -> None:
    if not _lacks_a_library(harbor):
        harbor.must_be_refused(CHANGES, harbor.setup.execution_mode)


def _refused_without_a_library(harbor: SeedScenario) -> None:
    harbor.must_be_refused()


def _loading(size: int) -> Callable[[SeedScenario], None]:
    def load(harbor: SeedScenario) -> None:
        harbor.run().must("ran")
        before = _peak()
        harbor.grow(size=size * MIB)
        harbor.run().must("ran")
        more = (_peak() - before) // MIB
        required = f"a seed of {size} MiB needs less than {_MOST} MiB of memory more than a small one"
        harbor.require(more < _MOST, required, f"{more} MiB more")

    return load


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


for _mode in OTHER_MODES:
    _CHAPTER.add(f"refused-with-{_mode}", MODES, _refused, execution_mode=_mode)
    _CHAPTER.add(f"refused-in-words-with-{_mode}", MODES, _refused_in_words, execution_mode=_mode)
    _CHAPTER.add(f"refused-without-the-library-of-{_mode}", MODES, _refused_without_a_library, execution_mode=_mode)
_CHAPTER.add("refused-with-a-mode-in-a-group", MODES, _refused, execution_mode=OTHER_MODES[0], places=(GROUP,))
_CHAPTER.add("refused-with-build", BUILD, _refused, test_behavior="build")
_CHAPTER.add("refused-with-build-in-a-group", BUILD, _refused, test_behavior="build", places=(GROUP,))
for _size, _name in LARGE.items():
    _CHAPTER.add(_name, CHANGED, _loading(_size), model=None)
