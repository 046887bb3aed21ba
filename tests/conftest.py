"""The fixtures that all tests share: an Airflow of their own, and a small dbt project."""

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
"""Seconds of the long tests of each file; ``pytest --store-durations`` writes it anew."""

# Before anything imports Airflow, which settles on its home then. One for each xdist worker.
_airflow_home = tempfile.mkdtemp(prefix="cosmos-venv-tests-airflow-")
Path(_airflow_home, MARKER).touch()
os.environ["AIRFLOW_HOME"] = _airflow_home
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# As the toolkit's own homes say: Airflow 3.1 would not know for 30 seconds that a test has changed its DAG.
os.environ["AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL"] = "0"
for name in [name for name in os.environ if name.startswith(("AIRFLOW__COSMOS", "AIRFLOW_CONN_"))]:
    del os.environ[name]
os.environ["AIRFLOW__COSMOS_VENV__CACHE_DIR"] = str(Path(_airflow_home, "cache"))
# Servers of warm dbts are of this process's tests alone, and end with them.
os.environ["XDG_RUNTIME_DIR"] = _airflow_home
# Where both are there, uv: a tenth of the time. Builds with pip have tests of their own.
os.environ.setdefault("AIRFLOW__STANDARD__VENV_INSTALL_METHOD", "uv")

# A shell ignores it for what it starts in the background, and so would every child that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Run no garbage collection while pytest collects tests: each scans all imported modules, a quarter of a second,
    a seventh of that time in all. Afterwards freeze these objects, which stay to the end.
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
    gc.unfreeze()  # else libraries in C tell, as Python ends, of what they take for leaks
    stop_servers(_airflow_home)
    shutil.rmtree(_airflow_home, ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each worker of pytest-xdist begins with its share of the long tests: nobody waits for one that came last."""
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
    """Keep the seconds of the long tests of each file, by which `long_ones_first` deals them to workers."""

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
    """A variable that one test leaves behind makes another one fail, in one order of a hundred."""
    before = dict(os.environ)
    yield
    if os.getpid() != _PROCESS:
        return  # a copy of a marked test: its process, which has an Airflow home of its own, ends with it
    changed = {name for name, _ in before.items() ^ os.environ.items()} - {"PYTEST_CURRENT_TEST"}
    assert not changed, f"the test has left environment variables changed: {', '.join(sorted(changed))}"


@pytest.fixture(scope="session", autouse=True)
def _inner_pytest_has_its_own_temproot(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A pytest that a test starts makes its temporary folders apart from those of this one.

    Otherwise the inner pytest removes, at its end, the folders of all but the last three runs: those of ``make test``
    before ``make test-long``, hundreds of thousands of files. One test waited 280 seconds for that in CI.
    """
    tmp_path_factory.getbasetemp()  # this run's own is made before
    os.environ["PYTEST_DEBUG_TEMPROOT"] = _airflow_home


@pytest.fixture(scope="session")
def kept_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``virtualenv_dir`` that the tests of one worker share: what is built once is ready for all."""
    return tmp_path_factory.mktemp("kept") / "environments"


@pytest.fixture(scope="session")
def other_python() -> str:
    """A Python of another version than the one that runs the tests, able to make virtual environments."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    minors = [minor for minor in (10, 11, 12, 13) if minor != sys.version_info.minor]
    named = [shutil.which(f"python3.{minor}") for minor in minors]
    installed = [str(path) for minor in minors for path in pyenv.glob(f"versions/3.{minor}.*/bin/python3.{minor}")]
    for python in [*installed, *filter(None, named)]:
        # A shim of pyenv may stand for a version that is not selected.
        if not subprocess.run([python, "-c", "import ensurepip, venv"], capture_output=True, check=False).returncode:
            return python
    pytest.skip("no second Python (3.10 to 3.13) on PATH or in pyenv")


@pytest.fixture
def no_other_servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This test has no warm dbt beside its own.

    The tests of a worker share one folder for servers. A fifth environment gets none there, which fails a task that
    says ``require`` (seen once in CI). The folder for temporary files, where servers also stand, is that of all
    workers.
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
    """The wheelhouse, and nothing else to install from: `make test` offers a real dbt to tests that want one."""
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
    """A real PostgreSQL on loopback, with an empty database; it ends with the tests."""
    with started_postgres(tmp_path_factory.mktemp("postgres") / "log") as server:
        yield server


@pytest.fixture
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``tmp_path`` as the folder for temporary files, for this process and for those that it starts."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test alone for all that is kept between parses and tasks."""
    monkeypatch.setenv("AIRFLOW__COSMOS_VENV__CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def set_umask() -> Iterator[Callable[[int], object]]:
    """Set the umask of this process, which gets its own back at the end."""
    before = os.umask(0o022)
    os.umask(before)
    yield os.umask
    os.umask(before)


@pytest.fixture
def everybodys_directory() -> Iterator[Path]:
    """A directory that every user may reach and write to; those of pytest are their owner's alone."""
    with throwaway_folder("cosmos-venv-tests-") as path:
        path.chmod(0o777)
        yield path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    """A Chromium without a screen, for the tests of a module."""
    with a_browser(tmp_path_factory.mktemp("browser")) as found:
        yield found
