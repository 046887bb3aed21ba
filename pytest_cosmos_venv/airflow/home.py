"""Airflow's throw-away home in a test, and its database.

Importing this module imports no Airflow. The database is migrated once and copied. Several processes may use it at
once, and it is restored after each test. After a fork Airflow gets new connections and API threads: a run with
the connections and threads of the parent process would wait for ever.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.airflow.home_setup import (
    CONFIG_VARIABLE,
    HOME_VARIABLE,
    MARKER,
    OPTION,
    PATIENCE,
    RUNTIME_VARIABLE,
    is_throwaway,
    write_config,
)
from pytest_cosmos_venv.airflow.versions import this_airflow
from pytest_cosmos_venv.airflow_release import installed_airflow
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.throwaway import throwaway_folder

if TYPE_CHECKING:
    import pytest

    from pytest_cosmos_venv.airflow.home_setup import AirflowHomeSetup
    from pytest_cosmos_venv.shared_folders import SharedFolders


_LONGEST_WAIT = 30.0
_LOCKED = (5, 6)  # SQLITE_BUSY and SQLITE_LOCKED, which have names from Python 3.11 on
_OF_THE_PARENT: list[object] = []
"""Connections of the parent process, kept after a fork: Python would close connections without a reference."""
DATABASE = "airflow.db"
TIMEOUT = 600.0
"""Seconds that making the database may take."""
_MARGIN = 30.0
"""Seconds that a process waits beyond ``TIMEOUT`` for the process that makes the database, which then reports first."""
_PROVIDERS_WITH_TABLES = ("apache-airflow-providers-fab", "apache-airflow-providers-edge3")


def runs_file(database: Path) -> Path:
    """Return the lock file of DAG runs in several processes; it exists while a test makes runs.

    :param database: the SQLite file of Airflow's database.
    """
    return database.with_name("cosmos-runs.lock")


def home_of_airflow() -> Path:
    """Return the home that Airflow has taken in this process."""
    from airflow.configuration import AIRFLOW_HOME

    return Path(AIRFLOW_HOME).resolve()


def dags_folder() -> Path:
    """Return the folder of DAG files, made where it is missing."""
    from airflow.configuration import conf

    folder = Path(str(conf.get("core", "dags_folder")))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sqlite_file() -> Path:
    """Return the file of Airflow's database.

    :raises ToolkitMisuse: the database is not SQLite.
    """
    from airflow import settings

    url = str(settings.SQL_ALCHEMY_CONN)
    scheme, _, file = url.partition(":///")
    if scheme.partition("+")[0] != "sqlite" or not file:
        raise ToolkitMisuse(
            f"These fixtures run Airflow on SQLite, so that nothing is left in anybody's database, and this "
            f"AIRFLOW_HOME ({home_of_airflow()}) uses {scheme.partition(':')[0]}: "
            "set AIRFLOW__DATABASE__SQL_ALCHEMY_CONN for tests."
        )
    return Path(file.partition("?")[0])


def has_tables(file: Path) -> bool:
    """Whether a database has Airflow's tables.

    :param file: an SQLite file.
    """
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("select 1 from sqlite_master where name = 'dag_run'").fetchone()
    return found is not None


def make_tables() -> None:
    """Create Airflow's tables with Airflow's ``initdb``, which takes seconds."""
    from airflow.utils.db import initdb

    initdb()


def reconnect() -> None:
    """Give this process connections of its own after a fork: two processes must not share an SQLite connection, nor
    close a shared one.
    """
    from airflow import settings

    module: Any = settings
    _OF_THE_PARENT.append((module.engine, module.Session))
    module.configure_orm()


def copy(file: Path, to: Path) -> None:
    """Copy a database as it is at this moment, even while others use it.

    :param file: an SQLite file.
    :param to: a file that does not exist.
    """
    with closing(sqlite3.connect(file, timeout=PATIENCE)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


@contextmanager
def _turn_at(file: Path) -> Iterator[None]:
    """Hold a lock on the database, so that no other process restores it during the block.

    pytest-airflow-in-a-box has one database for all workers of pytest-xdist: restoring it would remove rows of a test
    in another worker.
    """
    with file.with_name(f"{file.name}.turn").open("wb") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(turn, fcntl.LOCK_UN)  # a process that was forked meanwhile shares the open file


@contextmanager
def restored(file: Path) -> Iterator[None]:
    """Restore the database at the end of the block; within the block tests may change it as they like.

    :param file: an SQLite file.
    :raises TimeoutError: a connection that the test has left open keeps it locked.
    """
    from airflow import settings

    with _turn_at(file), closing(sqlite3.connect(":memory:")) as before:
        with closing(sqlite3.connect(file)) as connection:
            connection.backup(before)
        try:
            yield
        finally:
            session: Any = settings.Session
            # An uncommitted session of this thread would keep the file locked.
            session.remove()
            deadline = real_time.monotonic() + _LONGEST_WAIT

            def give_up(status: int, *_: int) -> None:
                # sqlite3 itself would try for ever.
                if status in _LOCKED and real_time.monotonic() > deadline:
                    raise TimeoutError(f"a connection that the test has left open keeps {file} locked")

            with closing(sqlite3.connect(file)) as connection:
                before.backup(connection, progress=give_up, sleep=0.01)
            runs_file(file).unlink(missing_ok=True)


@dataclass
class _Worker:
    """The last process in which Airflow worked; None: it has not worked yet."""

    pid: int | None = None


_LAST = _Worker()


def prepare_this_process() -> None:
    """Prepare this process for Airflow's work: after a fork, renew connections and threads."""
    if _LAST.pid not in {None, os.getpid()}:
        reconnect()
        this_airflow().renew_after_fork()
    _LAST.pid = os.getpid()


