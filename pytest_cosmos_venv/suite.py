"""The run of the conformance suite: a pytest process of its own, which the project's configuration cannot reach.

``addopts`` and ``conftest.py`` are read before a plugin can object, so the plugin starts this second process, and
passes on the options of the command line.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import FrameType
from typing import Any

from pytest_cosmos_venv.throwaway import throwaway_folder

SUITE = Path(__file__).parent / "conformance"
"""The suite beside the plugin's own file: ``import conformance`` could find a user's folder of that name."""
# ``python -m pytest`` puts the current directory on the path; the suite judges what is installed.
_START = "import sys; sys.path[:] = [entry for entry in sys.path if entry]; import pytest; sys.exit(pytest.main())"
CLOSING_OPTION = "--cosmos-closing"
"""The option with the descriptor to which the suite writes its closing record."""
REPORT_FILES = ("report.json", "report.html", "summary.md", "badge.svg")
"""The files of a report; the closing record vouches for the first."""
RUN_FOLDER = "cosmos-conformance-"
"""The beginning of the name of the folder for everything that a run writes."""
_PLUGINS = ("pytest_cosmos_venv.plugin", "xdist.plugin")
_LONGEST_RECORD = 4096
# pytest's exit codes without a verdict: interrupted, internal error, usage error.
_CLAIM_NOTHING = (2, 3, 4)
# PYTEST_*: additions of the project to each run. AIRFLOW*, DBT_*: the suite has a database, connections and settings
# of its own. PIP_*, UV_*: the suite installs from a folder; a configured index would take part in error cases only.
# PYTHONOPTIMIZE: a Python that skips assertions would pass every check.
_PREFIXES_LEFT_BEHIND = ("AIRFLOW", "DBT_", "PIP_", "PYTEST_", "PYTHONOPTIMIZE", "UV_")


class SuiteExit(IntEnum):
    """Exit codes of a run beside pytest's own, which keep their meaning."""

    SMOKE_FAILED = 10
    """Nothing was judged: the environment or the adapter is at fault."""
    INCOMPLETE = 11
    """Something was left out or cut off, or the harness failed: no verdict."""


@dataclass(frozen=True, kw_only=True)
class SuiteRun:
    """One run of the suite, decided and not yet started.

    :param options: the options of the command line, in pytest's own spelling, without ``--cosmos-conformance``.
    :param implementation: the implementation as the user named it; None: none was named.
    :param set_aside: the parts of the user's configuration that do not apply, for the header.
    :param root: an existing empty directory for everything that the run writes.
    :param has_servers: whether it judges what needs servers of Airflow, and nothing else.
    :param closing: the descriptor to which the suite writes its closing record; None: it writes none.
    """

    options: Sequence[str]
    implementation: str | None
    set_aside: Sequence[str]
    root: Path
    has_servers: bool = False
    closing: int | None = None

    @property
    def command(self) -> list[str]:
        """The command line. Ours comes last, since pytest obeys the last of two equal options."""
        implementation = [] if self.implementation is None else [f"--cosmos-implementation={self.implementation}"]
        set_aside = [f"--cosmos-set-aside={', '.join(self.set_aside)}"] if self.set_aside else []
        return [
            sys.executable,
            "-c",
            _START,
            *self.options,
            "-p",
            "pytest_cosmos_venv.conformance.session",
            "-c",
            str(SUITE / "pytest.ini"),
            f"--rootdir={SUITE}",
            "--noconftest",
            f"--basetemp={self.root / 'pytest'}",
            *self._cache,
            *implementation,
            *set_aside,
            *([] if self.closing is None else [f"{CLOSING_OPTION}={self.closing}"]),
            *map(str, suite_files(has_servers=self.has_servers)),
        ]

    @property
    def _cache(self) -> list[str]:
        """The option that sets the folder of pytest's cache. Without the cache plugin pytest knows no such setting: if
        the user has turned the plugin off, there is no option.
        """
        is_off = any("no:cacheprovider" in option for option in self.options)
        return [] if is_off else [f"--override-ini=cache_dir={self.root / 'cache'}"]

    def environment(self, outer: Mapping[str, str]) -> dict[str, str]:
        """Return the environment variables of the run.

        :param outer: the environment variables of the process that starts it.
        """
        kept = {name: value for name, value in outer.items() if not name.startswith(_PREFIXES_LEFT_BEHIND)}
        if path := kept.get("PYTHONPATH"):
            # Tasks start in folders of their own, where a relative path would name another folder.
            kept["PYTHONPATH"] = os.pathsep.join(str(Path(each).absolute()) for each in path.split(os.pathsep) if each)
        # No other installed plugin, such as a plugin of the implementation, may run in the suite. Workers of
        # pytest-xdist load these plugins before they read the ini file.
        there = [name for name in _PLUGINS if importlib.util.find_spec(name.partition(".")[0]) is not None]
        judge = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": ",".join(there)}
        own = {"AIRFLOW_HOME": "airflow", "TMPDIR": "tmp", "PIP_CACHE_DIR": "pip", "UV_CACHE_DIR": "uv"}
        # Switches telemetry off: without a network, its DNS lookup delays each task.
        return {**kept, **judge, "DO_NOT_TRACK": "1", **{name: str(self.root / folder) for name, folder in own.items()}}


