"""The throw-away home and its database.

Airflow's database in tests: where it is, how several processes use it at once, and how it is put back afterwards.

Importing this module imports no Airflow.

Airflow in a process that was forked from one in which it had been at work.

Its connections and the threads that answer its tasks are those of the other process: a run would wait for ever.

Where does Airflow keep things in a test? In a throw-away home, whose database was migrated once and is copied.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_cosmos_venv import real_time
from pytest_cosmos_venv.airflow.home_setup import (
    CONFIG_VARIABLE,
    HOME_VARIABLE,
    OPTION,
    PATIENCE,
    RUNTIME_VARIABLE,
    write_config,
)
from pytest_cosmos_venv.airflow.versions import this_airflow
from pytest_cosmos_venv.airflow_release import installed_airflow
from pytest_cosmos_venv.errors import AlreadyTaken, ToolkitMisuse, require_text
from pytest_cosmos_venv.throwaway import throwaway_folder

if TYPE_CHECKING:
    import pytest

    from pytest_cosmos_venv.airflow.home_setup import Settling
    from pytest_cosmos_venv.shared_folders import SharedFolders


_DEADLINE = 30.0
_LOCKED = (5, 6)  # SQLITE_BUSY and SQLITE_LOCKED, which have names from Python 3.11 on


def runs_file(database: Path) -> Path:
    """The file that DAG runs of several processes lock; it is there while a test makes runs."""
    return database.with_name("cosmos-runs.lock")


def settled_home() -> Path:
    """The home that Airflow has taken in this process."""
    from airflow.configuration import AIRFLOW_HOME

    return Path(AIRFLOW_HOME).resolve()


def dags_folder() -> Path:
    """The folder of DAG files, made where it is missing."""
    from airflow.configuration import conf

    folder = Path(str(conf.get("core", "dags_folder")))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def sqlite_file() -> Path:
    """The file of Airflow's database.

    :raises ToolkitMisuse: when it is none of SQLite.
    """
    from airflow import settings

    url = str(settings.SQL_ALCHEMY_CONN)
    scheme, _, file = url.partition(":///")
    if scheme.partition("+")[0] != "sqlite" or not file:
        raise ToolkitMisuse(
            f"These fixtures run Airflow on SQLite, so that nothing is left in anybody's database, and this "
            f"AIRFLOW_HOME ({settled_home()}) uses {scheme.partition(':')[0]}: "
            "set AIRFLOW__DATABASE__SQL_ALCHEMY_CONN for tests."
        )
    return Path(file.partition("?")[0])


def has_tables(file: Path) -> bool:
    """Whether Airflow's tables are there."""
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("select 1 from sqlite_master where name = 'dag_run'").fetchone()
    return found is not None


def make_tables() -> None:
    """Make Airflow's tables in its own way; takes seconds."""
    from airflow.utils.db import initdb

    initdb()


def connect_anew() -> None:
    """Give this process connections of its own, after a fork: SQLite's must not be used, nor closed, by two."""
    from airflow import settings

    module: Any = settings
    _OF_THE_PARENT.append((module.engine, module.Session))
    module.configure_orm()


_OF_THE_PARENT: list[object] = []
"""Kept, because what nobody holds is closed."""


def copy(file: Path, to: Path) -> None:
    """Copy a database as it is at this moment, whoever is using it.

    :param to: a file that does not exist.
    """
    with closing(sqlite3.connect(file, timeout=PATIENCE)) as source, closing(sqlite3.connect(to)) as target:
        source.backup(target)


@contextmanager
def put_back(file: Path) -> Iterator[None]:
    """For the length of the block tests may change the database as they like: then it is as it was before."""
    with closing(sqlite3.connect(":memory:")) as before:
        with closing(sqlite3.connect(file)) as connection:
            connection.backup(before)
        yield
        _close_session()
        deadline = real_time.monotonic() + _DEADLINE

        def give_up(status: int, *_: int) -> None:
            # Python would try for ever.
            if status in _LOCKED and real_time.monotonic() > deadline:
                raise TimeoutError(f"a connection that the test has left open keeps {file} locked")

        with closing(sqlite3.connect(file)) as connection:
            before.backup(connection, progress=give_up, sleep=0.01)
        runs_file(file).unlink(missing_ok=True)


def _close_session() -> None:
    """What a session of this thread has not committed would keep the file locked."""
    from airflow import settings

    session: Any = settings.Session
    session.remove()


@dataclass
class _Worker:
    """The process in which Airflow was at work last; None before that."""

    pid: int | None = None


_LAST = _Worker()


def at_work_here() -> None:
    """Airflow is about to work in this process: after a fork it gets what the process before it has kept."""
    if _LAST.pid not in {None, os.getpid()}:
        connect_anew()
        this_airflow().renew_after_fork()
    _LAST.pid = os.getpid()


def move_to(home: Path) -> None:
    """Have Airflow live in another home from now on, in this forked process: its variables lead there by now."""
    from airflow import configuration, settings

    for module in (configuration, settings):
        vars(module)["AIRFLOW_HOME"] = str(home)
    settling: Any = settings
    settling.configure_vars()
    at_work_here()


