"""Fixtures that belong to no room: the implementation under test, and what the workers of a run share."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_cosmos_venv.implementation import Implementation
    from pytest_cosmos_venv.sharing import SharedFolders


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A misuse is told without a traceback; which line of the test it was is told beside it."""
    report = yield
    from pytest_cosmos_venv.errors import ToolkitMisuse, blamed_line

    if call.excinfo is not None and call.excinfo.errisinstance(ToolkitMisuse):
        line = blamed_line(call.excinfo.tb, item.config.rootpath)
        if line is not None:
            report.sections.append(("cosmos: used wrongly here", line))
    return report


@pytest.fixture(scope="session")
def cosmos_implementation(_cosmos_implementation: Implementation) -> Implementation:
    """The implementation under test: ``.module("operators.local")`` imports one of its modules.

    The one that ``--cosmos-implementation`` (or ``cosmos_implementation`` in the ini file) names, else the only one
    that is installed. ``.adapter()`` makes the adapter where ``module:Adapter`` was named.
    """
    return _cosmos_implementation


@pytest.fixture(scope="session")
def _cosmos_implementation(pytestconfig: pytest.Config) -> Implementation:
    """What ``cosmos_implementation`` gives."""
    from pytest_cosmos_venv.errors import ToolkitMisuse
    from pytest_cosmos_venv.implementation import ImplementationError, find_implementation

    try:
        return find_implementation(named_option(pytestconfig, "cosmos_implementation"))
    except ImplementationError as error:
        raise ToolkitMisuse(str(error)) from None


@pytest.fixture(scope="session")
def _cosmos_shared(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> SharedFolders:
    """Folders that all xdist workers share, kept between runs where pytest keeps a cache."""
    from pytest_cosmos_venv.sharing import SharedFolders

    named = named_option(pytestconfig, "cosmos_cache_dir")
    if named is not None:
        return SharedFolders(root=pytestconfig.rootpath / Path(named).expanduser())
    kept = _in_the_cache_of(pytestconfig)
    if kept is not None:
        return SharedFolders(root=kept)
    base = tmp_path_factory.getbasetemp()
    # A worker of xdist has a base of its own inside that of the run.
    return SharedFolders(root=(base.parent if hasattr(pytestconfig, "workerinput") else base) / "cosmos-venv")


def named_option(config: pytest.Config, name: str) -> str | None:
    """Of the command line, else of the ini file; None where neither says anything."""
    given: str | None = config.getoption(name)
    return given if given is not None else config.getini(name) or None


def _in_the_cache_of(config: pytest.Config) -> Path | None:
    """A folder in pytest's cache; None where it keeps none, or may not write there."""
    cache: pytest.Cache | None = getattr(config, "cache", None)
    try:
        folder = None if cache is None else Path(cache.mkdir("cosmos-venv"))
    except OSError:
        return None
    return folder if folder is not None and os.access(folder, os.W_OK) else None
