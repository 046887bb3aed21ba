"""The choice of AIRFLOW_HOME for a test run, made at the first import of Airflow, which fixes the home.

Test modules import Airflow while they are collected, before any fixture runs. So the setup watches for the import. If
the run uses a fixture that needs the throw-away home, the setup first points ``AIRFLOW_HOME`` there; any other run is
left alone. Every test run of every project loads this module, so it imports next to nothing.
"""

from __future__ import annotations

import os
import re
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from types import FrameType, ModuleType

import pytest

NAME = "cosmos_venv_airflow_home"
"""The name under which pytest knows this plugin."""
OPTION = "cosmos_airflow_home"
"""The option in the ini file."""
MARKER = "cosmos-throwaway-home"
"""The marker file of a home whose database tests may restore; each home of the toolkit has it."""
HOME_VARIABLE = "AIRFLOW_HOME"
PATIENCE = 60
"""Seconds that a process waits while another process writes to the throw-away home's database. Python's own default is
5.
"""
CONFIG_VARIABLE = "AIRFLOW_CONFIG"
RUNTIME_VARIABLE = "XDG_RUNTIME_DIR"
_INHERITED = "_COSMOS_AIRFLOW_HOME_AT_START"
"""The AIRFLOW_HOME from before the run, for workers of pytest-xdist: a conftest.py may have set the one they inherit.
"""
_FOLDER = "_COSMOS_AIRFLOW_HOMES"
"""The folder of all homes of a run, for workers of pytest-xdist. The controlling process makes and removes it."""

# The throw-away home replaces the variables that say where Airflow keeps things; other variables stay.
_ELSEWHERE = (
    CONFIG_VARIABLE,
    *(f"AIRFLOW__{section}__" for section in ("DATABASE", "SECRETS", "LOGGING", "DAG_PROCESSOR")),
    *(f"AIRFLOW__CORE__{key}" for key in ("DAGS_FOLDER", "PLUGINS_FOLDER", "EXECUTOR", "SQL_ALCHEMY_CONN")),
    *(f"AIRFLOW__CORE__{key}" for key in ("LOAD_EXAMPLES", "UNIT_TEST_MODE")),
)
_NEIGHBOURS = ("pytest_airflow_in_a_box", "pytest_airflow_in_a_box.plugin")
_HOMES_OF_NEIGHBOUR = "pytest-airflow-in-a-box-"
"""The prefix of the homes that pytest-airflow-in-a-box makes for one run and removes."""
NEED_HOME = ("cosmos_airflow", "cosmos_seeds", "cosmos_race")
"""The public fixtures for which Airflow needs the throw-away home."""
_NEEDS_HOME = re.compile(rf"\b({'|'.join(NEED_HOME)})\b".encode())


class AirflowHomeSetup:
    """Watches for the first import of Airflow: a plugin of the run, and an import finder that finds nothing.

    ``importer`` is the file that imported Airflow first, and ``home`` the throw-away home; None while there is none.
    ``at_start`` is the AIRFLOW_HOME from before the run.
    """

    def __init__(self) -> None:
        self.at_start = os.environ.pop(_INHERITED, os.environ.get(HOME_VARIABLE)) or None
        told = os.environ.pop(_FOLDER, None)
        self._folder = Path(told) if told else None
        self._made: Path | None = None
        self._process = os.getpid()
        self.importer: str | None = None
        self.home: Path | None = None
        self._config: pytest.Config | None = None
        self._before: dict[str, str | None] = {}
        sys.meta_path.insert(0, self)

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self, early_config: pytest.Config) -> None:
        """Remember the configuration, which says whether the run needs the home.

        :param early_config: the configuration of the run.
        """
        self._config = early_config
        early_config.add_cleanup(self.close)  # a run may end before it is configured

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self) -> None:
        """Tell all workers, including replacements, the folder of homes and the AIRFLOW_HOME from before any
        conftest.py.
        """
        self._set(_FOLDER, str(self.folder))
        self._set(_INHERITED, str(self.home or self.at_start or ""))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Close in a worker of pytest-xdist: the controller may kill a finished worker before ``pytest_unconfigure``.

        :param session: the session that ends.
        """
        if hasattr(session.config, "workerinput"):
            self.close()

    def pytest_unconfigure(self) -> None:
        """Close before the conftest.py files are done, which may look at the variables."""
        self.close()

    def close(self) -> None:
        """Restore the variables, and remove the folders that this process has made."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for name, value in self._before.items():
            set_variable(name, value)
        self._before.clear()
        # The folder also holds homes of crashed workers.
        made = [folder for folder in (self.home, self._made) if folder is not None]
        if made and os.getpid() == self._process:  # not in a forked child that runs pytest's end too
            from pytest_cosmos_venv.throwaway import remove_folder

            for folder in made:
                remove_folder(folder)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:  # noqa: ARG002
        """Note the first import of Airflow, and point it at the home; Python calls this before any first import of a
        module.

        :param name: the full name of the module.
        :param path: has no effect.
        :param target: has no effect.
        """
        if name == "airflow":
            self.importer = importing_file(sys._getframe(1))
            if self._config is not None and is_wanted(self._config, OPTION):
                self.point_unless_taken(self._config)

    def point_unless_taken(self, config: pytest.Config) -> None:
        """Point Airflow at a home of this run, unless Airflow is imported already or the run has set another home.

        Every later import of Airflow, here or in child processes, then uses a home of this run.

        :param config: the configuration of the run.
        """
        if "airflow" not in sys.modules and not self.is_taken(config):
            self.point()

    def variables_for_children(self, config: pytest.Config) -> dict[str, str | None]:
        """Return the variables (None: to unset) for child processes that import Airflow though this process has not.

        The children use this run's home, without a database; this process keeps its variables.

        :param config: the configuration of the run.
        """
        if "airflow" in sys.modules or self.is_taken(config):
            return {}
        return self._variables_of(self._made_home())

    def is_taken(self, config: pytest.Config) -> bool:
        """Whether something else of this run has set up a home: a conftest.py, or another plugin.

        :param config: the configuration of the run.
        """
        is_set_here = (os.environ.get(HOME_VARIABLE) or None) not in (self.at_start, str(self.home))
        return is_set_here or any(map(config.pluginmanager.has_plugin, _NEIGHBOURS))

    @property
    def folder(self) -> Path:
        """The folder of this run's homes, those of pytest-xdist's workers included; made when it is missing."""
        if self._folder is None:
            import tempfile

            # The name is random: containers with one temporary folder have equal PIDs.
            self._folder = self._made = Path(tempfile.mkdtemp(prefix="cosmos-airflow-")).resolve()
        return self._folder

    def point(self) -> Path:
        """Point Airflow's variables at the home of this run, and return it. It is made, and holds no database yet."""
        home = self._made_home()
        for name, value in self._variables_of(home).items():
            self._set(name, value)
        return home

    def _made_home(self) -> Path:
        if self.home is None:
            import tempfile

            self.home = Path(tempfile.mkdtemp(prefix="", dir=self.folder))
            write_config(self.home)
        return self.home

    def _variables_of(self, home: Path) -> dict[str, str | None]:
        return {
            **dict.fromkeys(variables_of_places()),
            HOME_VARIABLE: str(home),
            CONFIG_VARIABLE: str(home / "airflow.cfg"),
            # Tasks share servers through sockets in this folder: no server outlives the run or serves another run.
            RUNTIME_VARIABLE: str(home),
        }

    def _set(self, name: str, value: str | None) -> None:
        self._before.setdefault(name, os.environ.get(name))
        set_variable(name, value)


