"""One question to ``dbt ls``, from the request of a load to what dbt has said.

Nothing here imports Airflow at module level: a process that outlives a parse runs dbt with this module, and the import
of Airflow takes long. Modules that only a run of dbt needs are imported at that run: most parses find a kept answer.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from cosmos_venv import credentials, settings
from cosmos_venv.config import RenderConfig
from cosmos_venv.config.validation import is_template
from cosmos_venv.constants import ExecutionMode
from cosmos_venv.dbt.command import vars_flags, vars_text
from cosmos_venv.dbt.installation import identity_of
from cosmos_venv.dbt.project_files import (
    LOCK_FILE,
    EnvVars,
    local_package,
    read_dbt_project,
    read_package_files,
)
from cosmos_venv.dbt.results import Artifacts, failure_text
from cosmos_venv.dbt.workspace import Outputs, descriptors_of, downloading_in_place, named_folders, workspace
from cosmos_venv.exceptions import CosmosConfigException, CosmosLoadDbtException, VirtualenvError
from cosmos_venv.files.read_limits import content_of
from cosmos_venv.managed import caches, resolve
from cosmos_venv.managed.resolve import VirtualenvArguments, kept_directory
from cosmos_venv.processes.cancellation import Cancellation
from cosmos_venv.processes.guarded_process import prestarted_guard
from cosmos_venv.project.fingerprint import DbtInstallation, LsQuestion, Tree, fingerprint
from cosmos_venv.project.load_request import LoadRequest

logger = logging.getLogger(__name__)

OTHER_WAY = "A manifest needs no dbt: LoadMode.DBT_MANIFEST."
"""The way out that ends messages about a dbt that takes too long."""

_LONGEST = 3_600.0  # seconds after which a dbt that hangs is ended: perhaps no parse waits for it any more


@contextmanager
def open_question(request: LoadRequest, *, is_selection: bool = False) -> Iterator[LsQuestion]:
    """Open the environment of dbt and write its profile, and give the question that a load puts to ``dbt ls``.

    Both are there until the block ends.

    :param request: what is loaded; it has a profile.
    :param is_selection: whether dbt is to evaluate the selection; else it is asked for the manifest.
    :raises CosmosLoadDbtException: when the environment of dbt is not ready yet.
    """
    # Imported here: the process that outlives a parse imports this module, and must not import Airflow.
    from cosmos_venv.compat import variable

    config, render = request.profile, request.render
    assert config is not None  # noqa: S101 - the loader has refused that
    with (
        _installation(request) as dbt,
        config.ensure_profile(use_mock_values=render.enable_mock_profile) as (profiles_yml, secrets),
    ):
        env = dict(request.environment)
        if dbt.is_managed:
            env = resolve.without_worker_python(env)
        given = request.given_env_vars
        yield LsQuestion(
            project_dir=request.project_dir,
            dbt=dbt,
            profile=profiles_yml.read_text(encoding="utf-8", errors="replace"),
            profiles_yml=profiles_yml,
            profile_flags=("--profile", config.profile_name, "--target", config.target_name),
            env=env,
            secrets=secrets,
            given=tuple(given),
            folders=named_folders({**env, **secrets}, given),
            arguments=tuple(
                ls_arguments(
                    render if is_selection else None,
                    dbt_vars=request.dbt_vars,
                    is_partial=request.parses_in_part,
                )
            ),
            is_selection=is_selection,
            variables=vars_text(request.dbt_vars),
            has_deps=request.has_deps,
            airflow_variables=tuple((name, variable(name)) for name in render.airflow_vars_to_purge_dbt_ls_cache),
        )


def ls_arguments(
    selection: RenderConfig | None, *, dbt_vars: Mapping[str, object] | None = None, is_partial: bool = True
) -> list[str]:
    """The arguments after ``dbt``. Folders, profile and target are added when it runs.

    :param selection: has the selection that dbt evaluates; where it has a ``selector``, the rest of it does not count.
        None: the manifest is asked for.
    :param dbt_vars: values of ``--vars`` by name; None: there are none.
    :param is_partial: whether dbt may parse in part.
    """
    # dbt ls writes the manifest before it lists anything; the flag wins over DBT_WRITE_JSON and dbt_project.yml.
    arguments = ["ls", "--output", "name", "--write-json"]
    if selection is not None:
        arguments = ["ls", "--output", "json", "--output-keys", "unique_id", "resource_type"]
        if selection.selector:
            # --selector alone: beside it dbt 1 ignores --select and --exclude; dbt 2 refuses --select, uses --exclude.
            arguments += ["--selector", selection.selector]
        else:
            for flag, words in (("--exclude", selection.exclude), ("--select", selection.select)):
                arguments += [flag, *words] if words else []
    if dbt_vars:
        arguments += ["--vars", json.dumps(dbt_vars, sort_keys=True)]
    return arguments if is_partial else [*arguments, "--no-partial-parse"]


@contextmanager
def _installation(request: LoadRequest) -> Iterator[DbtInstallation]:
    """The dbt that the tasks will use, or the dbt that was named for parsing."""
    render, execution = request.render, request.execution
    if render.has_own_executable or execution.dbt_mode(request.operator_args) is ExecutionMode.LOCAL:
        named = render.dbt_executable_path if render.has_own_executable else execution.dbt_executable_path
        yield DbtInstallation(executable=str(named), identity=identity_of(shutil.which(str(named)) or str(named)))
        return
    directory = _kept_directory(request)
    try:
        with resolve.environment_for_parsing(
            VirtualenvArguments.of(request.operator_args), directory, report=logger.info
        ) as environment:
            yield DbtInstallation(
                executable=str(environment.script("dbt")),
                keep_open=environment.keep_open,
                identity=environment.digest,
                virtualenv_dir=directory,
                environment=environment,
            )
    except VirtualenvError as error:
        # The text has all details. A traceback would repeat the text, and bury it.
        raise CosmosLoadDbtException(str(error)) from None


def _kept_directory(request: LoadRequest) -> Path:
    """The ``virtualenv_dir`` of the tasks; where it is a template, temporary or not given, one of the parser's own."""
    arguments: Mapping[str, Any] = request.operator_args
    given = request.execution.virtualenv_dir or arguments.get("virtualenv_dir")
    is_temporary = arguments.get("is_virtualenv_dir_temporary") or False
    if is_template(given) or is_template(is_temporary):
        return caches.environments_for_parsing()
    return kept_directory(given, is_temporary) or caches.environments_for_parsing()


