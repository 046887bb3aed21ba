"""What ``dbt ls`` says of a project: what it has said before, while nothing that matters has changed."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import managed, settings
from cosmos_venv.dbt.kept_files import is_private, make_private
from cosmos_venv.exceptions import CosmosConfigException, CosmosLoadDbtException
from cosmos_venv.project.kept_listings import PATIENCE, KeptListings, warn_of_others
from cosmos_venv.project.ls_question import LsQuestion, question_of

if TYPE_CHECKING:
    from cosmos_venv.environments.environment import Damaged
    from cosmos_venv.project.load import DbtGraph
    from cosmos_venv.project.ls_process import LsOrder

logger = logging.getLogger(__name__)

_OTHER_WAY = "A manifest needs no dbt: LoadMode.DBT_MANIFEST."
_TO_END_DBT = 6.0  # seconds; see guard.KILL_AT


@dataclass(frozen=True, kw_only=True)
class Listing:
    """:param lines: what ``dbt ls`` has said.
    :param was_kept: whether it had said so before, and no dbt was started.
    :param version: differs where the lines may; None where that cannot be told.
    """

    lines: list[str]
    was_kept: bool
    version: str | None = None


def list_nodes(graph: DbtGraph, *, only_kept: bool = False) -> Listing:
    """What ``dbt ls`` says of the graph's project and selection, or has said while nothing that matters has changed.

    Where several processes want to know the same, one asks dbt and the others wait for its answer. Where Airflow
    limits the time of an import, dbt is asked by a process that outlives it, and the next import finds the answer.

    :param only_kept: take what dbt has said, and never start it.
    :raises CosmosLoadDbtException: when dbt fails, with its own last lines; when the environment or the answer is not
        ready yet; when nothing is kept that must be.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    with question_of(graph, report=logger.info) as question:
        try:
            return _list(graph, question, only_kept=only_kept)
        except (CosmosLoadDbtException, CosmosConfigException) as error:
            damaged = _damage(question, error)
            if damaged is None:
                raise
    with question_of(graph, report=logger.info, instead_of=damaged) as question:
        return _list(graph, question, only_kept=only_kept, tries_again=True)


def _list(graph: DbtGraph, question: LsQuestion, *, only_kept: bool, tries_again: bool = False) -> Listing:
    """:param tries_again: that another dbt has just failed is no reason not to start this one."""
    kept, reason = _kept_listings(question)
    if kept is not None:
        # Before the lines: an answer that is newer than its version is merely not found under it.
        version, lines = kept.version, kept.read()
        if lines is not None:
            kept.share()
            return Listing(lines=lines, was_kept=True, version=version)
    if only_kept:
        lines = None if kept is None else kept.read_elsewhere()
        if lines is None:
            raise CosmosLoadDbtException(_nothing_kept(question, reason))
        return Listing(lines=lines, was_kept=True, version=kept.version if kept else None)
    return _ask(graph, question, kept, reason, tries_again=tries_again)


def _damage(question: LsQuestion, error: Exception) -> Damaged | None:
    """What the environment has lost, where that may be why dbt failed.

    :raises CosmosConfigException: when it has lost nothing and its dbt cannot be started; with the way out.
    """
    # For a dbt that has failed: most parses start none.
    from cosmos_venv.dbt.results import tells_of_code
    from cosmos_venv.detached import DetachedAtWork
    from cosmos_venv.project.ls_process import DID_NOTHING

    dbt, cause, text = question.dbt, error.__cause__, str(error)
    # A process that outlives this parse still waits for a dbt that has not failed.
    if dbt.environment is None or dbt.virtualenv_dir is None or isinstance(error.__context__, DetachedAtWork):
        return None
    is_broken = isinstance(error, CosmosConfigException) or DID_NOTHING in text
    is_broken = is_broken or tells_of_code(1, lines=text.splitlines())
    damaged = managed.damage_of(dbt.environment, content=is_broken)
    if damaged is not None:
        logger.warning("%s %s", damaged, managed.advice_about(damaged, dbt.virtualenv_dir))
    elif isinstance(error, CosmosConfigException) and isinstance(cause, OSError):
        raise CosmosConfigException(managed.why_not_started(dbt.environment, cause)) from cause
    return damaged


def version_of_listing(graph: DbtGraph) -> str | None:
    """A text that differs where the kept answer for the graph may; None where none is kept.

    :raises CosmosLoadDbtException: when the environment of its dbt is not ready yet.
    """
    with question_of(graph, report=logger.info) as question:
        kept, _ = _kept_listings(question)
        return None if kept is None else kept.version


def _kept_listings(question: LsQuestion) -> tuple[KeptListings | None, str]:
    """What is kept; None where nothing can be, and why, in words."""
    files = managed.kept_listings()
    if files is None:
        return None, "[cosmos] enable_cache or enable_cache_dbt_ls is off"
    basis = question.basis()
    if basis.unknown:
        return None, basis.unknown
    kept = KeptListings(
        basis=basis,
        env=question.env,
        files=files,
        max_age=settings.packages_max_age if question.has_deps else None,
        remote=managed.remote_listings(),
        patience=min(PATIENCE, managed.seconds_for_a_parse() or PATIENCE),
    )
    reason = kept.given_up
    return (None, reason) if reason else (kept, "")