def move_to(home: Path) -> None:
    """Have Airflow use another home from now on, in this forked process. The environment variables name it already.

    :param home: the folder of the new home.
    """
    from airflow import configuration, settings

    for each in (configuration, settings):
        vars(each)["AIRFLOW_HOME"] = str(home)
    module: Any = settings
    module.configure_vars()
    prepare_this_process()


@dataclass(frozen=True, kw_only=True)
class AirflowHome:
    """The AIRFLOW_HOME of this test process.

    :param path: the folder.
    :param dags_folder: the folder in which Airflow looks for DAG files; it exists.
    :param database: the SQLite file.
    """

    path: Path
    dags_folder: Path
    database: Path
    _process: int = field(default_factory=os.getpid, repr=False)
    _copies: dict[int, AirflowHome] = field(default_factory=dict, repr=False, compare=False)

    def of_this_process(self, new_folder: Callable[[], Path]) -> AirflowHome:
        """Return this home; in a process that was forked later, move Airflow to a copy of the home, and return the
        copy.

        The copies of a test with a race mark need homes of their own, because each copy sets up its own fixtures.

        :param new_folder: makes an empty folder.
        """
        process = os.getpid()
        if process == self._process:
            return self
        if process not in self._copies:
            self._copies[process] = self._copy_to(new_folder())
        return self._copies[process]

    def _copy_to(self, path: Path) -> AirflowHome:

        file, dags = path / DATABASE, path / "dags"
        dags.mkdir()
        for entry in self.dags_folder.iterdir():
            (dags / entry.name).symlink_to(entry)
        copy(self.database, file)
        os.environ.update(
            {
                HOME_VARIABLE: str(path),
                RUNTIME_VARIABLE: str(path),
                "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{file}?timeout={PATIENCE}",
                "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(path / "logs"),
            }
        )
        move_to(path)
        return AirflowHome(path=path, dags_folder=dags, database=file)


def set_up_home(setup: AirflowHomeSetup, config: pytest.Config, shared: SharedFolders) -> AirflowHome:
    """Import Airflow with its throw-away home, create a missing database, and return the home.

    :param setup: the plugin that watches for the first import of Airflow.
    :param config: the configuration of the run.
    :param shared: the folders that all workers of the run share.
    :raises ToolkitMisuse: Airflow is not installed, its home or the folder of its database is no throw-away home, or
        its database is not SQLite.
    """
    key = airflow_key()
    setup.point_unless_taken(config)

    path = home_of_airflow()
    if not is_throwaway(path):
        raise ToolkitMisuse(_no_throwaway(f"home {path}") if setup.is_taken(config) else _too_late(setup, path))
    file = sqlite_file()
    if not is_throwaway(file.resolve().parent):
        raise ToolkitMisuse(_no_throwaway(f"database {file.resolve()}"))
    if not file.exists():
        publish(migrated_database(shared, key), file)
    elif not has_tables(file):
        make_tables()
    prepare_this_process()
    return AirflowHome(path=path, dags_folder=dags_folder(), database=file)


