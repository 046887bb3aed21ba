"""Is the garbage collector left as it was found?"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from cosmos_venv.garbage import no_collection


@pytest.fixture(autouse=True)
def collector_is_on_afterwards() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_the_collector_is_off_within_the_block_and_on_again_after_it() -> None:
    with no_collection(), no_collection():
        assert not gc.isenabled()

    assert gc.isenabled()


def test_it_is_on_again_after_an_error() -> None:
    with pytest.raises(ValueError, match="broken"), no_collection():
        raise ValueError("broken")

    assert gc.isenabled()


def test_who_has_turned_it_off_finds_it_off() -> None:
    gc.disable()

    with no_collection():
        pass

    assert not gc.isenabled()
