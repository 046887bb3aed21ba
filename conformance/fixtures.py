"""The fixtures of the checks: the adapter, the harness, and ways to leave evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from pytest_cosmos_venv import AirflowHome, Implementation, TaskRace, Timeline, Wheelhouse

from .adapter import Adapter, open_adapter, require_adapter
from .harness.harness import Harness
from .harness.running import slack, task_timeout
from .options import GLANCE, NATIVE, asked_dbt_kind, asked_profile
from .reporting.verdicts import EVIDENCE, PICTURE, VERDICT, Verdict

Picture = Callable[[Timeline, str], None]
DoesNotApply = Callable[[str], NoReturn]
IMPLEMENTATION = pytest.StashKey[Implementation]()


def adapter_of(config: pytest.Config) -> Adapter:
    """The adapter of the judged implementation.

    :param config: the configuration of a run whose implementation was chosen.
    """
    implementation = config.stash[IMPLEMENTATION]
    if implementation.adapter_class is None:
        return open_adapter(implementation.import_root)
    return require_adapter(implementation.adapter())


@pytest.fixture(scope="session")
def adapter(request: pytest.FixtureRequest) -> Adapter:
    """The judged implementation; where a plugin has parametrised the tests with names of adapters, that one.

    :param request: carries the name of an adapter, if any.
    """
    named: str | None = getattr(request, "param", None)
    return adapter_of(request.config) if named is None else open_adapter(named)


@pytest.fixture(scope="session")
def shared_directory(adapter: Adapter, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001 - one for each
    """A ``virtualenv_dir`` for all tests of an implementation to which it is no matter whose environments they find
    there.

    :param adapter: there is one directory for each.
    :param tmp_path_factory: the maker of folders, in one of which the directory lies.
    """
    return tmp_path_factory.mktemp("shared") / "virtualenvs"


@pytest.fixture
def harness(
    request: pytest.FixtureRequest,
    adapter: Adapter,
    cosmos_airflow_home: AirflowHome,  # noqa: ARG001 - its database is there for tasks, and put back after them
    cosmos_wheelhouse: Wheelhouse,
    cosmos_task_race: TaskRace,
    shared_directory: Path,
    tmp_path: Path,
) -> Harness:
    """A project, packages, and processes for tasks of the implementation.

    :param request: the request of the test.
    :param adapter: the judged implementation.
    :param cosmos_airflow_home: its database is there for tasks, and put back after them.
    :param cosmos_wheelhouse: the wheelhouse from which environments are installed.
    :param cosmos_task_race: runs tasks in processes of their own.
    :param shared_directory: a ``virtualenv_dir`` for tests that judge nothing of it.
    :param tmp_path: the test's own folder.
    """
    return Harness(
        adapter=adapter,
        folder=tmp_path,
        shared_directory=shared_directory,
        wheelhouse=cosmos_wheelhouse,
        race=cosmos_task_race,
        timeout=task_timeout(request.config),
        slack=slack(request.config),
        is_glance=asked_profile(request.config) == GLANCE,
        has_native_dbt=asked_dbt_kind(request.config) == NATIVE,
    )


@pytest.fixture
def evidence(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Writes down what was seen, also where the requirement holds: ``evidence("0 of 25 rounds showed two
    installers")``.

    :param record_property: the ``record_property`` of the test.
    """
    return lambda text: record_property(EVIDENCE, text)


@pytest.fixture
def picture(record_property: Callable[[str, object], None]) -> Picture:
    """Adds a chart of the timeline to the report: ``picture(finished.timeline, "two tasks at one environment")``.

    :param record_property: the ``record_property`` of the test.
    """
    return lambda timeline, title: record_property(PICTURE, timeline.to_svg(title=title))


@pytest.fixture
def does_not_apply(record_property: Callable[[str, object], None]) -> DoesNotApply:
    """Ends a test that has no case for this implementation: ``does_not_apply("it has no local mode")``.

    :param record_property: the ``record_property`` of the test.
    """

    def leave(reason: str) -> NoReturn:
        record_property(VERDICT, Verdict.NOT_APPLICABLE.value)
        pytest.skip(f"{Verdict.NOT_APPLICABLE.value}: {reason}")

    return leave
