"""dbt projects as test items: each project is compiled and built on DuckDB with each release of dbt of the run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv.environments.dbt_releases import DbtRelease
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.shared_folders import SharedFolders
from pytest_cosmos_venv.throwaway import throwaway_folder
from pytest_cosmos_venv.upgrades.release_record import Command, commands_of, parsed
from pytest_cosmos_venv.warehouse.dbt_result import DbtFailed, DbtResult
from pytest_cosmos_venv.warehouse.duckdb_warehouse import DuckDBWarehouse
from pytest_cosmos_venv.warehouse.given_rows import Relation, quoted
from pytest_cosmos_venv.warehouse.warehouses import CosmosDuckDB

COMPILE, BUILD = "compile", "build"
SOURCES_OPTION = "cosmos_dbt_sources"
COMMANDS = pytest.StashKey[tuple[Command, ...]]()
"""The records of the dbt commands of an item."""
_LINE = re.compile(r"(?P<source>\S+?\.\S+?)\s*:\s*(?P<file>\S.*)")
_PARSED = ("nodes", "sources", "exposures", "metrics", "macros", "unit_tests")


def read_sources(lines: Sequence[str], *, root: Path) -> dict[str, Path]:
    """Return source -> file of its rows.

    :param lines: the lines of ``cosmos_dbt_sources`` in the ini file: ``raw.ships: tests/ships.csv``.
    :param root: the folder that paths are relative to.
    :raises ToolkitMisuse: a line has another form, or its file does not exist.
    """
    found = {}
    for line in lines:
        match = _LINE.fullmatch(line.strip())
        file = root / match["file"] if match else None
        if match is None or file is None or not file.is_file():
            raise ToolkitMisuse(
                f"{SOURCES_OPTION} in the ini file: {line!r} names no source with an existing file. Write "
                "SOURCE.TABLE: FILE, such as raw.ships: tests/ships.csv."
            )
        found[match["source"]] = file
    return found


class ProjectFile(pytest.File):
    """The file ``dbt_project.yml`` of a project, which is compiled and built with each release.

    :param releases: the releases of the run.
    :param sources: source -> file of its rows.
    :param kept: the folder of environments, which all workers share.
    :param **rest: the parameters of pytest.
    """

    def __init__(
        self,
        *,
        releases: Sequence[DbtRelease],
        sources: Mapping[str, Path],
        kept: Path,
        **rest: Any,
    ) -> None:
        super().__init__(**rest)
        self.sources = sources
        self._releases = releases
        self._folders = SharedFolders(root=kept)

    def collect(self) -> Iterator[ProjectItem]:
        """Return an item for each step and release."""
        for step in (COMPILE, BUILD):
            for release in self._releases:
                name = f"{step}[dbt-{release.name}]"
                yield ProjectItem.from_parent(self, name=name, step=step, release=release)

    @contextmanager
    def warehouse(self, release: DbtRelease) -> Iterator[DuckDBWarehouse]:
        """Yield an empty warehouse of the project.

        :param release: the release of dbt.
        """
        with (
            throwaway_folder("cosmos-dbt-") as scratch,
            closing(
                CosmosDuckDB(self._folders, folder=scratch, root=self.config.rootpath, release=release)
            ) as warehouses,
        ):
            yield warehouses(self.path.parent)


class ProjectItem(pytest.Item):
    """One step with one release of dbt.

    :param step: ``compile`` or ``build``.
    :param release: the release of dbt.
    :param **rest: the parameters of pytest.
    """

    parent: ProjectFile

    def __init__(self, *, step: str, release: DbtRelease, **rest: Any) -> None:
        super().__init__(**rest)
        self.step = step
        self.release = release

    def runtest(self) -> None:
        """Run dbt.

        :raises DbtFailed: dbt failed.
        """
        with self.parent.warehouse(self.release) as warehouse:
            contents: dict[str, str] = {}
            known: tuple[Command, ...] = ()
            try:
                if self.step == COMPILE:
                    warehouse.run_dbt("compile")
                    known = (_parsed(warehouse),)
                else:
                    self._build(warehouse, contents)
            finally:
                self.stash[COMMANDS] = (*commands_of(warehouse.runs, contents), *known)

    def _build(self, warehouse: DuckDBWarehouse, contents: dict[str, str]) -> None:
        sources = {f"{each['source_name']}.{each['name']}": each for each in warehouse.manifest["sources"].values()}
        given = {name: file for name, file in self.parent.sources.items() if name in sources}
        missing = [name for name, each in sources.items() if name not in given and not _reads_a_file(each)]
        if missing:
            pytest.skip(
                f"there are no rows for the source {missing[0]}: name a file in the ini file, "
                f"{SOURCES_OPTION} = {missing[0]}: tests/{missing[0]}.csv"
            )
        for name, file in given.items():
            warehouse.give(name, file)
        result = warehouse.build(check=False)
        contents.update(_contents(warehouse, result))
        if not result.succeeded:
            raise DbtFailed(str(result))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return dbt's own messages where dbt failed: a Python traceback of this module would not help.

        :param excinfo: the error.
        :param style: the style that pytest asks for.
        """
        if isinstance(excinfo.value, DbtFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return the place that reports name: the project's file."""
        return self.path, None, f"{self.path.parent.name}: {self.name}"


def _reads_a_file(source: Mapping[str, Any]) -> bool:
    return any("external_location" in (part or {}) for part in (source.get("meta"), source.get("source_meta")))


def _parsed(warehouse: DuckDBWarehouse) -> Command:
    """Return the record of the nodes of the project itself, on which task ids and tests depend."""
    manifest = warehouse.manifest
    own = f".{manifest['metadata']['project_name']}."
    return parsed(name for kind in _PARSED for name in manifest.get(kind, {}) if own in name)


def _contents(warehouse: DuckDBWarehouse, result: DbtResult) -> dict[str, str]:
    """Return unique id -> number and digest of the rows, for each table and view that dbt has built."""
    relations = warehouse.relations()
    queries = [
        _content_query(warehouse, node.unique_id, relations[node.unique_id])
        for node in result.nodes.values()
        if node.status == "success" and node.unique_id in relations
    ]
    # One query for all nodes, because each query starts a process.
    rows = warehouse.query(" union all ".join(queries)) if queries else []
    return {row["node"]: f"{row['rows']} rows, {str(row['digest'])[:8]}" for row in rows}


def _content_query(warehouse: DuckDBWarehouse, unique_id: str, relation: Relation) -> str:
    columns = "*"
    if unique_id.startswith("snapshot."):
        # dbt's own columns of a snapshot hold the time of the run.
        names = (row["column_name"] for row in warehouse.query(f"describe {relation}"))
        columns = ", ".join(quoted(name) for name in names if not name.startswith("dbt_"))
    return (
        f"(from (from (from {relation} select {columns}) t select t::varchar as line) select '{unique_id}' as node, "
        "count(*) as rows, md5(string_agg(line, chr(10) order by line)) as digest)"
    )