def is_throwaway(folder: Path) -> bool:
    """Whether a home is for tests alone, so that they may put its database back: the toolkit or pytest-airflow-in-a-box
    has made it, or its owner has put the marker there.

    :param folder: the resolved folder of the home, or that of its database.
    """
    return (folder / MARKER).is_file() or folder.name.startswith(_HOMES_OF_NEIGHBOUR)


def variables_of_places() -> list[str]:
    """Return the names of the variables of this process that say where Airflow keeps things."""
    return [name for name in os.environ if name.startswith(_ELSEWHERE)]


def set_variable(name: str, value: str | None) -> None:
    """Set an environment variable of this process, or unset it.

    :param name: the name of the variable.
    :param value: its value; None: it is unset.
    """
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def is_wanted(config: pytest.Config, option: str) -> bool:
    """Whether the ini file asks for the home, or, where it says nothing, a test file names a fixture that needs it.

    :param config: the configuration of the run.
    :param option: the name of the option in the ini file.
    """
    said: bool | None = config.getini(option)
    return said if said is not None else any(map(_names_a_fixture, _test_files(config)))


def _names_a_fixture(file: Path) -> bool:
    try:
        return _NEEDS_HOME.search(file.read_bytes()) is not None
    except OSError:
        return False


def _test_files(config: pytest.Config) -> Iterator[Path]:
    """Yield every file that this run may collect, and each conftest.py on the way: no other file of a project is
    read.
    """
    wanted: list[str] = [*config.getini("python_files"), "conftest.py"]
    known = config.known_args_namespace.file_or_dir or config.getini("testpaths") or ["."]
    skipped: list[str] = config.getini("norecursedirs")
    for argument in known:
        path = (config.invocation_params.dir / str(argument).partition("::")[0]).resolve()
        yield from (folder / "conftest.py" for folder in path.parents if folder.is_relative_to(config.rootpath))
        if path.is_file():
            yield path
        for folder, names, files in os.walk(path):
            names[:] = [name for name in names if not any(fnmatch(name, pattern) for pattern in skipped)]
            if "pyvenv.cfg" in files:
                names.clear()
            yield from (Path(folder, file) for file in files if _fits(folder, file, wanted))


def _fits(folder: str, file: str, patterns: Sequence[str]) -> bool:
    """Whether a file fits patterns as in pytest's ``python_files``: a pattern without a slash matches names, others
    match paths.
    """
    return file.endswith(".py") and any(
        fnmatch(f"{folder}/{file}", f"*/{pattern}") if "/" in pattern else fnmatch(file, pattern)
        for pattern in patterns
    )


def importing_file(frame: FrameType | None) -> str | None:
    """Return the project's own file on the way to an import, else the nearest one; None where no frame has a file.

    :param frame: the frame that imports.
    """
    libraries = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    files = [file for file in _files(frame) if not file.startswith("<")]
    return next((file for file in files if not file.startswith(libraries)), next(iter(files), None))


def _files(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield frame.f_code.co_filename
        frame = frame.f_back


def write_config(home: Path) -> None:
    """Write the marker and the ``airflow.cfg`` of a throw-away home, and make its folders.

    A DAG that changes within a test is serialised anew each time, which Airflow would do only after 30 seconds.

    :param home: the folder of the home.
    """
    for folder in ("dags", "logs", "plugins"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / MARKER).touch()
    (home / "airflow.cfg").write_text(
        f"""\
[core]
dags_folder = {home}/dags
plugins_folder = {home}/plugins
load_examples = False
unit_test_mode = False
min_serialized_dag_update_interval = 0

[database]
sql_alchemy_conn = sqlite:///{home}/airflow.db?timeout={PATIENCE}
load_default_connections = False

[logging]
base_log_folder = {home}/logs

[scheduler]
child_process_log_directory = {home}/logs/scheduler
""",
        encoding="utf-8",
    )