def why_not_on(platform: str) -> str | None:
    """Return why the suite cannot run on a platform; None where it can.

    :param platform: the name, as in ``sys.platform``.
    """
    if platform not in ("win32", "cygwin"):
        return None
    return (
        "--cosmos-conformance runs on Linux, and on macOS as far as it can: what it judges are POSIX signals, process "
        f"groups and forks, which {platform} has not. Run it in WSL or in a container."
    )


def suite_files(*, has_servers: bool = False) -> list[Path]:
    """Return the files of a run of the suite, the smoke check first.

    They are named one by one, since pytest would filter a directory by the user's ``python_files``.

    :param has_servers: whether the run judges what needs servers of Airflow, and nothing else.
    """
    checks = SUITE / "checks"
    smoke = checks / "test_smoke.py"
    files = sorted(checks.rglob("test_*.py"))
    return [smoke, *(file for file in files if file != smoke and (file.parent.name == "served") is has_servers)]


def run_suite(
    options: Sequence[str],
    *,
    implementation: str | None,
    set_aside: Sequence[str],
    has_servers: bool = False,
    report: Path | None = None,
) -> int:
    """Run the suite to its end in a directory that is gone afterwards, and return its exit code.

    The suite's exit code is returned if the closing record has the same code; codes 2 to 4 claim nothing, and need no
    record. Otherwise the code is 11, and the report is removed. SIGTERM interrupts the run, as Ctrl-C does.

    :param options: the options, as for ``SuiteRun``.
    :param implementation: the implementation, as for ``SuiteRun``.
    :param set_aside: the parts of the configuration that do not apply, as for ``SuiteRun``.
    :param has_servers: as for ``SuiteRun``.
    :param report: the folder in which the suite leaves a report; None: it leaves none.
    """
    interruption = _Interruption()
    with (
        interruption.at_sigterm(),
        contextlib.closing(_Closing()) as closing,
        throwaway_folder(RUN_FOLDER) as root,
    ):
        run = SuiteRun(
            options=options,
            implementation=implementation,
            set_aside=set_aside,
            root=root,
            has_servers=has_servers,
            closing=closing.writing,
        )
        (run.root / "tmp").mkdir()
        # Only this process inherits the descriptor, and it passes the descriptor to no other process.
        with subprocess.Popen(run.command, env=run.environment(os.environ), pass_fds=[closing.writing]) as process:
            interruption.aim_at(process)
            code = _wait(process)
        why = closing.why_not(code, report)
    if why is None:
        return code
    if report is not None:
        for name in REPORT_FILES:
            (report / name).unlink(missing_ok=True)
    print(f"--cosmos-conformance: {why}: no verdict (exit code {SuiteExit.INCOMPLETE:d}).", file=sys.stderr)
    return SuiteExit.INCOMPLETE


class _Closing:
    """The pipe for the suite's closing record.

    Without this record no exit code is a verdict; no other code can forge a record.
    """

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)

    def close(self) -> None:
        for descriptor in (self._reading, self.writing):
            os.close(descriptor)

    def why_not(self, code: int, report: Path | None) -> str | None:
        """Return why an exit code is no verdict; None where the closing record has this code, or the code claims
        nothing.

        :param code: the exit code of the suite's process; negative: a signal has ended it.
        :param report: the folder of the report; None: there is none.
        """
        if code in _CLAIM_NOTHING:
            return None
        ended = f"its process was ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"
        record = self._read()
        if record is None:
            return f"{ended} before the suite had closed"
        if record.get("exit_code") != code:
            return f"{ended}, and the suite had closed with {record.get('exit_code')}"
        if report is not None and record.get("report") != _digest(report / REPORT_FILES[0]):
            return f"{report / REPORT_FILES[0]} is not the report that the suite has written"
        return None

    def _read(self) -> dict[str, Any] | None:
        try:
            record = json.loads(os.read(self._reading, _LONGEST_RECORD))
        except (BlockingIOError, ValueError):
            return None
        return record if isinstance(record, dict) else None


def _digest(file: Path) -> str | None:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


@dataclass
class _Interruption:
    """Passes SIGTERM on to the suite's process, as SIGINT: a supervisor signals the starting process alone.

    The signal handler raises nothing: an error inside ``Popen`` would leave an orphaned process.
    """

    process: subprocess.Popen[bytes] | None = None
    is_asked: bool = False

    @contextmanager
    def at_sigterm(self) -> Iterator[None]:
        """Let SIGTERM interrupt the process, within the block."""
        if threading.current_thread() is not threading.main_thread():  # only the main thread may set signal handlers
            yield
            return
        before = signal.signal(signal.SIGTERM, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def aim_at(self, process: subprocess.Popen[bytes]) -> None:
        """Let SIGTERM interrupt a process from now on; interrupt it at once where SIGTERM has come already.

        :param process: the process.
        """
        self.process = process
        if self.is_asked:
            process.send_signal(signal.SIGINT)

    def _interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if self.process is None:
            self.is_asked = True
        else:
            self.process.send_signal(signal.SIGINT)  # does nothing where it has ended


def _wait(process: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal has sent SIGINT to the suite as well, which cleans up and reports it.
            continue
