"""The fixtures that all tests share, such as a throwaway AIRFLOW_HOME and a small dbt project."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_cosmos_venv import CosmosDbt
from pytest_cosmos_venv.airflow.home_setup import MARKER
from pytest_cosmos_venv.environments.wheelhouse import Wheelhouse
from pytest_cosmos_venv.throwaway import throwaway_folder
from tests.installed import ROOT, a_browser
from tests.order import long_ones_first
from tests.postgres import Postgres, started_postgres
from tests.quarantine import take_out_quarantined
from tests.warm_servers import stop_servers

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

DURATIONS = ROOT / "tests" / "durations.json"
"""Seconds of the long tests of each file; ``pytest --store-durations`` updates it."""

# Airflow reads AIRFLOW_HOME when it is imported, so it is set before any import. Each xdist worker has its own home.
_airflow_home = tempfile.mkdtemp(prefix="cosmos-venv-tests-airflow-")
Path(_airflow_home, MARKER).touch()
os.environ["AIRFLOW_HOME"] = _airflow_home
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# As in the toolkit's own homes: otherwise Airflow 3.1 ignores a changed DAG of a test for 30 seconds.
os.environ["AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL"] = "0"
for name in [name for name in os.environ if name.startswith(("AIRFLOW__COSMOS", "AIRFLOW_CONN_"))]:
    del os.environ[name]
os.environ["AIRFLOW__COSMOS_VENV__CACHE_DIR"] = str(Path(_airflow_home, "cache"))
# Warm dbt servers serve only the tests of this process, and end with them.
os.environ["XDG_RUNTIME_DIR"] = _airflow_home
# Where pip and uv are available, tests use uv, which takes a tenth of the time. Builds with pip have their own tests.
os.environ.setdefault("AIRFLOW__STANDARD__VENV_INSTALL_METHOD", "uv")

# A shell starts background jobs with SIGINT ignored. Children would inherit this, and tests could not interrupt them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Switch garbage collection off while pytest collects tests, and freeze the collected objects afterwards.

    Each garbage collection scans all imported modules for a quarter of a second, together a seventh of the time of the
    collection. The objects stay until the end of the run.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000)
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish() -> None:
    """Stop the servers here: workers of pytest-xdist are ended before exit, and before pytest is unconfigured."""
    gc.unfreeze()  # otherwise C libraries report frozen objects as leaks when Python ends
    stop_servers(_airflow_home)
    shutil.rmtree(_airflow_home, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let each worker of pytest-xdist begin with its share of the long tests, so that no long test runs last.

    Tests in quarantine are deselected.
    """
    alone = [item.nodeid for item in items if item.get_closest_marker("proof") and not _is_long(item)]
    if alone:
        raise pytest.UsageError(f"{alone[0]} is marked proof and not long, so make test runs it: mark it long too.")
    take_out_quarantined(config, items)
    workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if workers is not None:
        items[:] = long_ones_first(
            items,
            int(workers),
            is_long=_is_long,
            file_of=lambda item: item.nodeid.partition("::")[0],
            seconds=json.loads(DURATIONS.read_text(encoding="utf-8")),
        )


def _is_long(item: pytest.Item) -> bool:
    return item.get_closest_marker("long") is not None


_PROCESS = os.getpid()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--store-durations",
        action="store_true",
        help="keep the time of the long tests that run in tests/durations.json",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("store_durations") and "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Durations())