def prepared(request: LoadRequest, question: LsQuestion) -> LsQuestion:
    """Return the question with the packages and the parse file, which only a run of dbt needs. dbt 2 has no parse file.

    :param request: what is loaded.
    :param question: what ``open_question`` gives for it.
    :raises CosmosLoadDbtException: when ``dbt_project.yml`` cannot be read.
    """
    # Imported here: a process that outlives a parse is given the prepared question.
    from cosmos_venv import project_cache

    assert request.profile is not None  # noqa: S101 - as above
    packages = project_cache.project_packages(
        question.project_dir,
        question.dbt.virtualenv_dir,
        variables=question.variables,
        env={**question.env, **question.secrets},
        which_dbt=question.dbt.identity,
    )
    parsed = None
    if request.parses_in_part and not question.dbt.is_native:
        parsed = project_cache.parsed_project(
            question.project_dir,
            question.profiles_yml,
            target_name=request.profile.target_name,
            variables=question.variables,
            env=question.env,
            which_dbt=question.dbt.identity,
        )
    return replace(question, packages=packages, parsed=parsed)


@dataclass(frozen=True, kw_only=True)
class LsOutput:
    """The answer of a dbt that has run.

    :param content: the pruned manifest, or the lines of ``dbt ls`` with a selection.
    :param is_pinned: whether dbt would give the same answer tomorrow. That is so if a lock file pins all installed
        packages, and none of these packages computes the name of an environment variable.
    :param names: the environment variables that the installed packages ask for.
    """

    content: bytes
    is_pinned: bool
    names: frozenset[str]


