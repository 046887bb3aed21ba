"""The plugin of a run with several releases of dbt: collects projects, gathers records and prints the differences."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv.dag_checks.collection import RECORD, DagCheck
from pytest_cosmos_venv.environments.dbt_releases import DbtRelease
from pytest_cosmos_venv.upgrades.projects import COMMANDS, ProjectFile, ProjectItem
from pytest_cosmos_venv.upgrades.release_comparison import table
from pytest_cosmos_venv.upgrades.release_record import ATTRIBUTE, Command, ReleaseRecord, commands_of, import_of
from pytest_cosmos_venv.warehouse.warehouses import RELEASE_FIXTURE, RESULTS

NAME = "cosmos_dbt_releases"
"""The name under which pytest knows this plugin."""
_PROJECT_FILE = "dbt_project.yml"
_PACKAGES = ("dbt_packages", "dbt_modules")
_NOT_OF_THE_USER = frozenset({*_PACKAGES, "target", "site-packages"})


class ReleaseSession:
    """The plugin of a run with several releases.

    :param releases: the releases; the others are compared with the first one.
    :param sources: source -> file of its rows.
    :param kept: the folder of environments, which all workers share.
    """

    def __init__(self, releases: Sequence[DbtRelease], *, sources: Mapping[str, Path], kept: Path) -> None:
        self._releases = releases
        self._sources = sources
        self._kept = kept
        self._records: list[ReleaseRecord] = []

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        """Leave out installed packages: ``dbt deps`` links local packages, and the links may form a cycle.

        :param collection_path: the file or folder.
        """
        return True if collection_path.name in _PACKAGES else None

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Make a collector for a dbt project; installed packages and build folders are left out.

        :param file_path: the file.
        :param parent: the collector of its folder.
        """
        inside = Path(os.path.relpath(file_path, parent.config.rootpath))  # the checkout may lie below such a folder
        if file_path.name != _PROJECT_FILE or _NOT_OF_THE_USER.intersection(inside.parts):
            return None
        return ProjectFile.from_parent(
            parent, path=file_path, releases=self._releases, sources=self._sources, kept=self._kept
        )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach the record of dbt's commands to the report, so that workers of pytest-xdist send it too.

        :param item: the test.
        :param call: the phase of the test that has ended.
        """
        report = yield
        release = _release_of(item)
        commands = _commands_of(item)
        if call.when == "call" and release is not None and commands is not None:
            record = ReleaseRecord(
                test=_name_without(release, item),
                release=release,
                outcome=report.outcome,
                commands=commands,
            )
            setattr(report, ATTRIBUTE, asdict(record))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the record of a report.

        :param report: the report.
        """
        document = getattr(report, ATTRIBUTE, None)
        if document is not None:
            self._records.append(ReleaseRecord(**document))

    def pytest_terminal_summary(self, terminalreporter: Any, config: pytest.Config) -> None:
        """Print the table of differences, except in a worker of pytest-xdist.

        :param terminalreporter: pytest's terminal.
        :param config: the configuration of the run.
        """
        if not self._records or hasattr(config, "workerinput"):
            return
        names = [release.name for release in self._releases]
        terminalreporter.section("dbt releases")
        for line in table(self._records, names):
            terminalreporter.write_line(line)


def _commands_of(item: pytest.Item) -> tuple[Command, ...] | None:
    """Return the records of dbt's commands in a test; None where the test needs no dbt or has not reached it."""
    if COMMANDS in item.stash:
        return item.stash[COMMANDS]
    if isinstance(item, DagCheck) and RECORD in item.stash:
        return (import_of(item.stash[RECORD], item.check),)
    if RESULTS in item.stash:
        return commands_of([run for each in item.stash[RESULTS] for run in each.runs], {})
    return None


def _release_of(item: pytest.Item) -> str | None:
    """Return the release with which a test runs; None where it needs no dbt."""
    if isinstance(item, (ProjectItem, DagCheck)):
        return item.release.name if item.release is not None else None
    callspec = getattr(item, "callspec", None)
    return callspec.params.get(RELEASE_FIXTURE) if callspec is not None else None


def _name_without(release: str, item: pytest.Item) -> str:
    """Return the id of a test without its release, equal for the records of the test with all releases."""
    name, _, parameters = item.name.partition("[")
    part = f"dbt-{release}"
    rest = parameters.removesuffix("]")
    for found in (f"-{part}", f"{part}-", part):
        if found in rest:
            rest = rest.replace(found, "", 1)
            break
    place = item.parent.nodeid if item.parent is not None else ""
    return f"{place}::{name}[{rest}]" if rest else f"{place}::{name}"