class Durations:
    """Store the seconds of the long tests of each file; `long_ones_first` distributes tests by these times."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if "long" in report.keywords:
            self._seconds[report.nodeid.partition("::")[0]] += report.duration

    def pytest_sessionfinish(self) -> None:
        known = {**json.loads(DURATIONS.read_text(encoding="utf-8")), **self._seconds}
        there = {file: round(known[file], 1) for file in sorted(known) if (ROOT / file).exists()}
        DURATIONS.write_text(json.dumps(there, indent=0) + "\n", encoding="utf-8")


@pytest.fixture(autouse=True)
def _leaves_the_environment_as_it_was() -> Iterator[None]:
    """Fail a test that changes environment variables: the change could make another test fail, in rare test orders."""
    before = dict(os.environ)
    yield
    if os.getpid() != _PROCESS:
        return  # a forked copy of a marked test: its process ends with it, so the changes do not matter
    changed = {name for name, _ in before.items() ^ os.environ.items()} - {"PYTEST_CURRENT_TEST"}
    assert not changed, f"the test has left environment variables changed: {', '.join(sorted(changed))}"


@pytest.fixture(scope="session", autouse=True)
def _inner_pytest_has_its_own_temproot(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give every pytest that a test starts another root for temporary folders than this pytest.

    Otherwise the inner pytest removes, at its end, all folders but those of the last three runs. In CI these were
    hundreds of thousands of files of ``make test``, and one test waited 280 seconds for the removal.
    """
    tmp_path_factory.getbasetemp()  # makes this run's own folder before the root changes
    os.environ["PYTEST_DEBUG_TEMPROOT"] = _airflow_home


@pytest.fixture(scope="session")
def kept_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``virtualenv_dir`` that the tests of one worker share, so that each environment is built once."""
    return tmp_path_factory.mktemp("kept") / "environments"


@pytest.fixture(scope="session")
def other_python() -> str:
    """A Python of another version than the one that runs the tests, able to make virtual environments."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    minors = [minor for minor in (10, 11, 12, 13) if minor != sys.version_info.minor]
    named = [shutil.which(f"python3.{minor}") for minor in minors]
    installed = [str(path) for minor in minors for path in pyenv.glob(f"versions/3.{minor}.*/bin/python3.{minor}")]
    for python in [*installed, *filter(None, named)]:
        # A pyenv shim exists even for a version that is not selected, and then fails.
        if not subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode:
            return python
    pytest.skip("no second Python (3.10 to 3.13) on PATH or in pyenv")


@pytest.fixture
def no_other_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give the test its own folders for warm dbt servers, so that it sees no other server.

    The tests of a worker share one folder for servers, and a user may have four servers on a host. With a fifth
    environment a task with ``require`` fails (seen once in CI). The folder for temporary files, which may hold servers
    too, is shared by all workers.
    """
    with tempfile.TemporaryDirectory(prefix="cv-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        try:
            yield
        finally:
            stop_servers(folder)


@pytest.fixture
def fake_dbt_wheels(cosmos_dbt: CosmosDbt) -> Wheelhouse:
    """The wheelhouse of fakes as the only source of packages: `make test` offers wheels of a real dbt otherwise."""
    return cosmos_dbt


@pytest.fixture
def dbt_project(tmp_path: Path) -> Path:
    """A dbt project of one seed and two models, which read each other in the order of their names."""
    folder = tmp_path / "harbor"
    for name, text in {
        "dbt_project.yml": "name: harbor\nversion: '1.0'\nprofile: harbor\n",
        "seeds/piers.csv": "id,name\n1,North\n",
        "models/staging.sql": "select * from {{ ref('piers') }}\n",
        "models/mart.sql": "select * from {{ ref('staging') }}\n",
        "profiles.yml": "harbor:\n  target: dev\n  outputs:\n    dev: {type: duckdb, path: ':memory:'}\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A real PostgreSQL on loopback with an empty database; the server ends with the tests."""
    with started_postgres(tmp_path_factory.mktemp("postgres") / "log") as server:
        yield server


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``tmp_path`` as the folder for temporary files, for this process and its children."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache directory of this test alone."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def set_umask() -> Iterator[Callable[[int], object]]:
    """Return a function that sets the umask of this process; the umask is restored after the test."""
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


@pytest.fixture
def everybodys_directory() -> Iterator[Path]:
    """A directory that every user may enter and write to; directories of pytest are private to their owner."""
    with throwaway_folder("cosmos-venv-tests-") as path:
        path.chmod(0o777)
        yield path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """A headless Chromium, for the tests of a module."""
    with a_browser(tmp_path_factory.mktemp("browser")) as found:
        yield found
