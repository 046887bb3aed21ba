"""The maker of warehouses in a test: the value of ``cosmos_duckdb``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pytest_cosmos_venv.environments.dbt_releases import DbtRelease
from pytest_cosmos_venv.environments.kept_dbt import kept_release
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.shared_folders import SharedFolders
from pytest_cosmos_venv.warehouse.duckdb_warehouse import DuckDBWarehouse, ProjectSettings, open_warehouse
from pytest_cosmos_venv.warehouse.given_rows import Row
from pytest_cosmos_venv.warehouse.redirected import redirected

RELEASE_FIXTURE = "_cosmos_dbt_release"
"""The fixture whose parameter is the name of the release."""
RESULTS = pytest.StashKey[list[DuckDBWarehouse]]()
"""The warehouses that a test has made."""
_DUCKDB = "duckdb"
_OWN_SETTINGS = ("type", "path", "schema", "threads")
_Work = TypeVar("_Work")


class CosmosDuckDB:
    """The maker of DuckDB files, each with a real dbt, for one test. ``made`` holds the warehouses so far.

    :param folders: the folders of the cache.
    :param folder: the folder of the test.
    :param root: the root directory of the tests.
    :param release: the release of dbt.
    """

    def __init__(self, folders: SharedFolders, *, folder: Path, root: Path, release: DbtRelease) -> None:
        self._folders = folders
        self._folder = folder
        self._root = root
        self._release = release
        self._stack = ExitStack()
        self.made: list[DuckDBWarehouse] = []

    @property
    def release(self) -> str:
        """The release of dbt, as ``--cosmos-dbt`` names it: ``1.11``."""
        return self._release.name

    def __call__(
        self,
        project: Path | str,
        *,
        sources: Mapping[str, Path | str | Sequence[Row]] | None = None,
        target: str = "dev",
        schema: str = "main",
        threads: int = 1,
        variables: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> DuckDBWarehouse:
        """Return an empty DuckDB file with a real dbt that builds a project in it.

        dbt writes nothing into the project: target folder and log are in the cache. The first call installs dbt into an
        environment, which is kept in the cache.

        :param project: the folder with ``dbt_project.yml``; relative to the root directory of the tests.
        :param sources: source -> content, as for ``give``: ``{"raw.ships": [{"id": 1}]}`` or a file.
        :param target: the name of the target, which the project sees as ``target.name``.
        :param schema: the schema of relations, unless a model says otherwise.
        :param threads: how many nodes dbt builds at the same time.
        :param variables: dbt's variables (``--vars``).
        :param environment: environment variables of dbt beside those of the test.
        :param settings: further settings of the DuckDB profile, such as ``{"extensions": ["json"]}``.
        :raises ToolkitMisuse: there is no such project, dbt cannot be installed, or the project has no such source.
        """
        wrong = sorted(set(settings or ()) & set(_OWN_SETTINGS))
        if wrong:
            raise ToolkitMisuse(
                f"settings: {', '.join(wrong)} cannot be set there. Use the parameters of cosmos_duckdb."
            )
        seen = ProjectSettings(
            path=_project(project, self._root),
            target=target,
            schema=schema,
            threads=threads,
            variables=dict(variables or {}),
            environment=dict(environment or {}),
            settings=dict(settings or {}),
        )
        dbt = kept_release(self._folders, self._release)
        place = self._stack.enter_context(self._folders.free_place(_DUCKDB, f"{dbt.path.name}-{seen.key}"))
        folder = self._folder / f"{_DUCKDB}-{len(self.made) + 1}"
        warehouse = open_warehouse(seen, dbt, place=place, folder=folder, root=self._root)
        self.made.append(warehouse)
        for name, content in (sources or {}).items():
            warehouse.give(name, content)
        return warehouse

    def redirect(self, work: _Work, warehouse: DuckDBWarehouse) -> _Work:
        """Make the dbt tasks of a DAG, or one dbt operator, use a warehouse until the test ends; return ``work``.

        The tasks get the warehouse's profile and dbt; their arguments, retries and callbacks stay. A task that makes a
        virtual environment makes a real one, with the warehouse's dbt and DuckDB in place of its own adapter. Its
        folder is in the cache, so later runs reuse it.

        :param work: the DAG, as Airflow or ``cosmos_airflow.load`` made it, or the operator.
        :param warehouse: a warehouse that this fixture has made.
        :raises ToolkitMisuse: the DAG has no dbt task.
        """
        kept = self._folders.root / f"virtualenvs-{warehouse.dbt.path.name}"
        self._stack.enter_context(redirected(work, warehouse, folder=kept))
        return work

    def close(self) -> None:
        """Restore the profiles of redirected DAGs, and release the places of the cache for other tests."""
        self._stack.close()


def _project(path: Path | str, root: Path) -> Path:
    folder = (root / Path(path).expanduser()).resolve()
    if not (folder / "dbt_project.yml").is_file():
        raise ToolkitMisuse(f"{str(path)!r} is no dbt project: there is no {folder / 'dbt_project.yml'}.")
    return folder
