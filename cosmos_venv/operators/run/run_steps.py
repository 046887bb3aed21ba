"""The steps of one dbt run of a task, in order: workspace, packages, dbt, checks, callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cosmos_venv import project_cache, settings
from cosmos_venv.compat import AirflowException, to_boolean
from cosmos_venv.constants import LAST_SUCCESS, NODE_CONFIG, ONLY_TESTS, TASK_TESTS, InvocationMode
from cosmos_venv.dbt.command import NOTHING_TO_DO, selection_in_file, vars_flags
from cosmos_venv.dbt.failure_kinds import kinds_of
from cosmos_venv.dbt.log_lines import NOT_BUILT_STATUSES, NodeOutcome
from cosmos_venv.dbt.partial_parse import ParsedProject
from cosmos_venv.dbt.project_files import has_packages
from cosmos_venv.dbt.results import Artifacts
from cosmos_venv.dbt.workspace import (
    Outputs,
    descriptors_of,
    downloading_in_place,
    named_folders,
    require_project,
    workspace,
)
from cosmos_venv.exceptions import CommandKilled
from cosmos_venv.operators.run import post_run, state
from cosmos_venv.operators.run.dbt_run import DbtCommand, DbtResult, DbtRun, Judge
from cosmos_venv.operators.run.retries import judged
from cosmos_venv.processes import scratch
from cosmos_venv.processes.guarded_process import prestarted_guard

Look = Callable[[tuple[str, ...], Sequence[str]], tuple[DbtResult, Artifacts]]
"""Runs another dbt command in the workspace, given its sub-command and all words after the executable."""

Choose = Callable[[Look], Sequence[str] | None]
"""Returns the command line, once dbt can run in the workspace; None when nothing is left to run."""

Ended = Callable[[Artifacts], Mapping[str, NodeOutcome]]
"""Returns the outcomes of nodes by unique id, once ``judge`` was called."""

_DEPS = ("deps",)
_BUILDING = frozenset({"build", "run", "seed", "snapshot"})
_NOTHING = "Nothing to do"
_SETTING = "[cosmos_venv] unreported_nodes"
_MOST_NAMED = 10
_WHY = (
    "The DAG was made of a project that had it, and the project of this task has not: the node was renamed, removed or "
    "disabled, or an exclude of operator_args leaves it out. Make the manifest anew, or drop the exclude."
)


def run_in_workspace(
    run: DbtRun, judge: Judge, choose: Choose | None = None, *, ended: Ended = Artifacts.outcomes
) -> DbtResult:
    """Run dbt in a workspace, with its profile, and then the follow-up steps; ``dbt deps`` first where it is wanted.

    :param run: the run.
    :param judge: raises when the command has failed.
    :param choose: returns the command line to run instead of ``run.command``; None: ``run.command`` is run.
    :param ended: returns the outcomes of the nodes that have run, in this try of the task or an earlier one.
    :returns: the result of the command.
    """
    task = run.task
    project, config = Path(task.project_dir), task.profile_config
    require_project(project)
    post_run.refuse_impossible(task)
    wants_deps = to_boolean(task.install_deps) and has_packages(project)
    with (
        # A guard takes some milliseconds to start: meanwhile the profile is written and the environment found. A warm
        # dbt needs no guard. The first program that a build runs takes the guard, and dbt gets another.
        prestarted_guard(run.mode is InvocationMode.SUBPROCESS and run.warm_choice == "off"),
        config.ensure_profile() as (profile, secrets),
        task._dbt_ready(run) as which_dbt,
    ):
        parsed = _parsed_project(run, profile, which_dbt) if task.partial_parse else None
        copies = task.copy_dbt_packages
        with workspace(
            project,
            install_deps=wants_deps,
            copies_packages=settings.default_copy_dbt_packages if copies is None else copies,
            manifest=Path(task.manifest_filepath) if task.manifest_filepath else None,
            parsed=parsed,
            environment=run.env,
        ) as place:
            if task.run_hooks_once:
                from cosmos_venv.dbt.run_hooks import write_hooks_as_macros  # few DAGs do

                write_hooks_as_macros(place, task.hook_results)
            flags = ["--project-dir", str(place), *config.flags(profile)]
            own_flags = [*flags, *_state_flags(run, place)]
            command = _command_in(run, place, own_flags, profile, secrets)
            try:
                if wants_deps:
                    _install_packages(run, command, [*flags, *vars_flags(task.vars)], which_dbt)
                if choose is not None:
                    chosen = choose(partial(_look, run, command, flags))
                    if chosen is None:
                        judge(NOTHING_TO_DO, command.artifacts)
                        return NOTHING_TO_DO
                    run = replace(run, command=chosen)
                    command = _command_in(run, place, own_flags, profile, secrets)
                is_done = wants_deps and command.base_cmd == _DEPS
                result = NOTHING_TO_DO if is_done else task._start(run, command)
                # Also after a failure: dbt has parsed the project all the same.
                # Results are of one run. The next run would find their macro changed.
                if parsed is not None and not task.hook_results:
                    parsed.keep(command.artifacts)
                judge(result, command.artifacts)
                refuse_unreported(run, command.artifacts, getattr(result, "full_output", ()))
                _tell_what_was_not_built(run, ended(command.artifacts))
            except CommandKilled:
                raise
            except Exception as error:
                # First: a callback of the user may move the artifacts.
                kinds = kinds_of(ended(command.artifacts), str(error)) if task.retry_on else ()
                post_run.follow_up(run, command, ended(command.artifacts), failed=True)
                if (final := judged(error, task.retry_on, kinds)) is not error:
                    raise final from None
                raise
            post_run.follow_up(run, command, ended(command.artifacts), failed=False)
            task._after_success(run, command)
            post_run.call_back_about_warnings(run, command.artifacts)
            # Last of all: it is a success only when nothing of the above has failed.
            if task.state == LAST_SUCCESS:
                state.keep_success(run.task_key, command.artifacts, log=task.log)
    return result


def _parsed_project(run: DbtRun, profiles_yml: Path, which_dbt: str) -> ParsedProject:
    task = run.task
    return project_cache.parsed_project(
        Path(task.project_dir),
        profiles_yml,
        target_name=task.profile_config.target_name,
        variables=task.vars,
        env=run.env,
        # Without hooks it is another project: its parse file fits none of the other DAGs.
        which_dbt=f"{which_dbt} without hooks" if task.run_hooks_once else which_dbt,
        folder=Path(task.cache_dir) if task.cache_dir else None,
    )


def _command_in(
    run: DbtRun, place: Path, flags: Sequence[str], profiles_yml: Path, secrets: Mapping[str, str]
) -> DbtCommand:
    """The task's own command, ready to be started.

    :param run: the run.
    :param place: the workspace. A selection that is too long for a command line is written there.
    :param flags: where dbt finds the project, its profile and the artifacts of an earlier run.
    :param profiles_yml: the file of the profile.
    :param secrets: the variables of the profile. They are for dbt alone, and nothing here is logged.
    """
    fitting, selectors = selection_in_file([*run.command[1:]])
    if selectors:
        (place / "selectors.yml").unlink(missing_ok=True)  # the link to the project's file: its selectors do not count
        (place / "selectors.yml").write_text(selectors, encoding="utf-8")
    words = [run.executable, *fitting, *flags]
    # Only variables of the operator may say where dbt writes: a DBT_TARGET_PATH of the worker would mix the artifacts
    # of its tasks.
    outputs = Outputs.of(place, named_folders(run.env, run.task.env or {}), words)
    return DbtCommand(
        words=words,
        place=place,
        profiles_yml=profiles_yml,
        env=outputs.variables({**run.env, **secrets}),
        # When the worker is killed, its guard still ends dbt. Until then no other task may sweep these folders as
        # abandoned.
        keep_open=(*descriptors_of(place), *scratch.descriptors_of(profiles_yml.parent)),
        artifacts=outputs.artifacts(),
        base_cmd=tuple(run.task.base_cmd),
    )


def _state_flags(run: DbtRun, place: Path) -> list[str]:
    task = run.task
    flags = ["--defer"] if to_boolean(task.defer_to_state) else []
    flags += ["--favor-state"] if to_boolean(task.favor_state) else []
    if not task.state:
        return flags
    project, log = Path(task.project_dir), task.log
    folder = state.state_folder(
        task.state, run.task_key, place, project_dir=project, conn_id=task.state_conn_id, log=log
    )
    return ["--state", str(folder), *flags]


def _look(
    run: DbtRun, command: DbtCommand, flags: Sequence[str], base_cmd: tuple[str, ...], words: Sequence[str]
) -> tuple[DbtResult, Artifacts]:
    """Run another command before the task's own, in the same place."""
    words = [run.executable, *words, *flags]
    artifacts = Outputs.of(command.place, command.env, words).artifacts()
    return run.task._start(run, replace(command, words=words, artifacts=artifacts, base_cmd=base_cmd)), artifacts


