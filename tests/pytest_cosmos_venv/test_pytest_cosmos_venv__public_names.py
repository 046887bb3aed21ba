"""The toolkit's public names are there, each loaded only when it is asked for."""

from __future__ import annotations

import pytest

import pytest_cosmos_venv

MOST = 25


def test_every_public_name_is_there() -> None:
    names = pytest_cosmos_venv.__all__

    assert [name for name in names if getattr(pytest_cosmos_venv, name) is None] == []
    assert set(names) <= set(dir(pytest_cosmos_venv))
    assert len(set(names)) == len(names) <= MOST


def test_an_unknown_name_is_refused_with_what_is_offered() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'Wheelbarrow'; it offers .*CosmosAirflow"):
        _ = pytest_cosmos_venv.Wheelbarrow
