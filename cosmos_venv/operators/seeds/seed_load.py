"""Loading a seed only if it has changed: the task looks at the file, recalls what was loaded last, and runs dbt or not.

The file is hashed when the task runs, and what dbt has loaded is remembered only if the file is still that one then.
What was remembered before is forgotten first, and if dbt fails, what others have remembered meanwhile: it may have
written the table. A killed task leaves a file, which the next task finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv.compat import count, to_boolean
from cosmos_venv.constants import NODE_CONFIG
from cosmos_venv.dbt.command import FullOutputSubprocessResult
from cosmos_venv.dbt.project_files import has_packages
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.managed import caches
from cosmos_venv.operators.seeds.seed_checksum import (
    Decision,
    SeedContent,
    decide,
    find_seed,
    read_content,
    refuse_endless,
    wants_full_refresh,
)
from cosmos_venv.operators.seeds.seed_state import (
    OwnLoad,
    Remembered,
    Scope,
    SeedLoads,
    forget,
    own_turn,
    recall,
    remember,
)

if TYPE_CHECKING:
    from cosmos_venv.dbt.packages import ProjectPackages
    from cosmos_venv.processes.cancellation import Cancellation


class SeedTask(msgspec.Struct, frozen=True, kw_only=True):
    """The task of one seed, as far as it is known before its dbt is there.

    Most such tasks start no dbt. So this is no ``DbtRun``, whose module takes 30 ms to import, and a skip 1 ms.

    :param dag_id: id of the task's DAG, as Airflow's metrics have it.
    :param task_id: id of the task, with the groups around it.
    :param task_group: Airflow's innermost group around the task; None: there is none.
    :param context: Airflow's context of the task.
    :param log: the task's logger.
    :param cancellation: requested when the task is killed.
    :param command: dbt's command line, as far as it decides what is loaded: interceptors have been called.
    :param env: the environment variables for dbt.
    :param project_dir: folder of the dbt project.
    :param install_deps: whether ``dbt deps`` comes first; a text is what a template rendered to.
    """

    dag_id: str
    task_id: str
    task_group: Any
    context: Mapping[str, Any]
    log: Any  # Airflow has another type for it in each version
    cancellation: Cancellation
    command: Sequence[str]
    env: Mapping[str, str]
    project_dir: str | Path
    install_deps: bool | str


def run_if_changed(
    task: SeedTask,
    run_dbt: Callable[[], FullOutputSubprocessResult],
    packages: Callable[[], ProjectPackages | None],
) -> FullOutputSubprocessResult:
    """Load the seed, unless it is known that its content is what was loaded last.

    :param task: the task of the seed.
    :param run_dbt: runs dbt; what it raises passes, and nothing is remembered then.
    :param packages: gives the packages that dbt will have; None where its dbt is not known yet.
    :returns: of a seed that is not loaded: exit code 0, no output.
    :raises CosmosValueError: when the seed's file cannot be read to its end.
    """
    load = _Load(task, packages)
    if wants_full_refresh(task.command, task.env):
        load.refuse_endless()
        task.log.info("dbt loads %s, whatever is remembered of it: this is a full refresh.", load.seed)
        result = run_dbt()
        load.count("run")
        return result
    content = load.read()
    seen = recall(load.scope, task.log.warning)
    decision = decide(
        seen=None if seen is None else seen.checksum,
        now=None if content is None else content.checksum,
        full_refresh=False,
        broken_off=bool(load.loads.broken_off()),
    )
    load.tell(decision, content, seen)
    if not decision.runs:
        load.count("skipped")
        return FullOutputSubprocessResult(0, "", [])
    return _loaded(load, content, seen, run_dbt)


def _loaded(
    load: _Load,
    content: SeedContent | None,
    seen: Remembered | None,
    run_dbt: Callable[[], FullOutputSubprocessResult],
) -> FullOutputSubprocessResult:
    with load.loads.own() as own:
        has_forgotten = load.forget(seen)
        try:
            result = run_dbt()
        except BaseException:
            load.break_off(own, has_forgotten=has_forgotten)
            raise
        load.count("run")
        if content is None:  # to others it is as if dbt had not succeeded
            load.break_off(own, has_forgotten=has_forgotten)
        else:
            load.end(own, content, seen)
    return result


class _Load:
    """One seed in the hands of its task.

    :param task: the task of the seed.
    :param packages_of_dbt: gives the packages that dbt will have; None where its dbt is not known yet.
    """

    def __init__(self, task: SeedTask, packages_of_dbt: Callable[[], ProjectPackages | None]) -> None:
        self._task, self._packages_of_dbt = task, packages_of_dbt
        self._context: Mapping[str, Any] = dict(task.context)
        self._packages: Path | None = None
        self._node: Mapping[str, Any] = self._context.get(NODE_CONFIG) or {}
        self.seed = str(self._node.get("unique_id"))
        self.scope = Scope.of(task.dag_id, task.task_group, task.context, self.seed)
        self.loads = SeedLoads(cache_dir=caches.cache_dir(), key=self.scope.key)

    def refuse_endless(self) -> None:
        """Raise CosmosValueError where the seed's file has no end, such as a named pipe."""
        with ExitStack() as held:
            path = self._find(held)
            if path is not None:
                refuse_endless(path)

    def read(self) -> SeedContent | None:
        """The content of the file that dbt is about to load; None where that cannot be known."""
        with ExitStack() as held:
            path = self._find(held)
            return None if path is None else self._read(path)

    def _find(self, held: ExitStack) -> Path | None:
        """The path of the seed's file; None where it is not known.

        :param held: gets what keeps the file there.
        """
        try:
            return find_seed(
                Path(self._task.project_dir).absolute(),
                str(self._node["original_file_path"]),
                package=self._context.get("package_name"),
                installs_packages=to_boolean(self._task.install_deps) and has_packages(Path(self._task.project_dir)),
                installed=partial(self._installed_packages, held),
                environment=self._task.env,
            )
        except (CosmosLoadDbtException, KeyError, OSError) as error:
            self._task.log.warning("The file of %s is not known before dbt runs: %s", self.seed, error)
            return None

    def _installed_packages(self, held: ExitStack) -> Path | None:
        packages = self._packages_of_dbt()
        kept = None if packages is None else packages.find()
        if kept is None:
            return None
        held.callback(kept.close)
        self._packages = kept.packages
        return kept.packages

    def _has_same_packages(self) -> bool:
        """Whether dbt has run with the packages in which the file was found, and no task has installed newer ones."""
        if self._packages is None:
            return True
        with ExitStack() as held:
            return self._packages == self._installed_packages(held)

    def _read(self, path: Path) -> SeedContent | None:
        cancellation = self._task.cancellation
        try:
            content = read_content(path, pause=cancellation.raise_if_requested)
        except OSError as error:
            self._task.log.warning("The seed %s cannot be read: %s", path, error)
            return None
        cancellation.raise_if_requested()
        return content

    def tell(self, decision: Decision, content: SeedContent | None, seen: Remembered | None) -> None:
        """Say in one line whether dbt runs, and why.

        :param decision: what was decided.
        :param content: what the file holds; None: that is not known.
        :param seen: what is remembered; None: nothing.
        """
        log, path, now = self._task.log, content and content.path, content and content.checksum
        if decision is Decision.UNCHANGED and seen is not None:
            log.info("dbt does not run: %s has the SHA-256 %s, unchanged %s.", path, now, seen.since)
        elif decision is Decision.CHANGED and seen is not None:
            log.info("dbt runs: %s has the SHA-256 %s, and had %s %s.", path, now, seen.checksum, seen.since)
        elif decision is Decision.BROKEN_OFF:
            log.info("dbt runs: %s has the SHA-256 %s, unchanged, but a load of it has broken off since.", path, now)
        elif decision is Decision.FIRST:
            log.info("dbt runs: %s has the SHA-256 %s, and no earlier one is remembered.", path, now)
        else:
            log.info("dbt runs: whether %s has changed is not known.", self.seed)

    def count(self, what: str) -> None:
        """Count in Airflow's metrics.

        :param what: ``run`` or ``skipped``; docs/reference/metrics.md says what that means.
        """
        count(f"cosmos_venv.seeds.{what}", {"dag_id": self.scope.dag_id, "task_id": self._task.task_id})

    def forget(self, seen: Remembered | None) -> bool:
        """Forget what was loaded before.

        :param seen: what is remembered; None: nothing.
        :returns: whether nothing is remembered any more, as far as that is known.
        """
        return seen is None or seen.checksum is None or forget(self.scope, self._task.log.warning)

    def break_off(self, own: OwnLoad, *, has_forgotten: bool) -> None:
        """Forget what others have remembered while dbt was at work: it is not known what dbt has left in the table.

        :param own: the load of this task.
        :param has_forgotten: whether what was remembered before it is gone.
        """
        with own_turn(self.loads.cache_dir, self.loads.key):
            meanwhile = recall(self.scope, self._task.log.warning)
            has_forgotten = self.forget(meanwhile) and (has_forgotten or meanwhile is not None)
            own.break_off(is_forgotten=has_forgotten)

    def end(self, own: OwnLoad, content: SeedContent, seen: Remembered | None) -> None:
        """Remember the content with which dbt has succeeded, as far as is known.

        :param own: the load of this task.
        :param content: what the file held before dbt ran.
        :param seen: what was remembered before dbt ran; None: nothing.
        """
        with own_turn(self.loads.cache_dir, self.loads.key):
            if self._keep(content, seen, is_undisturbed=own.is_undisturbed()):
                own.end_well()
            else:
                own.end_in_doubt()

    def _keep(self, content: SeedContent, seen: Remembered | None, *, is_undisturbed: bool) -> bool:
        """Remember what was loaded; where that is not certain, see that nothing older is taken for it.

        :returns: whether it is certain.
        """
        meanwhile = recall(self.scope, self._task.log.warning)
        doubt = self._doubt(content, seen, meanwhile, is_undisturbed=is_undisturbed)
        if doubt is not None:
            self._task.log.info("%s: the next run loads it again.", doubt)
        if doubt is None or meanwhile is not None:
            checksum = content.checksum if doubt is None else None
            remember(self.scope, checksum, self._run_id(), self._task.log.warning)
        return doubt is None

    def _doubt(
        self, content: SeedContent, seen: Remembered | None, meanwhile: Remembered | None, *, is_undisturbed: bool
    ) -> str | None:
        """Why it is not certain that the table holds this content; None: it is."""
        if not content.is_still_there():
            return f"{content.path} was changed while dbt ran"
        if not self._has_same_packages():
            return f"The installed packages that have {content.path} were replaced or got too old while dbt ran"
        if not is_undisturbed:
            return f"Another load of {self.seed} has broken off meanwhile"
        if meanwhile is not None and meanwhile != seen and meanwhile.checksum != content.checksum:
            # Which of the two wrote the table last, only the warehouse knows.
            return f"Run {meanwhile.run_id} has loaded other content meanwhile"
        return None

    def _run_id(self) -> str | None:
        run_id = self._context.get("run_id") or getattr(self._context.get("dag_run"), "run_id", None)
        return None if run_id is None else str(run_id)
