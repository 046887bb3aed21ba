"""Python looks for no garbage while we load, and then as before."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cosmos_venv.project.gc_pause import no_collection


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
from cosmos_venv.project.gc_pause import no_collection
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
