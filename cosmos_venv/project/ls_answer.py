"""Get the answer of dbt to one question: from the cache, or by running dbt.

Of several processes that need the same answer, one runs dbt and the others wait. Where Airflow limits the time of an
import, dbt is run by a process that outlives it, and the next import finds the answer.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import settings
from cosmos_venv.exceptions import CommandKilled, CosmosConfigException, CosmosLoadDbtException
from cosmos_venv.files.os_errors import reason_of
from cosmos_venv.files.own_files import make_private
from cosmos_venv.managed import caches, resolve
from cosmos_venv.processes.scratch import scratch_folder
from cosmos_venv.project.dbt_ls_runner import OTHER_WAY, run_dbt_ls
from cosmos_venv.project.fingerprint import LsQuestion
from cosmos_venv.project.ls_cache import DbtAnswer, KeptAnswer

if TYPE_CHECKING:
    from cosmos_venv.processes.cancellation import Cancellation

logger = logging.getLogger(__name__)

_DETACHED = f"{__name__}:answer_detached"  # the function that DetachedWork calls, with a request of _as_request
_CHANGED = (
    "The project has changed while dbt ls ran, and nobody knows which state of the project dbt has read. Parse again."
)
_WAITING = "Another process is running dbt ls for the same project; waiting for its answer."


def ask(question: LsQuestion, kept: KeptAnswer | None, reason: str) -> DbtAnswer:
    """Run dbt, in this parse or in a process that outlives it, and return its answer. The answer is kept if possible.

    :param question: what ``dbt_ls_runner.prepared`` gives.
    :param kept: where the answer is kept; None: nowhere.
    :param reason: why it is kept nowhere, in words.
    :raises CosmosLoadDbtException: when dbt fails, with its own last lines; when the answer is not ready yet.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    if kept is None:
        _report_unkept(question.project_dir, reason, is_meant=caches.kept_listings() is None)
        said = run_dbt_ls(question)
        return DbtAnswer(content=said.content, was_kept=False)
    wait = resolve.seconds_for_a_parse()
    # A missing dbt is reported at once, not by a process that nobody waits for.
    if wait is not None and shutil.which(question.dbt.executable, path=question.env.get("PATH")):
        return _ask_detached(question, kept, wait)
    logger.info("dbt ls of %s runs: no answer is kept for the project as it is.", question.project_dir)
    return _ask_in_turn(question, kept)


@cache  # one line for all DAGs of a project
def _report_unkept(project_dir: Path, reason: str, *, is_meant: bool) -> None:
    level = logging.INFO if is_meant else logging.WARNING
    logger.log(level, "dbt ls runs at each parse of %s: %s.", project_dir, reason)


def _ask_detached(question: LsQuestion, kept: KeptAnswer, wait: float) -> DbtAnswer:
    """The answer of a process that outlives this parse."""
    from cosmos_venv.processes.detached_process import DetachedFailure, DetachedStillRunning, DetachedWork

    project_dir, folder = question.project_dir, caches.cache_dir() / "dbt-ls-detached-v1"
    work = DetachedWork(folder=folder, key=kept.basis.digest)

    def report_start() -> None:
        logger.info("dbt ls of %s runs in a process of its own; its log is %s.", project_dir, work.log)
        _sweep(folder)

    try:
        make_private(folder)
        work.ensure_done(
            _DETACHED,
            _as_request(question, kept),
            is_done=lambda: kept.version is not None,
            wait=wait,
            on_start=report_start,
            keep_open=question.dbt.keep_open,
        )
    except DetachedStillRunning as at_work:
        raise CosmosLoadDbtException(
            f"dbt ls of {project_dir} has been running {at_work}, log file {work.log}; the next parse will find its "
            f"answer. {OTHER_WAY}"
        ) from None
    except DetachedFailure as failure:
        raise CosmosLoadDbtException(_without(question.secrets, str(failure))) from None
    except OSError as error:
        way_out = f"Make room there, or set it to another folder that user id {os.getuid()} can write to."
        raise CosmosLoadDbtException(
            f"dbt ls of {project_dir} cannot run in a process of its own: [cosmos_venv] cache_dir {caches.cache_dir()} "
            f"cannot be used: {reason_of(error, way_out)}"
        ) from error
    if (answer := kept.find()) is None:
        raise CosmosLoadDbtException(f"The answer of dbt ls of {project_dir} is kept no more. Parse again.")
    return replace(answer, was_kept=False)  # it was made for this parse


def _ask_in_turn(question: LsQuestion, kept: KeptAnswer, cancellation: Cancellation | None = None) -> DbtAnswer:
    """The answer. If several processes ask the same, one of them runs dbt and keeps the answer, and the others wait.

    :raises CosmosLoadDbtException: when dbt fails, with its own last lines.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    with kept.files.exclusive(kept.basis.digest, report=lambda: logger.info(_WAITING)):
        if (answer := kept.find()) is not None:
            return answer
        said = run_dbt_ls(question, cancellation)
        if question.basis().digest == kept.basis.digest:
            return kept.write(said)
        logger.info(_CHANGED)
        return DbtAnswer(content=said.content, was_kept=False)


def _sweep(folder: Path) -> None:
    """Remove the files of processes that ended weeks ago."""
    from cosmos_venv.processes.detached_process import detached_works_in

    with suppress(OSError):
        for work in detached_works_in(folder):
            work.sweep()


def _as_request(question: LsQuestion, kept: KeptAnswer) -> bytes:
    """The question for a process that outlives this one. It holds the environment of dbt, and with it secrets."""
    # The process inherits the descriptor of the environment's lease, so it needs no Environment.
    question = replace(question, dbt=replace(question.dbt, environment=None))
    # Without Airflow that process cannot reach other machines.
    return pickle.dumps((question, replace(kept, remote=None), settings.configured()))


def answer_detached(request: bytes, cancellation: Cancellation) -> str:
    """Run dbt in a process of its own and keep the answer.

    :param request: what ``_as_request`` has made.
    :param cancellation: ends dbt when it is requested.
    :returns: what went wrong, in words; empty when nothing did.
    """
    question, kept, configured = pickle.loads(request)  # noqa: S301 - by a pipe, from this user's process with this code
    settings.take_configured(configured)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        with scratch_folder("cosmos-venv-profile-") as folder:
            # The parse may remove its own profiles.yml before dbt has read it.
            profiles_yml = folder / "profiles.yml"
            profiles_yml.touch(mode=0o600)
            profiles_yml.write_text(question.profile, encoding="utf-8")
            answer = _ask_in_turn(replace(question, profiles_yml=profiles_yml), kept, cancellation)
        return "" if answer.version else _CHANGED
    except CommandKilled:
        return ""  # the parse that has cancelled this process may start another one at once
    except Exception as error:  # noqa: BLE001 - whatever it is, the parse must learn of it
        is_told = isinstance(error, CosmosLoadDbtException | CosmosConfigException)
        return _without(question.secrets, str(error) if is_told else f"{type(error).__name__}: {error}")


def _without(secrets: Mapping[str, str], text: str) -> str:
    for secret in sorted(map(str, secrets.values()), key=len, reverse=True):
        text = text.replace(secret, "***") if secret else text
    return text