DATABASE = "airflow.db"
DEADLINE = 600.0
"""Seconds that making the database may take."""
_PROVIDERS_WITH_TABLES = ("apache-airflow-providers-fab", "apache-airflow-providers-edge3")


@dataclass(frozen=True, kw_only=True)
class AirflowHome:
    """The AIRFLOW_HOME of this test process.

    :param path: the directory.
    :param dags_folder: where Airflow looks for DAG files; it exists.
    :param database: the SQLite file.
    """

    path: Path
    dags_folder: Path
    database: Path
    _files: list[Path] = field(default_factory=list, repr=False)
    _process: int = field(default_factory=os.getpid, repr=False)
    _copies: dict[int, AirflowHome] = field(default_factory=dict, repr=False, compare=False)

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that lead a child process here, which inherits them unless it is given others."""
        names = (HOME_VARIABLE, CONFIG_VARIABLE)
        return {HOME_VARIABLE: str(self.path), **{name: os.environ[name] for name in names if name in os.environ}}

    def add_dag_file(self, name: str, text: str) -> Path:
        """Write a DAG file into the dags folder for the length of the test.

        :param name: of the file, such as ``harbor.py``.
        :param text: its Python source; indentation that all lines share is taken off.
        :raises ToolkitMisuse: for a name that is no plain Python file name or stands there already.
        """
        require_text(name, "name")
        require_text(text, "text")
        file = self.dags_folder / name
        if file.name != name or file.suffix != ".py":
            raise ToolkitMisuse(
                f"add_dag_file({name!r}): give the name of a Python file without a folder: 'harbor.py'."
            )
        try:
            with file.open("x", encoding="utf-8") as stream:
                stream.write(textwrap.dedent(text))
        except FileExistsError:
            raise AlreadyTaken(f"add_dag_file({name!r}): the dags folder has a file of this name: {file}") from None
        self._files.append(file)
        return file

    def of_this_process(self, new_folder: Callable[[], Path]) -> AirflowHome:
        """This home; in a process that was forked from the one that settled on it, a copy of it for that one alone.

        For racers that set up fixtures of their own: in workers each has a home of its own. Airflow moves to it.

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

    def remove_dag_files(self) -> None:
        """Remove what ``add_dag_file`` has written."""
        for file in self._files:
            file.unlink(missing_ok=True)
        self._files.clear()


def settle(settling: Settling, config: pytest.Config, shared: SharedFolders) -> AirflowHome:
    """Import Airflow on its home, see that it has a database, and return the home.

    :raises ToolkitMisuse: when Airflow is not there, has settled on a home that is not this run's, or keeps its tables
        elsewhere than in SQLite.
    """
    key = airflow_key()
    settling.lead(config)

    path = settled_home()
    if not settling.is_of_this_run(path, config):
        raise ToolkitMisuse(_too_late(settling, path))
    file = sqlite_file()
    if not file.exists():
        _publish(shared.get("airflow-home", key, migrate) / DATABASE, file)
    elif not has_tables(file):
        make_tables()
    at_work_here()
    return AirflowHome(path=path, dags_folder=dags_folder(), database=file)


def airflow_key() -> str:
    """What the tables depend on: the versions of Airflow, of providers that bring tables, and of Python.

    :raises ToolkitMisuse: when there is no Airflow here.
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
            pass  # none of its tables then
    return "-".join([*versions, f"py{sys.version_info.major}.{sys.version_info.minor}"])


def migrate(folder: Path) -> None:
    """Fill an existing empty ``folder`` with a migrated database. Takes seconds.

    :raises ToolkitMisuse: when Airflow cannot do it; with the end of what it said.
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
                timeout=DEADLINE,
            )
        except subprocess.TimeoutExpired:
            raise ToolkitMisuse(f"Airflow's database: airflow db migrate took more than {DEADLINE:.0f} s.") from None
        if done.returncode != 0:
            end = "\n".join(done.stdout.splitlines()[-20:])
            raise ToolkitMisuse(f"Airflow could not make its database (airflow db migrate):\n{end}")
        shutil.copy(home / DATABASE, folder / DATABASE)


def _publish(source: Path, file: Path) -> None:
    """The workers of another plugin may share one home: nobody sees half a database, and the first one stays."""
    draft = file.with_name(f".{file.name}-{os.getpid()}")
    shutil.copy(source, draft)
    try:
        os.link(draft, file)
    except FileExistsError:
        pass  # another worker was first
    finally:
        draft.unlink()


def _too_late(settling: Settling, path: Path) -> str:
    who = settling.importer or "a plugin that pytest loads before this one (-p cosmos_venv loads this one first)"
    return (
        f"Airflow has settled on {path}, which is not this run's to write to: it was imported by {who} before it was "
        f"known that this run needs a throw-away home. Say so: {OPTION} = true in the ini file."
    )
