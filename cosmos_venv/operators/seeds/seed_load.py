"""How does a task load a seed only if it has changed? It looks at the file, asks the memory, and runs dbt or does not.

The file is hashed when the task runs, and what dbt has loaded is remembered only if the file is still that one then.
What was remembered before is forgotten first, and if dbt fails, what others have remembered meanwhile: it may have
written the table. Of a task that is killed a file is left, which the next one finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_venv.compat import count, to_boolean
from cosmos_venv.constants import NODE_CONFIG
from cosmos_venv.dbt.invocation import FullOutputSubprocessResult
from cosmos_venv.dbt.project_files import has_packages
from cosmos_venv.dbt.seed_checksum import (
    Decision,
    SeedContent,
    decide,
    find_seed,
    read_content,
    refuse_endless,
    wants_full_refresh,
)
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.managed import from_settings
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
from cosmos_venv.processes.guarded_process import Cancellation

if TYPE_CHECKING:
    from cosmos_venv.operators.run.dbt_run import LocalRun


def run_if_changed(
    operator: LocalRun,
    command: Sequence[str],
    env: Mapping[str, str],
    context: Mapping[str, Any],
    run: Callable[[], FullOutputSubprocessResult],
) -> FullOutputSubprocessResult:
    """Load the seed, unless it is known that its content is what was loaded last.

    :param command, env: as dbt would get them: interceptors have been called.
    :param run: runs dbt; what it raises passes, and nothing is remembered then.
    :return: of a seed that is not loaded: exit code 0, no output.
    :raises CosmosValueError: when the seed's file is one that nobody can read to its end.
    """
    load = _Load(operator, context, command, env)
    if wants_full_refresh(command, env):
        load.refuse_endless()
        operator.log.info("dbt loads %s, whatever is remembered of it: this is a full refresh.", load.seed)
        result = run()
        load.count("run")
        return result
    content = load.read()
    seen = recall(load.scope, operator.log.warning)
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
    return _loaded(load, content, seen, run)


def _loaded(
    load: _Load,
    content: SeedContent | None,
    seen: Remembered | None,
    run: Callable[[], FullOutputSubprocessResult],
) -> FullOutputSubprocessResult:
    with load.loads.own() as own:
        has_forgotten = load.forget(seen)
        try:
            result = run()
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
    """One seed in the hands of its task."""

    def __init__(
        self, operator: LocalRun, context: Mapping[str, Any], command: Sequence[str], env: Mapping[str, str]
    ) -> None:
        self._operator, self._context, self._executable, self._env = operator, context, command[0], env
        self._packages: Path | None = None
        self._node: Mapping[str, Any] = context.get(NODE_CONFIG) or {}
        self.seed = str(self._node.get("unique_id"))
        self.scope = Scope.of(operator, context, self.seed)
        self.loads = SeedLoads(cache_dir=from_settings.cache_dir(), key=self.scope.key)

    def refuse_endless(self) -> None:
        with ExitStack() as held:
            path = self._find(held)
            if path is not None:
                refuse_endless(path)

    def read(self) -> SeedContent | None:
        """What the file holds that dbt is about to load; None where that cannot be known."""
        with ExitStack() as held:
            path = self._find(held)
            return None if path is None else self._read(path)

    def _find(self, held: ExitStack) -> Path | None:
        """:param held: what keeps it there."""
        project_dir = Path(self._operator.project_dir).absolute()
        try:
            return find_seed(
                project_dir,
                str(self._node["original_file_path"]),
                package=self._context.get("package_name"),
                installs_packages=to_boolean(self._operator.install_deps) and has_packages(project_dir),
                installed=partial(self._installed_packages, held),
                environment=self._env,
            )
        except (CosmosLoadDbtException, KeyError, OSError) as error:
            self._operator.log.warning("The file of %s is not known before dbt runs: %s", self.seed, error)
            return None

    def _installed_packages(self, held: ExitStack) -> Path | None:
        packages = self._operator.packages_before_dbt(self._executable, self._env)
        kept = None if packages is None else packages.find()
        if kept is None:
            return None
        held.callback(kept.close)
        self._packages = kept.packages
        return kept.packages

    def _has_same_packages(self) -> bool:
        """Whether dbt has run with the packages in which the file was found, and nobody has installed newer ones."""
        if self._packages is None:
            return True
        with ExitStack() as held:
            return self._packages == self._installed_packages(held)

    def _read(self, path: Path) -> SeedContent | None:
        cancellation = self._operator._cancellation or Cancellation()
        try:
            content = read_content(path, pause=cancellation.raise_if_requested)
        except OSError as error:
            self._operator.log.warning("The seed %s cannot be read: %s", path, error)
            return None
        cancellation.raise_if_requested()
        return content

    def tell(self, decision: Decision, content: SeedContent | None, seen: Remembered | None) -> None:
        """Say in one line whether dbt runs, and why."""
        log, path, now = self._operator.log, content and content.path, content and content.checksum
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
        """:param what: ``run`` or ``skipped``; docs/metrics.md says what that means."""
        count(f"cosmos_venv.seeds.{what}", {"dag_id": self.scope.dag_id, "task_id": self._operator.task_id})

    def forget(self, seen: Remembered | None) -> bool:
        """Whether nothing is remembered any more, as far as that is known."""
        return seen is None or seen.checksum is None or forget(self.scope, self._operator.log.warning)

    def break_off(self, own: OwnLoad, *, has_forgotten: bool) -> None:
        """Forget what others have remembered while dbt was at work: nobody knows what it has left in the table."""
        with own_turn(self.loads.cache_dir, self.loads.key):
            meanwhile = recall(self.scope, self._operator.log.warning)
            has_forgotten = self.forget(meanwhile) and (has_forgotten or meanwhile is not None)
            own.break_off(is_forgotten=has_forgotten)

    def end(self, own: OwnLoad, content: SeedContent, seen: Remembered | None) -> None:
        """dbt has succeeded with this content, as far as is known."""
        with own_turn(self.loads.cache_dir, self.loads.key):
            self._keep(content, seen, is_undisturbed=own.is_undisturbed())
            own.end_well()

    def _keep(self, content: SeedContent, seen: Remembered | None, *, is_undisturbed: bool) -> None:
        """Remember what was loaded; where that is not certain, see that nothing older is taken for it."""
        meanwhile = recall(self.scope, self._operator.log.warning)
        doubt = self._doubt(content, seen, meanwhile, is_undisturbed=is_undisturbed)
        if doubt is not None:
            self._operator.log.info("%s: the next run loads it again.", doubt)
        if doubt is None or meanwhile is not None:
            checksum = content.checksum if doubt is None else None
            remember(self.scope, checksum, self._run_id(), self._operator.log.warning)

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
