"""Python looks for no garbage while we load, and then as before."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cosmos_venv.processes.gc_pause import no_collection


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    was_enabled = gc.isenabled()
    yield
    (gc.enable if was_enabled else gc.disable)()


@pytest.mark.parametrize("is_enabled", [True, False])
def test_the_collector_is_afterwards_as_it_was(is_enabled: bool) -> None:
    (gc.enable if is_enabled else gc.disable)()

    with no_collection(), no_collection():
        within = gc.isenabled()

    assert not within
    assert gc.isenabled() is is_enabled


def test_an_exception_passes_and_leaves_the_collector_as_it_was() -> None:
    gc.enable()

    @no_collection()
    def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()

    assert gc.isenabled()


# In a process of its own: it says what the collector has looked at.
LOOKED_AT = """
import gc, sys
from cosmos_venv.processes.gc_pause import no_collection
if "freeze" in sys.argv:
    gc.freeze()
frozen, looked = gc.get_freeze_count(), []
gc.callbacks.append(lambda phase, info: looked.append(info["generation"]) if phase == "start" else None)
with no_collection():
    made = [[each] for each in range(100_000)]
    during = list(looked)
print(during, len(gc.get_objects(generation=2)) >= 100_000, gc.get_freeze_count() == frozen)
"""


@pytest.mark.parametrize(
    ("words", "is_old"), [pytest.param([], True, id="nothing-frozen"), pytest.param(["freeze"], False, id="frozen")]
)
def test_what_was_made_meanwhile_counts_as_old_unless_somebody_has_frozen_what_there_is(
    words: list[str], is_old: bool
) -> None:
    done = subprocess.run([sys.executable, "-c", LOOKED_AT, *words], capture_output=True, text=True, check=True)

    during, counts_as_old, is_as_frozen = done.stdout.rsplit(" ", 2)
    assert (during, is_as_frozen.strip()) == ("[]", "True")
    assert counts_as_old == str(is_old)


def test_for_little_nobody_asks_what_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes longer than looking through what was made; in Airflow's DAG processor, for each DAG file."""
    asked: list[bool] = []

    def get_freeze_count() -> int:
        asked.append(True)
        return 0

    monkeypatch.setattr(gc, "get_freeze_count", get_freeze_count)
    gc.enable()
    gc.collect()

    with no_collection():
        made = [[each] for each in range(1000)]
    assert (len(made), asked) == (1000, [])

    with no_collection():
        made = [[each] for each in range(100_000)]
    assert (len(made), asked) == (100_000, [True])


def test_memory_that_nothing_stands_in_goes_back_to_the_system() -> None:
    told = subprocess.run([sys.executable, "-c", GIVES_BACK], capture_output=True, text=True, check=True)

    before, after = map(int, told.stdout.split())
    assert after < before - 20_000


GIVES_BACK = """
import re
from pathlib import Path
from cosmos_venv.processes.gc_pause import give_back

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

once = b"x" * 31_000_000
del once  # from here on the C library keeps pieces of that size
text, wall = b"x" * 30_000_000, [bytes(2000) for _ in range(1000)]
del text
before = resident()
give_back()
print(before, resident())
"""
