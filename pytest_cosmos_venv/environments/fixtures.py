"""Fixtures of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_cosmos_venv.environments.fake_venv import FakeVenv
    from pytest_cosmos_venv.environments.package_index import PackageIndex
    from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
    from pytest_cosmos_venv.sharing import SharedFolders


@pytest.fixture
def cosmos_fake_venv(_cosmos_fake_venv: FakeVenv) -> FakeVenv:
    """A directory that is a virtual environment, made in milliseconds, with a ``dbt`` that does as scripted.

    ``.dbt`` (for ``ExecutionConfig(dbt_executable_path=...)``), ``.python``, ``.path``; ``.script("run", exit_code=2)``
    says what calls do, ``.calls`` what they were told. ``cosmos_fake_venv(dbt_version=..., strict=True, ...)`` makes
    another one. What is still running at the end of the test is killed.
    """
    return _cosmos_fake_venv


@pytest.fixture
def cosmos_wheelhouse(_cosmos_wheelhouse: Wheelhouse) -> Wheelhouse:
    """A folder of real wheels to install from without network: look-alikes of dbt-core and of the usual adapters.

    For the length of the test pip and uv know no other place. ``.pip_install_options`` makes any operator install
    from it; ``.add_dbt(version)``, ``.add_adapter(name)``, ``.add_sdist(...)`` and ``.add_broken(...)`` add to it.
    The installed ``dbt`` does as ``.script(...)`` says, and ``.calls`` shows what it was told.
    """
    return _cosmos_wheelhouse


@pytest.fixture
def cosmos_package_index(_cosmos_package_index: PackageIndex) -> PackageIndex:
    """What ``cosmos_wheelhouse`` holds, behind HTTP on loopback, where pip and uv ask for it during the test.

    ``.pip_install_options`` makes any operator install from it; ``.require_login(...)``, ``.fault(...)`` and
    ``.delay(...)`` make it difficult, ``.requests`` shows what it was asked.
    """
    return _cosmos_package_index


@pytest.fixture
def _cosmos_fake_venv(tmp_path: Path) -> Iterator[FakeVenv]:
    """What ``cosmos_fake_venv`` gives."""
    from contextlib import ExitStack

    from pytest_cosmos_venv.environments.fake_venv import fake_venv

    family: list[FakeVenv] = []
    with ExitStack() as stack:
        yield fake_venv(tmp_path / "fake-venv", family)
        for each in family:
            stack.callback(each.close)


@pytest.fixture(scope="session")
def _cosmos_shared_wheelhouse(_cosmos_shared: SharedFolders) -> Path:
    """One folder for all tests, workers and runs: what is installed with equal options is equal."""
    from pytest_cosmos_venv.environments.wheelhouse import build_wheelhouse, wheelhouse_key

    return _cosmos_shared.get("wheelhouse", wheelhouse_key(), build_wheelhouse)


@pytest.fixture
def _cosmos_wheelhouse(_cosmos_shared_wheelhouse: Path, tmp_path: Path) -> Iterator[Wheelhouse]:
    """What ``cosmos_wheelhouse`` gives."""
    import shutil

    from pytest_cosmos_venv.environments import installer_variables
    from pytest_cosmos_venv.environments.wheelhouse import extend_wheelhouse

    root = tmp_path / "cosmos-wheelhouse"
    root.mkdir()
    wheelhouse = extend_wheelhouse(_cosmos_shared_wheelhouse, root)
    # uv links what it installs to its cache, so a test that spoils a file would spoil it for others.
    cache = root / "uv-cache"
    try:
        with installer_variables.only({**wheelhouse.environment, "UV_CACHE_DIR": str(cache)}):
            yield wheelhouse
            wheelhouse.close()
    finally:
        shutil.rmtree(cache, ignore_errors=True)


@pytest.fixture
def _cosmos_package_index(_cosmos_wheelhouse: Wheelhouse) -> Iterator[PackageIndex]:
    """What ``cosmos_package_index`` gives."""
    from pytest_cosmos_venv.environments.package_index import serve_wheelhouse

    with pytest.MonkeyPatch.context() as patch:

        def lead_installers_to(index: PackageIndex) -> None:
            for name, value in index.environment.items():
                patch.setenv(name, value)

        with serve_wheelhouse(_cosmos_wheelhouse, changed=lead_installers_to) as index:
            lead_installers_to(index)
            yield index