def _install_packages(run: DbtRun, command: DbtCommand, flags: Sequence[str], which_dbt: str) -> None:
    """Put the project's packages into the workspace: kept ones, else ``dbt deps`` installs them."""
    task = run.task

    def install() -> None:
        deps = replace(
            command,
            words=command.words if command.base_cmd == _DEPS else [run.executable, "deps", *flags],
            # The downloads are deleted with the workspace, also after a kill.
            env=downloading_in_place(command.place, command.env),
            artifacts=Outputs.of(command.place, command.env).artifacts(),
            base_cmd=_DEPS,
        )
        task.handle_exception(task._start(run, deps))

    packages = project_cache.project_packages(
        Path(task.project_dir), task.kept_directory, variables=task.vars, env=command.env, which_dbt=which_dbt
    )
    packages.install_into(command.place, install=install, cancellation=task._cancellation, report=task.log.info)


def refuse_unreported(run: DbtRun, artifacts: Artifacts, lines: Sequence[str]) -> None:
    """Fail where dbt has not reported the node or any test of a task, or warn where the settings say so.

    dbt says "Nothing to do" and ends with exit code 0 when a selection fits no node, such as a model that was renamed
    after the manifest was made. dbt gives a generic test another id when one of its arguments is edited. So an older
    manifest may have another id for a test that ran: where only some tests are missing, a warning names them.

    Exempt are ephemeral models and models without SQL, which dbt does not report; sources without a freshness; and
    tasks without nodes in their context. Exempt is also a task whose dbt has written no results (``--no-write-json``)
    and does not say that there was nothing to do.

    :param run: the run. Its context holds the node and the tests of a task that was rendered.
    :param artifacts: the artifacts that this run of dbt has left.
    :param lines: dbt's output.
    :raises AirflowException: the node was not reported, or no test of a task that runs only tests, and the settings say
        ``fail``.
    """
    if not (artifacts.show_nodes or any(_NOTHING in line for line in lines)):
        return
    context: Any = run.context
    log = run.task.log
    name, command = " ".join(run.task.base_cmd), run.task.base_cmd[0]
    node = context.get(NODE_CONFIG) or {}
    tests = context.get(TASK_TESTS, ())
    reported = artifacts.outcomes() if tests else {}
    missing = [each for each in tests if each not in reported]
    only_tests = command == "test" or context.get(ONLY_TESTS, False)
    if missing and len(missing) == len(tests) and only_tests:
        tested = node.get("unique_id") or "the selection"
        what = f"not run {tested}" if tested in missing else f"run no test of {tested}"
    elif node and not only_tests and not _is_reported(node, command, artifacts):
        what = f"not run {node['unique_id']}"
    else:
        if missing:
            log.warning(
                f"dbt {name} has not reported {len(missing)} of {len(tests)} tests of this task: "
                f"{', '.join(missing[:_MOST_NAMED])}{' and more' if len(missing) > _MOST_NAMED else ''}. {_WHY}"
            )
        return
    message = f"dbt {name} has ended without an error, and has {what}. {_WHY}"
    if settings.unreported_nodes == "fail":
        raise AirflowException(f"{message} {_SETTING} = warn lets such tasks succeed.")
    log.warning(f"{message} {_SETTING} = fail makes such tasks fail.")


def _tell_what_was_not_built(run: DbtRun, outcomes: Mapping[str, NodeOutcome]) -> None:
    """Log the nodes that dbt counts as done without having built them: their tasks succeed."""
    found = [f"{each} ({end.status})" for each, end in outcomes.items() if end.status in NOT_BUILT_STATUSES]
    if found:
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        run.task.log.info("Not built, and done as dbt says: %s%s.", ", ".join(found[:_MOST_NAMED]), more)


def _is_reported(node: Mapping[str, Any], command: str, artifacts: Artifacts) -> bool:
    unique_id = node["unique_id"]
    config = node.get("config") or {}
    if command == "source":  # dbt before 1.10 has no freshness in the configuration: such a source counts as reported
        limits = [each for each in (config.get("freshness") or {}).values() if isinstance(each, dict)]
        has_age = any(each.get("count") for each in limits)
        return not has_age or any(each.unique_id == unique_id for each in artifacts.sources())
    is_ephemeral = config.get("materialized") == "ephemeral"
    if command not in _BUILDING or is_ephemeral:
        return True
    return unique_id in artifacts.outcomes() or unique_id in artifacts.without_sql()
