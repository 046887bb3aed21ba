"""Collection of DAG files: a file that names ``DbtDag`` or ``DbtTaskGroup`` has an item for each check."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv.dag_checks import report as summary
from pytest_cosmos_venv.dag_checks.checks import CHECKS, NotChecked, Question, answer
from pytest_cosmos_venv.dag_checks.record import DagRecord
from pytest_cosmos_venv.dag_checks.store import SEEDS, RecordStore
from pytest_cosmos_venv.environments.dbt_releases import DbtRelease

NAME = "cosmos_dag_checks"
"""The name under which pytest knows this plugin."""
RECORD = pytest.StashKey[DagRecord]()
"""The stash key of the record of a check's DAG file."""
_HOLDS_DBT = re.compile(rb"\b(?:DbtDag|DbtTaskGroup)\b")


class DagChecks:
    """The plugin of a run with ``--cosmos-dags``.

    ``is_update`` (whether snapshots are written) and ``releases`` are values of the run. ``files`` are the DAG files
    that the run has collected, by name.

    :param config: the configuration of the run.
    :param run: the folder of the records, which all workers share.
    :param kept: the folder of environments, which all workers share.
    :param implementation: the implementation that was named; None: none was.
    :param releases: the releases of dbt. All checks are made with each release; empty: each file's own dbt lists nodes.
    """

    def __init__(
        self,
        config: pytest.Config,
        *,
        run: Path,
        kept: Path,
        implementation: str | None,
        releases: Sequence[DbtRelease],
    ) -> None:
        self.is_update: bool = config.option.cosmos_update_snapshots
        self.releases = releases
        self.files: dict[str, Path] = {}
        self._run = run
        self._kept = kept
        self._config = config
        self._implementation = implementation
        self._found: summary.Found = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
        """Make a collector of a DAG file, in the place of the module that pytest would import.

        :param file_path: the file.
        :param parent: the collector of its folder.
        """
        found = yield
        if not self._is_dag_file(file_path):
            return found
        return [DagFile.from_parent(parent, path=file_path, checks=self)]

    def _is_dag_file(self, file: Path) -> bool:
        if file.suffix != ".py" or file.name == "conftest.py":
            return False
        patterns: list[str] = self._config.getini("python_files")
        if any(fnmatch(str(file) if "/" in pattern else file.name, pattern) for pattern in patterns):
            return False
        try:
            return _HOLDS_DBT.search(file.read_bytes()) is not None
        except OSError:
            return False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Show the DAG file as the place of a skipped check, instead of a line in this module.

        :param item: the check.
        """
        report = yield
        if isinstance(item, DagCheck) and report.skipped and isinstance(report.longrepr, tuple):
            report.longrepr = (item.parent.nodeid, 0, f"{item.name}: {report.longrepr[2].removeprefix('Skipped: ')}")
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect the result of a check; reports of workers come here too.

        :param report: the report.
        """
        summary.take(self._found, report)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write the table.

        :param terminalreporter: pytest's reporter.
        """
        if not self._found or hasattr(self._config, "workerinput"):
            return
        terminalreporter.write_sep("=", "DAG files")
        for line in summary.table(self._found):
            terminalreporter.write_line(line)

    def store_of(self, file: Path, release: DbtRelease | None) -> RecordStore:
        """Return the store of a file's records.

        :param file: the DAG file.
        :param release: the release of dbt that lists nodes; None: the file's own dbt does.
        """
        return RecordStore(
            run=self._run,
            kept=self._kept,
            dags_folder=self._dags_folder(file),
            python_path=tuple(str(self._config.rootpath / each) for each in self._config.getini("pythonpath")),
            implementation=self._implementation,
            release=release,
        )

    def _dags_folder(self, file: Path) -> Path | None:
        """Return the folder that was named on the command line and holds a file; None where the file was named."""
        named = (self._config.invocation_params.dir / str(each).partition("::")[0] for each in self._config.args)
        folders = [folder.resolve() for folder in named if folder.is_dir() and file.is_relative_to(folder.resolve())]
        return max(folders, key=lambda folder: len(folder.parts), default=None)


class DagFile(pytest.File):
    """A DAG file with its checks.

    :param checks: the plugin, which knows the settings and the records.
    :param **arguments: of pytest's own class.
    """

    def __init__(self, *, checks: DagChecks, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.checks = checks

    def collect(self) -> Iterator[DagCheck]:
        """Yield an item for each check and release."""
        self.checks.files[self.nodeid] = self.path
        for check in CHECKS:
            for release in self.checks.releases or (None,):
                name = f"{check}[dbt-{release.name}]" if release else check
                yield DagCheck.from_parent(self, name=name, check=check, release=release)


class DagCheck(pytest.Item):
    """One check of a DAG file.

    :param check: the name of the check.
    :param release: the release of dbt that lists nodes; None: the file's own dbt does.
    :param **rest: the parameters of pytest.
    """

    parent: DagFile

    def __init__(self, *, check: str, release: DbtRelease | None, **rest: Any) -> None:
        super().__init__(**rest)
        self.check = check
        self.release = release

    def runtest(self) -> None:
        """Make the check.

        :raises pytest.fail.Exception: it failed.
        """
        __tracebackhide__ = True
        checks = self.parent.checks
        store = checks.store_of(self.path, self.release)
        record = self.stash[RECORD] = store.record(self.path)
        self._tell(record)
        found = answer(
            self.check,
            Question(
                file=self.path,
                name=self.parent.nodeid,
                record=lambda seed: record if seed == SEEDS[0] else store.record(self.path, seed),
                others=self._others,
                # With several releases the snapshot holds the shape of the first release, with which the others are
                # compared.
                written=self._first_record if checks.is_update else None,
            ),
        )
        if isinstance(found, NotChecked):
            if found.is_gap and os.environ.get("CI", "").lower() not in ("", "0", "false"):
                pytest.fail(
                    f"{found.reason}\n(With CI=true in the environment nothing may stay unchecked.)", pytrace=False
                )
            pytest.skip(found.reason)
        if found is not None:
            pytest.fail(found, pytrace=False)

    def _tell(self, record: DagRecord) -> None:
        """Add the data of the summary to reports and JUnit files."""
        self.user_properties.append(("cosmos_dags_file", self.parent.nodeid))
        if self.release is not None:
            self.user_properties.append(("cosmos_dags_release", self.release.name))
        self.user_properties.append(("cosmos_dags_seconds", f"{record.seconds:.3f}"))
        self.user_properties.append(("cosmos_dags_tasks", str(record.task_count)))

    def _first_record(self) -> DagRecord:
        checks = self.parent.checks
        return checks.store_of(self.path, next(iter(checks.releases), None)).record(self.path)

    def _others(self) -> dict[str, DagRecord]:
        checks = self.parent.checks
        others = {name: file for name, file in checks.files.items() if file != self.path}
        return {name: checks.store_of(file, self.release).record(file) for name, file in others.items()}

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return the place of the item for reports."""
        return self.path, None, f"{self.parent.nodeid}::{self.name}"
