"""Projects, and one server for all tests of a worker that may keep what is parsed of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dbt.warm.conftest import end_all_servers
from tests.dbt.warm.server.parse_cache.project import Kept, made_pier


@pytest.fixture(scope="module")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all tests of a worker: each start takes as long as a test."""
    tmp_path_factory.getbasetemp()  # or it would be made inside of the next, whose path is to be short
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="cv-", dir="/tmp") as short:
        patch.setattr(tempfile, "tempdir", short)
        patch.delenv("XDG_RUNTIME_DIR", raising=False)
        try:
            yield
        finally:
            end_all_servers()


@pytest.fixture
def folder(_server: None, tmp_path: Path) -> Path:
    """The folder of the projects."""
    return tmp_path


@pytest.fixture
def pier(folder: Path) -> Kept:
    """A project in which much can change."""
    return made_pier(folder / "pier-0123456789abcdef")