def run_dbt_ls(question: LsQuestion, cancellation: Cancellation | None = None) -> LsOutput:
    """The answer of dbt, which runs now, for an hour at most.

    :param question: what ``prepared`` gives; the file of its profile must be there until dbt has ended.
    :param cancellation: ends dbt when it is requested; None: it never is.
    :raises CommandKilled: when ``cancellation`` was requested.
    :raises CosmosLoadDbtException: when dbt fails, with its own last lines, and when it was ended.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    from cosmos_venv.dbt.packages import is_pinned

    project_dir, has_deps = question.project_dir, question.has_deps
    packages, parsed = question.packages, question.parsed
    assert packages is not None  # noqa: S101 - the question is prepared
    env = {**question.env, **question.secrets}
    cancellation = cancellation or Cancellation()
    with prestarted_guard(), workspace(project_dir, install_deps=has_deps, parsed=parsed, environment=env) as place:
        profile = ["--profiles-dir", str(question.profiles_yml.parent), *question.profile_flags]
        flags = ["--project-dir", str(place), *profile]
        # The manifest goes to a folder of this run alone: other runs may write to a folder that the user has named. A
        # selection uses the named folder, since it may compare with the sources.json there.
        outputs = Outputs.of(place, question.folders if question.is_selection else {})
        env = outputs.variables(env)
        run = partial(_run, question, place, cancellation)
        deps = ["deps", *flags, *vars_flags(question.variables)]
        if has_deps:
            packages.install_into(
                place,
                install=lambda: run(deps, downloading_in_place(place, env), outputs.artifacts()),
                cancellation=cancellation,
                report=logger.info,
            )
        artifacts = outputs.artifacts()
        lines = run([*question.arguments, *flags], env, artifacts)
        of_packages = _asked_by_packages(project_dir, place, env) if has_deps else EnvVars()
        if parsed is not None:
            parsed.keep(artifacts)
        lock = content_of(place / LOCK_FILE)
        return LsOutput(
            content=_content(question, lines, artifacts),
            is_pinned=not has_deps or (is_pinned(project_dir, lock) and not of_packages.computed),
            names=of_packages.names,
        )


def _content(question: LsQuestion, lines: list[str], artifacts: Artifacts) -> bytes:
    if question.is_selection:
        return "\n".join(lines).encode(errors="surrogateescape")
    from cosmos_venv.project.manifest import pruned  # reading a kept answer needs no such import

    manifest = artifacts.content("manifest.json")
    if manifest is None:
        raise CosmosLoadDbtException(
            f"dbt ls of {question.project_dir} has ended well and has written no manifest.json into "
            f"{artifacts.target}. Is {question.dbt.executable} a script that changes the arguments? Name dbt itself as "
            "dbt_executable_path, or load a manifest with LoadMode.DBT_MANIFEST."
        )
    where = f"the manifest that dbt ls has written for {question.project_dir}"
    content, limit = pruned(manifest, where), settings.limit("artifact_max_bytes")
    if limit.is_exceeded_by(len(content)):  # no later parse could read it
        raise CosmosLoadDbtException(f"{where}, without macros and SQL: {limit.refusal(len(content))}.")
    return content


def _asked_by_packages(project_dir: Path, place: Path, env: Mapping[str, str]) -> EnvVars:
    """The environment variables that installed packages ask for, without local packages: the basis has these."""
    folder = place / read_dbt_project(place, environment=env).packages_folder
    packages = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    local = {local_package(base, path) for base in (project_dir, place) for path in read_package_files(place).local}
    trees = (Tree(folder=each, environment=env) for each in packages if Path(os.path.realpath(each)) not in local)
    return EnvVars.of_all(fingerprint(tree).variables for tree in trees)


def _run(
    question: LsQuestion,
    place: Path,
    cancellation: Cancellation,
    arguments: Sequence[str],
    env: Mapping[str, str],
    artifacts: Artifacts,
) -> list[str]:
    """The lines of one command of dbt.

    :param place: the folder in which it runs.
    :param arguments: the arguments after ``dbt``.
    :param env: its environment variables.
    :param artifacts: the folder with the log and the results that tell why the command failed.
    :raises CosmosLoadDbtException: when the command fails, or does not end.
    :raises CosmosConfigException: when the executable cannot be started.
    """
    from cosmos_venv.dbt.invocation import run_dbt

    deadline = time.monotonic() + _LONGEST

    def end_in_time() -> None:
        if time.monotonic() > deadline:
            raise CosmosLoadDbtException(
                f"dbt {arguments[0]} of {question.project_dir} did not end within {_LONGEST:.0f} s, and was ended. "
                f"{OTHER_WAY}"
            )

    executable = question.dbt.executable
    try:
        result = run_dbt(
            [executable, *arguments],
            env=env,
            cwd=place,
            keep_open=(*question.dbt.keep_open, *descriptors_of(place)),
            on_tick=end_in_time,
            cancellation=cancellation,
        )
    except OSError as error:
        if error.filename != executable:  # the error is about the guard, this process or the folder
            raise
        raise CosmosConfigException(
            f"The dbt executable {executable!r} cannot be started: {error.strerror}. Install dbt there, name "
            "another as dbt_executable_path, use ExecutionMode.VIRTUALENV with a virtualenv_dir, or load a "
            "manifest with LoadMode.DBT_MANIFEST, which needs no dbt."
        ) from error
    if result.exit_code:
        reason = credentials.mask(failure_text(artifacts, lines=result.full_output))
        raise CosmosLoadDbtException(f"dbt {arguments[0]} ended with exit code {result.exit_code}.\n{reason}")
    return result.full_output


def retire_if_damaged(question: LsQuestion, error: Exception) -> str:
    """Return what dbt's environment has lost, where that may be why dbt failed; empty where nothing is lost.

    :param question: the question that dbt was asked.
    :param error: the exception of ``run_dbt_ls``, or of the wait for a process that runs it.
    :returns: sentences. The environment is retired, so that a later parse finds another one.
    :raises CosmosConfigException: when nothing is lost and dbt cannot be started; the text says what to do.
    """
    from cosmos_venv.processes.detached_process import DetachedStillRunning  # most parses start no process

    dbt, cause = question.dbt, error.__cause__
    # With DetachedStillRunning dbt has not failed: another process still runs it.
    if dbt.environment is None or dbt.virtualenv_dir is None or isinstance(error.__context__, DetachedStillRunning):
        return ""
    damage = resolve.damage_of(dbt.environment, dbt.virtualenv_dir, cancellation=Cancellation(), report=logger.info)
    if not damage and isinstance(error, CosmosConfigException) and isinstance(cause, OSError):
        raise CosmosConfigException(resolve.why_not_started(dbt.environment, cause)) from cause
    return damage
