"""Fixtures that belong to no room: the implementation under test, and what the workers of a run share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_cosmos_venv.implementation import Implementation
    from pytest_cosmos_venv.sharing import SharedFolders


@pytest.fixture(scope="session")
def cosmos_implementation(pytestconfig: pytest.Config) -> Implementation:
    """The implementation under test: ``.module("operators.local")`` imports one of its modules.

    The one that ``--cosmos-implementation`` (or ``cosmos_implementation`` in the ini file) names, else the only one
    that is installed.
    """
    from pytest_cosmos_venv.errors import ToolkitMisuse
    from pytest_cosmos_venv.implementation import ImplementationError, find_implementation

    try:
        return find_implementation(_option(pytestconfig, "cosmos_implementation"))
    except ImplementationError as error:
        raise ToolkitMisuse(str(error)) from None


@pytest.fixture(scope="session")
def _cosmos_shared(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> SharedFolders:
    """Folders that all xdist workers share, kept between runs where pytest keeps a cache."""
    from pytest_cosmos_venv.sharing import SharedFolders

    named = _option(pytestconfig, "cosmos_cache_dir")
    if named is not None:
        return SharedFolders(root=pytestconfig.rootpath / named)
    cache: pytest.Cache | None = getattr(pytestconfig, "cache", None)
    if cache is not None:
        return SharedFolders(root=Path(cache.mkdir("cosmos-venv")))
    base = tmp_path_factory.getbasetemp()
    # A worker of xdist has a base of its own inside that of the run.
    return SharedFolders(root=(base.parent if hasattr(pytestconfig, "workerinput") else base) / "cosmos-venv")


def _option(config: pytest.Config, name: str) -> str | None:
    """Of the command line, else of the ini file; None where neither says anything."""
    return config.getoption(name) or config.getini(name) or None