def _ask(
    graph: DbtGraph, question: LsQuestion, kept: KeptListings | None, reason: str, *, tries_again: bool
) -> Listing:
    # Whoever finds an answer has no use for what runs dbt.
    from cosmos_venv.project.ls_process import LsOrder, ask_in_turn

    order = LsOrder(
        question=question,
        packages=managed.project_packages(
            question.project_dir,
            question.dbt.virtualenv_dir,
            variables=question.variables,
            env={**question.env, **question.secrets},
            which_dbt=question.dbt.identity,
        ),
        parsed=managed.parsed_project(
            question.project_dir,
            question.profiles_yml,
            target_name=graph.profile_config.target_name if graph.profile_config else "",
            variables=question.variables,
            env=question.env,
            which_dbt=question.dbt.identity,
        )
        if graph.project.partial_parse
        else None,
    )
    if kept is None:
        logger.info("dbt ls runs at each parse of %s: %s.", question.project_dir, reason)
        return _ask_within_the_parse(order, reason)
    wait = managed.seconds_for_a_parse()
    # A dbt that is not there is told at once.
    if wait is not None and shutil.which(question.dbt.executable, path=question.env.get("PATH")):
        return _ask_detached(order, kept, wait, tries_again=tries_again)
    logger.info("dbt ls of %s runs: no answer is kept for the project as it is.", question.project_dir)
    lines, was_kept = ask_in_turn(order, kept, profiles_yml=question.profiles_yml, report=logger.info)
    return Listing(lines=lines, was_kept=was_kept, version=kept.version)


def _ask_detached(order: LsOrder, kept: KeptListings, wait: float, *, tries_again: bool) -> Listing:
    """The answer of a process that outlives this parse, or of another machine."""
    from cosmos_venv.detached import DetachedAtWork, DetachedFailure, DetachedWork
    from cosmos_venv.project.ls_process import CHANGED, DETACHED, as_request

    if (lines := kept.read_elsewhere()) is not None:
        return Listing(lines=lines, was_kept=True, version=kept.version)
    project_dir, folder = order.question.project_dir, managed.cache_dir() / "dbt-ls-detached-v1"
    work = DetachedWork(folder=folder, key=kept.basis.digest)

    def report_start() -> None:
        logger.info("dbt ls of %s runs in a process of its own; its log is %s.", project_dir, work.log)
        _sweep(folder)

    try:
        for each in (folder, kept.files.folder):
            make_private(each)
        if not (is_private(folder) and is_private(kept.files.folder)):
            warn_of_others(kept.files.folder)
            return _ask_within_the_parse(order, f"others may write in {folder.parent}, or it is another user's")
        work.see_to(
            DETACHED,
            as_request(order, kept),
            is_done=lambda: bool(kept.given_up) or kept.read() is not None,
            wait=wait,
            tries_again=tries_again,
            on_start=report_start,
            keep_open=order.question.dbt.keep_open,
        )
    except DetachedAtWork as at_work:
        raise CosmosLoadDbtException(
            f"dbt ls of {project_dir} has been running {at_work}, log file {work.log}; the next parse will find its "
            f"answer. {_OTHER_WAY}"
        ) from None
    except DetachedFailure as failure:
        if str(failure).startswith(CHANGED):  # a deployment; this parse need not fail for it
            return _ask_within_the_parse(order, CHANGED)
        raise CosmosLoadDbtException(str(failure)) from None
    except OSError as error:
        return _ask_within_the_parse(order, f"nothing can be written in {folder.parent}: {error.strerror}")
    lines = kept.read()
    if lines is None:
        return _ask_within_the_parse(order, kept.given_up)
    kept.share()
    return Listing(lines=lines, was_kept=False, version=kept.version)


def _ask_within_the_parse(order: LsOrder, reason: str) -> Listing:
    """The answer of a dbt that ends with this parse.

    :param reason: why the answer cannot be kept, so that a later parse would not find it.
    """
    from cosmos_venv.project.ls_process import OutOfTime, run_dbt_ls

    half, began = managed.seconds_for_a_parse(), time.monotonic()
    deadline = None if half is None else began + max(half, 2 * half - _TO_END_DBT)
    profiles_yml = order.question.profiles_yml
    try:
        said = run_dbt_ls(order, profiles_yml=profiles_yml, report=logger.info, deadline=deadline)
    except OutOfTime:
        raise CosmosLoadDbtException(
            f"dbt ls of {order.question.project_dir} was ended after {time.monotonic() - began:.0f} s, since Airflow "
            f"limits the time of an import, and its answer cannot be kept for the next one, because {reason}. "
            f"Mend that, or raise [core] dagbag_import_timeout. {_OTHER_WAY}"
        ) from None
    return Listing(lines=said.lines, was_kept=False)


def _sweep(folder: Path) -> None:
    """Remove what processes have left that ended weeks ago."""
    from cosmos_venv.detached import works_in

    with suppress(OSError):
        for work in works_in(folder):
            work.sweep()


def _nothing_kept(question: LsQuestion, reason: str) -> str:
    because = f"because {reason}" if reason else "for this content, dbt, profile, target, variables and selection"
    return (
        f"LoadMode.DBT_LS_CACHE: no answer of dbt ls for {question.project_dir} is kept {because}. Load it once with "
        "LoadMode.DBT_LS, or use that always: it starts no dbt while the answer is kept."
    )
