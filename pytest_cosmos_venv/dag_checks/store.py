"""The records of a run: each is made once, by a process of its own, and shared by all items and workers."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv.airflow.home import DATABASE, airflow_key, migrated_database
from pytest_cosmos_venv.airflow.home_setup import (
    CONFIG_VARIABLE,
    HOME_VARIABLE,
    RUNTIME_VARIABLE,
    variables_of_places,
    write_config,
)
from pytest_cosmos_venv.airflow_release import installed_airflow
from pytest_cosmos_venv.dag_checks.record import DagRecord, failed_record, from_json, to_json
from pytest_cosmos_venv.environments.dbt_releases import DbtRelease
from pytest_cosmos_venv.environments.kept_dbt import LONGEST_INSTALLATION, kept_release
from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.implementation import KNOWN_IMPLEMENTATIONS, ImplementationError, find_implementation
from pytest_cosmos_venv.shared_folders import SharedFolders
from pytest_cosmos_venv.throwaway import remove_folder, throwaway_folder

TIMEOUT = 600.0
"""Seconds that importing one file may take."""
SEEDS = ("0", "4242")
"""The seeds of Python's hashes: the seed for the record, and a second seed."""
_FILE = "record.json"
_CHILD = "pytest_cosmos_venv.dag_checks.child"
_PATIENCE = TIMEOUT + LONGEST_INSTALLATION
# Variables for the user's own Airflow: the checks have Connections and secrets of their own.
_NOT_INHERITED = ("AIRFLOW_CONN_", "AIRFLOW__WORKERS__SECRETS", "PYTEST_", "COV_")
_LAST_LINES = 30
_OWN, _NOBODY = "own", "nobody"
"""Values of ``lister``: the file's own dbt, or no dbt, so that the import ends before nodes are listed; else the name
of a release.
"""


@dataclass(frozen=True, kw_only=True)
class RecordStore:
    """The records of a run.

    :param run: the folder of the run, which its workers share.
    :param kept: the folder in which environments and Airflow's database are kept between runs.
    :param dags_folder: the folder from which DAG files import each other; None: the folder of each file.
    :param python_path: more folders from which DAG files import.
    :param implementation: the import root that was named; None: those that the file imports, or the installed one.
    :param release: the release of dbt that lists nodes; None: the file's own dbt does.
    """

    run: Path
    kept: Path
    dags_folder: Path | None
    python_path: tuple[str, ...]
    implementation: str | None
    release: DbtRelease | None

    def record(self, file: Path, seed: str = SEEDS[0]) -> DagRecord:
        """Return the record of a DAG file, made when it is not there yet.

        :param file: the DAG file.
        :param seed: the seed of Python's hashes.
        """
        if self.release is None:
            return self._record(file, seed, _OWN)
        # A file that asks no dbt is imported once for all releases, and needs none of them.
        is_alike = not self._record(file, SEEDS[0], _NOBODY).loads_by_dbt_ls
        return self._record(file, seed, _NOBODY if is_alike else self.release.name)

    def _record(self, file: Path, seed: str, lister: str) -> DagRecord:
        made = SharedFolders(root=self.run).get(
            "record",
            f"{self._key(file, lister)}-{seed}",
            lambda folder: (folder / _FILE).write_text(to_json(self._made(folder, file, seed, lister)), "utf-8"),
            timeout=_PATIENCE,
        )
        return from_json((made / _FILE).read_text(encoding="utf-8"))

    def _made(self, folder: Path, file: Path, seed: str, lister: str) -> DagRecord:
        """Import a file in a process of its own, and return the record of that process."""
        try:
            roots, dbt = self._roots(file), self._dbt(lister)
        except (ImplementationError, ToolkitMisuse) as error:
            return failed_record(str(error))
        output = folder / "seen.json"
        request = {"file": str(file), "output": str(output), "roots": roots, "dbt": dbt}
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        # The home starts empty: an import keeps data there, which the next import finds.
        home = SharedFolders(root=self.kept).get("dag-home", self._key(file, lister), lambda _: None)
        # A short path: sockets lie in it, and the path of a socket has at most 107 bytes.
        with throwaway_folder("cosmos-dag-") as scratch:
            environment = {**self._environment(file, home, scratch, seed), **_without_database(roots)}
            told = self._run(folder / "request.json", environment, folder / "output.txt")
        if not output.exists():
            return failed_record(told)
        record = from_json(output.read_text(encoding="utf-8"))
        if record.needs is not None:
            # An implementation may remember a failed installation for a while, even when the network is back.
            remove_folder(home)
        return record

    def _key(self, file: Path, lister: str) -> str:
        return hashlib.sha256(f"{file}\n{lister}".encode()).hexdigest()[:16]

    def _dbt(self, lister: str) -> str | None:
        if self.release is None or lister == _NOBODY:
            return None if self.release is None else ""
        return str(kept_release(SharedFolders(root=self.kept), self.release).dbt)

    def _roots(self, file: Path) -> list[str]:
        if self.implementation is not None:
            return [find_implementation(self.implementation).import_root]
        text = file.read_text(encoding="utf-8", errors="replace")
        named = [root for root in KNOWN_IMPLEMENTATIONS if re.search(rf"^\s*(?:from|import)\s+{root}\b", text, re.M)]
        return named or [find_implementation(None).import_root]

    def _run(self, request: Path, environment: Mapping[str, str], output: Path) -> str:
        """Run the process to its end, and return the error text for a process that has left no record."""
        with output.open("wb") as stream:
            command = [sys.executable, "-W", "ignore", "-m", _CHILD, str(request)]
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
            )
            try:
                code: int | None = process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end_group(process)
        said = "\n".join(output.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:])
        if code is None:
            return f"The import did not end within {TIMEOUT:.0f} s. The end of its output:\n{said}"
        return f"The process that imported the file ended with exit code {code}. The end of its output:\n{said}"

    def _environment(self, file: Path, home: Path, scratch: Path, seed: str) -> dict[str, str]:
        places = variables_of_places()
        outer = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        write_config(scratch)
        (scratch / "tmp").mkdir()
        if (installed_airflow() or "").startswith("2."):
            # On Airflow 2 a DAG file may write to the database, as operators of astronomer-cosmos do.
            shutil.copy(migrated_database(SharedFolders(root=self.kept), airflow_key()), scratch / DATABASE)
        folder = self.dags_folder or file.parent
        path = [str(folder), *self.python_path, *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            **{name: value for name, value in outer.items() if name not in places},
            HOME_VARIABLE: str(home),
            CONFIG_VARIABLE: str(scratch / "airflow.cfg"),
            RUNTIME_VARIABLE: str(scratch),
            "TMPDIR": str(scratch / "tmp"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder),
            "AIRFLOW__SECRETS__BACKEND": "pytest_cosmos_venv.dag_checks.fake_connections.FakeSecrets",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONHASHSEED": seed,
            # A run leaves nothing beside the DAG files.
            "PYTHONDONTWRITEBYTECODE": "1",
            "DO_NOT_TRACK": "1",
        }


def _without_database(roots: Sequence[str]) -> dict[str, str]:
    """Return settings with which implementations need no database of Airflow when a file is imported."""
    # By default astronomer-cosmos stores the output of dbt ls in an Airflow Variable. cosmos-venv goes on
    # without Variables if they cannot be used, and so needs no setting.
    return {"AIRFLOW__COSMOS__ENABLE_CACHE_DBT_LS": "False"} if "cosmos" in roots else {}


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the processes that a process has started and left behind."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
