"""``--cosmos-record``: every dbt that a test starts is recorded.

The recorder replaces dbt in command lines at two places. One is ``subprocess.Popen`` in the test's own process, for
tests and implementations that start dbt there. The other is ``run_subprocess`` of the base class of all operators in
Cosmos's import layout, because an implementation may start dbt in another process. The command line of
``run_subprocess`` also holds the dbt of a new virtual environment.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pytest_cosmos_venv.fake_dbt.recorded import INDEX
from pytest_cosmos_venv.recordings.command_files import read_index
from pytest_cosmos_venv.recordings.recorder import write_recording_dbt

_OUTSIDE = "outside-of-tests"
_PROGRAMS = ("dbt",)
_IN_THE_TASK = (
    "A dbt that runs inside a task's own process (InvocationMode.DBT_RUNNER) is not recorded: use "
    "InvocationMode.SUBPROCESS in a run that is recorded."
)
_OPERATORS = re.compile(r"\w+\.operators\.local")
# Ids of this form stay distinct when other characters than letters, digits, "_" and "." become dashes.
_PLAIN_ID = re.compile(r"[\w.]+(/[\w.]+)*(::[\w.]+)*(\[[\w.]+(-[\w.]+)*\])?")
_LONGEST_NAME = 255
"""The longest file name on common file systems, in bytes."""
_DIGITS_OF_A_DIGEST = 8
# A warm dbt server starts no process that could be recorded. These variables switch the servers off.
_SERVERS_OFF = ("AIRFLOW__COSMOS_VENV__LOCAL_WARM_DBT", "AIRFLOW__COSMOS_VENV__VIRTUALENV_WARM_DBT")


class RecordedTests:
    """The plugin of a run with ``--cosmos-record``: a recording for each test that starts dbt.

    :param folder: the folder of the recordings.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._current = folder / _OUTSIDE
        self._scripts = Path(tempfile.mkdtemp(prefix="cosmos-record-"))
        self._is_new = False
        self._patch = pytest.MonkeyPatch()
        self._finder = _OperatorsFinder(self._put_in_front_of_operators)

    def start(self) -> None:
        """Record every dbt from now on."""
        start = subprocess.Popen.__init__

        @functools.wraps(start)
        def start_recorded(process: Any, args: Any, *rest: Any, **options: Any) -> None:
            start(process, self._recorded(args, options), *rest, **options)

        self._patch.setattr(subprocess.Popen, "__init__", start_recorded)
        for name in _SERVERS_OFF:
            self._patch.setenv(name, "off")
        for name, module in list(sys.modules.items()):
            if _OPERATORS.fullmatch(name):
                self._put_in_front_of_operators(module)
        sys.meta_path.insert(0, self._finder)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Record into the folder of the test.

        :param item: the test.
        """
        self._current = self._folder / recording_name(item.nodeid)
        self._is_new = True
        try:
            return (yield)
        finally:
            self._current = self._folder / _OUTSIDE

    def pytest_unconfigure(self) -> None:
        """Undo all patches and remove the scripts."""
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        self._patch.undo()
        shutil.rmtree(self._scripts, ignore_errors=True)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the number of recorded commands and recordings.

        :param terminalreporter: pytest's reporter.
        """
        places = sorted(each.parent for each in self._folder.glob(f"*/{INDEX}"))
        number = sum(len(read_index(place)["commands"]) for place in places)
        where = f"in {len(places)} recordings under {self._folder}"
        terminalreporter.write_line(f"cosmos: {number} commands of dbt {where}")

    def _recorded(self, args: Any, options: dict[str, Any]) -> Any:
        is_words = isinstance(args, Sequence) and not isinstance(args, (str, bytes)) and args
        if not is_words or options.get("shell") or options.get("executable"):
            return args
        try:
            program = os.fsdecode(args[0])
        except TypeError:
            return args
        return [self._script_for(program), *args[1:]] if self._is_dbt(program) else args

    def _is_dbt(self, program: str) -> bool:
        return Path(program).name in _PROGRAMS and not Path(program).is_relative_to(self._scripts)

    def _script_for(self, program: str) -> str:
        if self._is_new and (self._current / INDEX).is_file():
            # The recording of an earlier run is removed only when this run starts dbt: a test may be skipped.
            shutil.rmtree(self._current)
        self._is_new = False
        place = self._scripts / f"{abs(hash((program, self._current))):x}" / "bin" / Path(program).name
        if not place.exists():
            write_recording_dbt(program, self._current, place)
        return str(place)

    def _put_in_front_of_operators(self, module: ModuleType) -> None:
        for found in list(vars(module).values()):
            if isinstance(found, type):
                for name in ("run_subprocess", "run_dbt_runner"):
                    owner = next((each for each in reversed(found.__mro__) if name in vars(each)), None)
                    if owner is not None and not hasattr(vars(owner)[name], "cosmos_recorded"):
                        self._patch.setattr(owner, name, self._in_front_of(vars(owner)[name], name))

    def _in_front_of(self, method: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(method)
        def recorded(operator: Any, *args: Any, **options: Any) -> Any:
            if name == "run_dbt_runner":
                warnings.warn(pytest.PytestWarning(_IN_THE_TASK), stacklevel=2)
                return method(operator, *args, **options)
            words = options["command"] if "command" in options else args[0]
            if words and self._is_dbt(str(words[0])):
                words = [self._script_for(str(words[0])), *words[1:]]
            if "command" in options:
                return method(operator, *args, **{**options, "command": words})
            return method(operator, words, *args[1:], **options)

        recorded.cosmos_recorded = True  # type: ignore[attr-defined]
        return recorded


def recording_name(nodeid: str) -> str:
    """Return the name of the folder in which a test is recorded: ``test_night.py-test_it_loads``.

    A digest of the id is appended where the name alone would be too long or not unique: ``test_it[<]`` and
    ``test_it[>]`` have different names.

    :param nodeid: the id of the test, as pytest has it.
    """
    name = re.sub(r"[^\w.]+", "-", nodeid).strip("-")
    if _PLAIN_ID.fullmatch(nodeid) and len(name.encode()) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(nodeid.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS_OF_A_DIGEST]
    room = _LONGEST_NAME - len(digest) - 1
    return f"{name.encode()[:room].decode(errors='ignore').rstrip('-')}-{digest}"


class _OperatorsFinder(MetaPathFinder):
    """Calls a function with the module of the operators after its import; other finders find the module.

    :param tell: called with the imported module.
    """

    def __init__(self, tell: Callable[[ModuleType], None]) -> None:
        self._tell = tell

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if not _OPERATORS.fullmatch(name):
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        spec = next(filter(None, (finder.find_spec(name, path, target) for finder in others)), None)
        loader: Any = spec.loader if spec is not None else None
        if loader is not None:
            execute = loader.exec_module

            def execute_and_tell(module: ModuleType) -> None:
                # The loader may be one for many modules, as pytest's assertion rewriter is.
                loader.exec_module = execute
                execute(module)
                self._tell(module)

            loader.exec_module = execute_and_tell
        return spec
