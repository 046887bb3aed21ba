"""Loading a seed only if it has changed: the task looks at the file, recalls what was loaded last, and runs dbt or not.

The file is hashed when the task runs. Its checksum is remembered only if the file is still the same after dbt. Where
something is not known, dbt runs.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from cosmos_venv.compat import count, to_boolean
from cosmos_venv.constants import NODE_CONFIG
from cosmos_venv.dbt.command import NOTHING_TO_DO, FullOutputSubprocessResult
from cosmos_venv.dbt.project_files import has_packages, read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.read_limits import sha256_of_file
from cosmos_venv.operators.seeds.seed_state import Remembered, Scope, begin_load, end_load, recall

_FULL_REFRESH = frozenset({"--full-refresh", "-f"})


class SeedTask(msgspec.Struct, frozen=True, kw_only=True):
    """The task of one seed, with what is known before dbt is prepared.

    Most such tasks start no dbt. So this is no ``DbtRun``: its module takes 30 ms to import, and a skip 1 ms in all.

    :param operator: the ``DbtSeedLocalOperator``, with its templates rendered.
    :param context: Airflow's context of the task.
    :param command: dbt's command line, after the interceptors: it decides what is loaded.
    :param env: the environment variables for dbt.
    """

    operator: Any
    context: Mapping[str, Any]
    command: Sequence[str]
    env: Mapping[str, str]

    @property
    def node(self) -> Mapping[str, Any]:
        """The node of the seed, as the task's context has it."""
        return self.context.get(NODE_CONFIG) or {}

    def count(self, what: str) -> None:
        """Count in Airflow's metrics.

        :param what: ``run`` or ``skipped``, as docs/reference/metrics.md explains them.
        """
        count(f"cosmos_venv.seeds.{what}", {"dag_id": self.operator.dag_id, "task_id": self.operator.task_id})


def run_if_changed(task: SeedTask, run_dbt: Callable[[], FullOutputSubprocessResult]) -> FullOutputSubprocessResult:
    """Load the seed, unless it is known that this content was loaded last.

    :param task: the task of the seed.
    :param run_dbt: runs dbt. Its errors are passed on, and nothing is remembered then.
    :returns: dbt's result; for a seed that is not loaded, exit code 0 and no output.
    """
    operator, log = task.operator, task.operator.log
    scope = Scope.of(operator.dag_id, operator.task_group, task.context, str(task.node.get("unique_id")))
    if wants_full_refresh(task.command, task.env):
        log.info("dbt loads %s, whatever is remembered of it: this is a full refresh.", scope.seed)
        result = run_dbt()
        task.count("run")
        return result
    file = _file(task)
    checksum = _checksum(task, file)
    seen = recall(scope, log.warning)
    log.info("%s", _sentence(scope.seed, file, checksum, seen))
    if seen is not None and seen.checksum == checksum:
        task.count("skipped")
        return NOTHING_TO_DO
    run_id = str(task.context.get("run_id") or uuid.uuid4())  # without Airflow there is no id
    loaded = None
    begin_load(scope, run_id, seen, log.warning)
    try:
        result = run_dbt()
        loaded = checksum if checksum and checksum == _checksum(task, file) else None
    finally:
        is_alone = end_load(scope, run_id, loaded, log.warning)
    task.count("run")
    if loaded != checksum:
        log.info("%s was changed while dbt ran: the next run loads it again.", file)
    elif not is_alone:
        doubt = "Another run has loaded %s meanwhile, or was killed while it did: the next run loads it again."
        log.info(doubt, scope.seed)
    return result


def wants_full_refresh(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether this command is a full refresh to dbt: by a flag, or by dbt's variable for it.

    :param command: the whole command line.
    :param env: the environment variables of the process; dbt 1.11 knows the longer name, and prefers it.
    """
    said = env.get("DBT_ENGINE_FULL_REFRESH") or env.get("DBT_FULL_REFRESH")
    return to_boolean(said) or not _FULL_REFRESH.isdisjoint(command)


def _sentence(seed: str, file: Path | None, checksum: str | None, seen: Remembered | None) -> str:
    """Whether dbt runs, and why."""
    if checksum is None:
        return f"dbt runs: whether {seed} has changed is not known."
    has = f"{file} has the SHA-256 {checksum}"
    if seen is None:
        return f"dbt runs: {has}, and no earlier one is remembered."
    if seen.checksum == checksum:
        return f"dbt does not run: {has}, unchanged {seen.since}."
    return f"dbt runs: {has}, and had {seen.checksum} {seen.since}."


def _file(task: SeedTask) -> Path | None:
    """The file that dbt loads. None where the file is not known before ``dbt deps`` has run.

    The project's files tell it as they are now: a manifest may be older.
    """
    operator = task.operator
    project, package = Path(operator.project_dir).absolute(), task.context.get("package_name")
    try:
        found = read_dbt_project(project, environment=task.env)
    except CosmosLoadDbtException as error:
        operator.log.warning("%s", error)
        return None
    folder = project
    if package is not None and found.name not in (None, package):
        if to_boolean(operator.install_deps) and has_packages(project):
            operator.log.info("dbt deps installs the package %s, so its seeds are loaded each time.", package)
            return None
        folder = project / found.packages_folder / package
    return Path(folder, task.node["original_file_path"])


def _checksum(task: SeedTask, file: Path | None) -> str | None:
    """The SHA-256 of the file's bytes, 64 hex digits; None where it cannot be read."""
    try:
        return None if file is None else sha256_of_file(file)
    except OSError as error:
        task.operator.log.warning("The seed %s cannot be read: %s", file, error)
        return None