def migrated_database(shared: SharedFolders, key: str) -> Path:
    """Return a database with Airflow's tables, made when it is not there yet.

    :param shared: the folders that all workers of the run share.
    :param key: the key of all that the tables depend on.
    :raises ToolkitMisuse: Airflow cannot make the database, or another process does not finish it in time.
    """
    return shared.get("airflow-home", key, migrate, timeout=TIMEOUT + _MARGIN) / DATABASE


def airflow_key() -> str:
    """Return a key of all that the tables depend on: versions of Airflow, of providers that bring tables, and of
    Python.

    :raises ToolkitMisuse: there is no Airflow here.
    """
    airflow = installed_airflow()
    if airflow is None:
        raise ToolkitMisuse(
            "This fixture runs Airflow, and there is none here: install apache-airflow into the environment that runs "
            f"pytest ({sys.prefix})."
        )
    versions = [airflow]
    for provider in _PROVIDERS_WITH_TABLES:
        try:
            versions.append(f"{provider.rpartition('-')[2]}{metadata.version(provider)}")
        except metadata.PackageNotFoundError:
            pass  # then the tables of this provider are missing too
    return "-".join([*versions, f"py{sys.version_info.major}.{sys.version_info.minor}"])


def migrate(folder: Path) -> None:
    """Put a migrated database into a folder, which takes seconds.

    :param folder: an existing empty folder.
    :raises ToolkitMisuse: the migration fails; the text has the end of Airflow's output.
    """
    outer = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    with throwaway_folder("cosmos-airflow-") as home:
        write_config(home)
        try:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-m", "airflow", "db", "migrate"],
                env={**outer, HOME_VARIABLE: str(home), CONFIG_VARIABLE: str(home / "airflow.cfg")},
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                timeout=TIMEOUT,
            )
        except subprocess.TimeoutExpired:
            raise ToolkitMisuse(f"Airflow's database: airflow db migrate took more than {TIMEOUT:.0f} s.") from None
        if done.returncode != 0:
            end = "\n".join(done.stdout.splitlines()[-20:])
            raise ToolkitMisuse(f"Airflow could not make its database (airflow db migrate):\n{end}")
        shutil.copy(home / DATABASE, folder / DATABASE)


def publish(source: Path, file: Path) -> None:
    """Copy the database to its path atomically, unless another worker was first.

    Workers may share one home of another plugin: no worker sees an incomplete database, and the first copy stays.

    :param source: an SQLite file that nobody writes to.
    :param file: its place, in a folder that exists.
    """
    draft = file.with_name(f".{file.name}-{os.getpid()}")
    shutil.copy(source, draft)
    try:
        os.link(draft, file)
    except FileExistsError:
        pass  # another worker was first
    finally:
        draft.unlink()


def _no_throwaway(place: str) -> str:
    return (
        f"Airflow uses the {place}, and no file {MARKER} there says that this home is for tests alone: after each test "
        "the database would be put back to what it was before, and a real Airflow would lose rows. Leave "
        "AIRFLOW_HOME unset in conftest.py, and AIRFLOW__DATABASE__SQL_ALCHEMY_CONN too: this run then makes a home of "
        f"its own. In a home that your tests have made, create an empty file {MARKER}."
    )


def _too_late(setup: AirflowHomeSetup, path: Path) -> str:
    who = setup.importer or "a plugin that pytest loads before this one (-p cosmos_venv loads this one first)"
    return (
        f"Airflow has settled on {path}, which is not this run's to write to: it was imported by {who} before it was "
        f"known that this run needs a throw-away home. Say so: {OPTION} = true in the ini file."
    )
