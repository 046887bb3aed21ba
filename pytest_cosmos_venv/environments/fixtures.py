"""Fixtures of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse


@pytest.fixture(scope="session")
def cosmos_wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    """A folder of real wheels to install from without network: look-alikes of dbt-core, dbt-duckdb, dbt-postgres.

    ``.pip_install_options`` makes any operator install from it, ``.add_dbt(version)`` adds one. The installed ``dbt``
    takes dbt's command line and writes down each call where ``COSMOS_DBT_RECORD_DIR`` names a folder;
    ``read_dbt_calls(folder)`` reads it.
    """
    from pytest_cosmos_venv.environments.wheelhouse import build_wheelhouse

    return build_wheelhouse(tmp_path_factory.mktemp("cosmos-wheelhouse"))
