"""Loading a seed only if it has changed: the task looks at the file, recalls what was loaded last, and runs dbt or not.

The file is hashed when the task runs, and what dbt has loaded is remembered only if the file is still that one then.
Whatever is not known means that dbt runs.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv.compat import count, to_boolean
from cosmos_venv.constants import NODE_CONFIG
from cosmos_venv.dbt.command import FullOutputSubprocessResult
from cosmos_venv.dbt.project_files import has_packages
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.files.read_limits import ANY_SIZE, UnfitFileError, refuse_unfit_file
from cosmos_venv.operators.seeds.seed_checksum import SeedContent, find_seed, read_content, wants_full_refresh
from cosmos_venv.operators.seeds.seed_state import Remembered, Scope, begin_load, end_load, recall

if TYPE_CHECKING:
    from cosmos_venv.dbt.packages import ProjectPackages


class SeedTask(msgspec.Struct, frozen=True, kw_only=True):
    """The task of one seed, as far as it is known before its dbt is there.

    Most such tasks start no dbt. So this is no ``DbtRun``, whose module takes 30 ms to import, and a skip 1 ms.

    :param operator: the ``DbtSeedLocalOperator``, with its templates rendered.
    :param context: Airflow's context of the task.
    :param command: dbt's command line, as far as it decides what is loaded: interceptors have been called.
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

    @property
    def run_id(self) -> str:
        """Id of the DAG run; a random one where Airflow does not run the task."""
        found = self.context.get("run_id") or getattr(self.context.get("dag_run"), "run_id", None)
        return str(found or uuid.uuid4())

    def count(self, what: str) -> None:
        """Count in Airflow's metrics.

        :param what: ``run`` or ``skipped``; docs/reference/metrics.md says what that means.
        """
        count(f"cosmos_venv.seeds.{what}", {"dag_id": self.operator.dag_id, "task_id": self.operator.task_id})


def run_if_changed(task: SeedTask, run_dbt: Callable[[], FullOutputSubprocessResult]) -> FullOutputSubprocessResult:
    """Load the seed, unless it is known that its content is what was loaded last.

    :param task: the task of the seed.
    :param run_dbt: runs dbt; what it raises passes, and nothing is remembered then.
    :returns: of a seed that is not loaded: exit code 0, no output.
    :raises CosmosValueError: when the seed's file is a pipe, a socket or a device.
    """
    operator, log = task.operator, task.operator.log
    scope = Scope.of(operator.dag_id, operator.task_group, task.context, str(task.node.get("unique_id")))
    if wants_full_refresh(task.command, task.env):
        _refuse_endless(task)
        log.info("dbt loads %s, whatever is remembered of it: this is a full refresh.", scope.seed)
        result = run_dbt()
        task.count("run")
        return result
    content = _content(task)
    seen = recall(scope, log.warning)
    log.info("%s", _sentence(scope.seed, content, seen))
    if content is not None and seen is not None and seen.checksum == content.checksum:
        task.count("skipped")
        return FullOutputSubprocessResult(0, "", [])
    return _loaded(task, scope, content, seen, run_dbt)


def _loaded(
    task: SeedTask,
    scope: Scope,
    content: SeedContent | None,
    seen: Remembered | None,
    run_dbt: Callable[[], FullOutputSubprocessResult],
) -> FullOutputSubprocessResult:
    run_id, warn = task.run_id, task.operator.log.warning
    begin_load(scope, run_id, seen, warn)
    try:
        result = run_dbt()
    except BaseException:
        end_load(scope, None, run_id, warn)
        raise
    task.count("run")
    doubt = None if content is None else _doubt(task, content)
    is_alone = end_load(scope, content.checksum if content is not None and doubt is None else None, run_id, warn)
    if not is_alone:
        doubt = f"Another run has loaded {scope.seed} meanwhile, or was killed while it did"
    if doubt is not None:
        task.operator.log.info("%s: the next run loads it again.", doubt)
    return result


def _sentence(seed: str, content: SeedContent | None, seen: Remembered | None) -> str:
    """Whether dbt runs, and why."""
    if content is None:
        return f"dbt runs: whether {seed} has changed is not known."
    has = f"{content.path} has the SHA-256 {content.checksum}"
    if seen is None:
        return f"dbt runs: {has}, and no earlier one is remembered."
    if seen.checksum == content.checksum:
        return f"dbt does not run: {has}, unchanged {seen.since}."
    return f"dbt runs: {has}, and had {seen.checksum} {seen.since}."


def _doubt(task: SeedTask, content: SeedContent) -> str | None:
    """Why it is not certain that dbt has loaded this content; None: it is."""
    if not content.is_still_there():
        return f"{content.path} was changed while dbt ran"
    if _path(task) != content.path:
        return f"The installed packages that have {content.path} were replaced or got too old while dbt ran"
    return None


def _content(task: SeedTask) -> SeedContent | None:
    """The content of the file that dbt is about to load; None where that cannot be known."""
    path = _path(task)
    if path is None:
        return None
    try:
        content = read_content(path)
    except UnfitFileError as error:
        raise _refusal(error) from None
    except OSError as error:
        task.operator.log.warning("The seed %s cannot be read: %s", path, error)
        return None
    task.operator._cancellation.raise_if_requested()
    return content


def _refuse_endless(task: SeedTask) -> None:
    """Refuse a pipe, a socket or a device. A file of an installed package, or one that is not found, is left to dbt."""
    try:
        refuse_unfit_file(_found(task, lambda: None), ANY_SIZE)
    except UnfitFileError as error:
        raise _refusal(error) from None
    except (CosmosLoadDbtException, KeyError, OSError):
        return


def _refusal(error: UnfitFileError) -> CosmosValueError:
    """The error for a file that dbt would wait for."""
    return CosmosValueError(f"The seed {error.filename} cannot be loaded: {error.strerror}. Put a CSV file there.")


def _path(task: SeedTask) -> Path | None:
    """The path of the seed's file; None where it is not known."""
    operator = task.operator

    def installed() -> Path | None:
        packages: ProjectPackages | None = operator.packages_before_dbt(task.command[0], task.env)
        kept = None if packages is None else packages.find()
        return None if kept is None else kept.packages

    try:
        return _found(task, installed)
    except (CosmosLoadDbtException, KeyError, OSError) as error:
        operator.log.warning("The file of %s is not known before dbt runs: %s", task.node.get("unique_id"), error)
        return None


def _found(task: SeedTask, installed: Callable[[], Path | None]) -> Path:
    operator = task.operator
    return find_seed(
        Path(operator.project_dir).absolute(),
        str(task.node["original_file_path"]),
        package=task.context.get("package_name"),
        installs_packages=to_boolean(operator.install_deps) and has_packages(Path(operator.project_dir)),
        installed=installed,
        environment=task.env,
    )
