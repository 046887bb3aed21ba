"""The fixtures of the checks: the adapter, the harness, and ways to leave evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import pytest

from pytest_cosmos_venv import CosmosAirflow, CosmosLock, CosmosProject, CosmosRace, Timeline, VenvLock
from pytest_cosmos_venv.environments.sdist import Sdist
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from pytest_cosmos_venv.throwaway import remove_folder

from .declaration import Declaration, ask_for_declarations, read_declaration
from .harness.harness import Harness
from .harness.running import slack, task_timeout
from .options import GLANCE, NATIVE, asked, drawn
from .reporting.verdicts import EVIDENCE, PICTURE
from .requirements import read_specification

Picture = Callable[[Timeline, str], None]
ANSWERS = pytest.StashKey[dict[str | None, Any]]()
"""Name of an implementation -> the answer of its process. The name None means the implementation that is judged."""


def declaration_of(config: pytest.Config, named: str | None = None) -> Declaration:
    """The declaration of an implementation, which is not imported here.

    :param config: the configuration of a run whose implementation was chosen.
    :param named: name of an adapter with which a plugin has parametrised the tests; None: the adapter of the run.
    :raises AdapterError: the declaration is not valid.
    """
    learn_declarations(config, [named])
    return read_declaration(config.stash[ANSWERS][named], read_specification())


def learn_declarations(config: pytest.Config, names: Iterable[str | None]) -> None:
    """Ask for the declarations of several adapters at once, as far as they are not known.

    :param config: the configuration of the run.
    :param names: each as for ``declaration_of``.
    :raises AdapterError: there is no answer.
    """
    answers = config.stash[ANSWERS]
    missing = [name for name in dict.fromkeys(names) if name not in answers]
    if missing:
        asked = [config.getoption("cosmos_implementation") if name is None else name for name in missing]
        answers.update(zip(missing, ask_for_declarations(asked), strict=True))


@pytest.fixture(scope="session")
def adapter(request: pytest.FixtureRequest) -> Declaration:
    """The judged implementation; where a plugin has parametrised the tests with adapters, the test's own.

    :param request: carries the name of an adapter, if any.
    """
    return declaration_of(request.config, getattr(request, "param", None))


@pytest.fixture(scope="session")
def _cosmos_services() -> Callable[[], tuple[str, ...]]:
    """The services of the toolkit's races: none, since each race gets the services of the declaration.

    The toolkit's own fixture imports a module of the implementation.
    """
    return lambda: ()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a random name: pytest's own name would tell a task which requirement is judged.

    The folder is removed after its test, since environments have many files.

    :param request: knows the test.
    :param tmp_path_factory: makes the folder.
    """
    folder = tmp_path_factory.mktemp(f"{drawn(request.config, request.node.nodeid).getrandbits(32):08x}")
    yield folder
    remove_folder(folder)


@pytest.fixture(scope="session")
def shared_directory(adapter: Declaration, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: ARG001 - one for each
    """A ``virtualenv_dir`` that all tests of an implementation share if they do not judge its content.

    :param adapter: each implementation has its own directory.
    :param tmp_path_factory: makes the folder of the directory.
    """
    return tmp_path_factory.mktemp("shared") / "virtualenvs"


@pytest.fixture
def harness(
    request: pytest.FixtureRequest,
    adapter: Declaration,
    cosmos_airflow: CosmosAirflow,  # noqa: ARG001 - its database is there for tasks, and put back after them
    cosmos_dbt: Wheelhouse,
    cosmos_race: CosmosRace,
    shared_directory: Path,
    tmp_path: Path,
) -> Harness:
    """A project, packages, and processes for tasks of the implementation.

    :param request: the request of the test.
    :param adapter: the judged implementation.
    :param cosmos_airflow: its database is there for tasks, and put back after them.
    :param cosmos_dbt: the wheelhouse from which environments are installed.
    :param cosmos_race: runs tasks in processes of their own.
    :param shared_directory: a ``virtualenv_dir`` for tests that do not judge its content.
    :param tmp_path: the test's own folder.
    """
    # Checks look for a password of the suite's in all variables of dbt.
    cosmos_dbt.keep_env("*")
    return Harness(
        adapter=adapter,
        folder=tmp_path,
        shared_directory=shared_directory,
        wheelhouse=cosmos_dbt,
        race=cosmos_race,
        timeout=task_timeout(request.config),
        slack=slack(),
        is_glance=asked(request.config, "rounds") == GLANCE,
        has_native_dbt=asked(request.config, "dbt_kind") == NATIVE,
    )


@pytest.fixture
def project(cosmos_project: CosmosProject) -> Path:
    """The folder of a project with a model and a manifest.

    :param cosmos_project: makes the project.
    """
    made = cosmos_project("harbor")
    made.model("orders", "select 1 as id")
    made.manifest()
    return made.path


@pytest.fixture
def lock(harness: Harness, cosmos_lock: CosmosLock) -> VenvLock:
    """The lock of the harness's ``virtualenv_dir``.

    :param harness: the harness of the test.
    :param cosmos_lock: gives the lock.
    """
    return cosmos_lock(harness.virtualenv_dir)


@pytest.fixture
def held(harness: Harness) -> Sdist:
    """The package that must be built for each environment of a test. The build waits until it is released.

    :param harness: the harness of the test.
    """
    return harness.add_sdist(hold=True)


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
    return lambda timeline, title: record_property(PICTURE, _picture(title, timeline.draw()))


def _picture(title: str, chart: str) -> str:
    """The text of a chart as an SVG picture, which a page shows in any font that it has."""
    lines = [title, "", *chart.splitlines()]
    texts = [
        f'<text x="8" y="{18 * at}" xml:space="preserve">{escape(line)}</text>' for at, line in enumerate(lines, 1)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 {18 * len(lines) + 12}" width="860" role="img" '
        f'font-family="monospace" font-size="14" aria-label="{escape(title)}">'
        f'<rect width="860" height="100%" fill="#fff"/>{"".join(texts)}</svg>'
    )
