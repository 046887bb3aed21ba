"""Answers of dbt, kept on this machine, and for other machines where a setting says so.

An answer is the pruned manifest of a project, or the lines of ``dbt ls`` with a selection. It is kept under the digest
of all that is known before dbt runs. Which variables the installed packages ask for is known only after that run. Their
names and a digest of their values are in the first line of the answer. If a value has changed, the answer does not
count.

Of several processes that need the same answer, one runs dbt and the others wait. Where Airflow limits the time of an
import, dbt is run by a process that outlives it, and the next import finds the answer.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cosmos_venv import settings
from cosmos_venv.dbt.project_files import digest_of_values
from cosmos_venv.exceptions import CommandKilled, CosmosConfigException, CosmosLoadDbtException
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.files.os_errors import reason_of
from cosmos_venv.files.own_files import is_private, make_private
from cosmos_venv.files.read_limits import packed, unpacked, value_of
from cosmos_venv.managed import caches, resolve
from cosmos_venv.processes.scratch import scratch_folder
from cosmos_venv.project.dbt_ls_runner import OTHER_WAY, LsOutput, run_dbt_ls
from cosmos_venv.project.fingerprint import Basis, LsQuestion
from cosmos_venv.remote.download_cache import NotSigned, RemoteError

if TYPE_CHECKING:
    from cosmos_venv.processes.cancellation import Cancellation
    from cosmos_venv.project.variable_answers import VariableAnswers
    from cosmos_venv.remote.object_store import RemoteFolder


logger = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for the storage of other machines, which only saves time
_SUFFIX = ".answer"
_DETACHED = f"{__name__}:answer_detached"  # the function that DetachedWork calls, with a request of _as_request
_CHANGED = (
    "The project has changed while dbt ls ran, and nobody knows which state of the project dbt has read. Parse again."
)
_WAITING = "Another process is running dbt ls for the same project; waiting for its answer."
_SHORTEST_AGE = 60.0  # seconds that an answer lives at the least, so that a later parse finds it


def _patience() -> float:
    """Return the seconds to wait for the storage: a parse is left with half of its time at least."""
    return min(_PATIENCE, resolve.seconds_for_a_parse() or _PATIENCE)


class _Head(msgspec.Struct, omit_defaults=True):
    """The first line of a kept answer. The rest is its content, compressed.

    :param until: the end of the answer's life, in seconds since the epoch, where nothing pins the packages that it
        depends on. None: it does not expire.
    :param names: the environment variables that installed packages ask for.
    :param values: a digest of their values at that time. With other values the answer does not count.
    """

    until: float | None = None
    names: tuple[str, ...] = ()
    values: str = ""


@dataclass(frozen=True, kw_only=True)
class DbtAnswer:
    """The answer of dbt to one question.

    :param content: the pruned manifest, or the lines of ``dbt ls`` with a selection.
    :param was_kept: whether the answer was found, so that dbt was not started.
    :param version: a text that differs where the content may differ; None where that cannot be known.
    :param ages: whether the answer expires.
    """

    content: bytes
    was_kept: bool
    version: str | None = None
    ages: bool = False


@dataclass(kw_only=True)
class KeptAnswer:
    """The place where the answer to one question is kept.

    :param basis: the facts that the answer depends on.
    :param env: the environment variables that dbt is given.
    :param files: the files in which answers are kept on this machine.
    :param remote: where answers that do not expire are kept for other machines. None: there are no other machines.
    """

    basis: Basis
    env: Mapping[str, str] = field(repr=False)
    files: FileCache
    remote: RemoteFolder | VariableAnswers | None = None

    @property
    def version(self) -> str | None:
        """A text that differs where the answer may differ; None where no valid answer is kept."""
        file = self.files.opened(self.basis.digest)
        if file is None:
            return None
        with file:
            head = self._head_of(file.readline())
        return None if head is None else self._version_of(head)

    def find(self) -> DbtAnswer | None:
        """The kept answer of this machine or of another machine; None when there is no valid answer."""
        text = self.files.read(self.basis.digest)
        found = None if text is None else self._answer_in(text)
        if text is not None and found is not None:
            self._share(text, found)
        return found or self._find_elsewhere()

    def _find_elsewhere(self) -> DbtAnswer | None:
        """The answer that another machine has shared. It is kept on this machine from now on."""
        if self.remote is None:
            return None
        try:
            text = self.remote.read(self._name, seconds=_patience(), limit=settings.limit("artifact_max_bytes"))
        except NotSigned as error:
            logger.warning("[cosmos] remote_cache_dir %s: %s is not used: %s.", self.remote, self._name, error)
            return None
        except RemoteError as error:
            self._warn(error)
            return None
        found = None if text is None else self._answer_in(text)
        if text is not None and found is not None:
            self.files.write(self.basis.digest, text)
            self._note_as_shared(found)
        return found

    def write(self, said: LsOutput) -> DbtAnswer:
        """Keep an answer and return it. Whatever goes wrong, there is at most one warning.

        :param said: the answer of dbt.
        """
        others = tuple(sorted(said.names - self.basis.names))
        until = None if said.is_pinned else time.time() + max(settings.packages_max_age, _SHORTEST_AGE)
        head = _Head(until=until, names=others, values=digest_of_values(self.env, others))
        text = b"\n".join([msgspec.json.encode(head), packed(said.content).encode()])
        self.files.write(self.basis.digest, text)
        answer = DbtAnswer(content=said.content, was_kept=False, version=self._version_of(head), ages=until is not None)
        self._share(text, answer)
        return answer

    @property
    def _name(self) -> str:
        return f"{self.basis.digest}{_SUFFIX}"

    def _head_of(self, line: bytes) -> _Head | None:
        """The head of an answer; None where the answer has expired, or the line is no head."""
        head = value_of(line, _Head)
        if head is None or (head.until is not None and head.until < time.time()):
            return None
        return head if digest_of_values(self.env, head.names) == head.values else None

    def _version_of(self, head: _Head) -> str:
        return f"{self.basis.digest}-{head.until}-{head.values}"

    def _answer_in(self, text: bytes) -> DbtAnswer | None:
        """The answer; None where it has expired, was cut short, or unpacks to more bytes than an artifact may have."""
        line, _, rest = text.partition(b"\n")
        head = self._head_of(line)
        if head is None:
            return None
        content = unpacked(rest.decode("ascii", errors="replace"), settings.limit("artifact_max_bytes"))
        if content is None:
            return None
        version = self._version_of(head)
        return DbtAnswer(content=content, was_kept=True, version=version, ages=head.until is not None)

    @property
    def _shared_mark(self) -> str:
        return f"{self.basis.digest}-shared"

    def _note_as_shared(self, answer: DbtAnswer) -> None:
        self.files.write(self._shared_mark, str(answer.version).encode())

    def _share(self, text: bytes, answer: DbtAnswer) -> None:
        """Share an answer with other machines, once. A process that outlives a parse cannot reach them: the next parse
        shares the answer that this process has kept.
        """
        is_shared = answer.ages or self.files.read(self._shared_mark) == str(answer.version).encode()
        if self.remote is None or is_shared:
            return
        try:
            self.remote.write(self._name, text, seconds=_patience())
            # Only after the write: if Airflow ends the parse during the write, the next parse shares the answer.
            self._note_as_shared(answer)
        except RemoteError as error:
            self._warn(error)

    def _warn(self, error: RemoteError) -> None:
        if settings.remote_cache_dir:
            logger.warning("[cosmos] remote_cache_dir %s is of no use now: %s.", self.remote, error)
        else:  # no warning: nobody has asked for Variables, and a DAG file that is run by hand has none
            logger.info("%s is not used, as when a DAG file is run by hand: %s.", self.remote, error)
        self.remote = None


def kept_answer(question: LsQuestion) -> tuple[KeptAnswer | None, str]:
    """Return the place of the answer to a question, with an empty text; or None, with the reason why none can be kept.

    :param question: the question.
    """
    files = caches.kept_listings()
    if files is None:
        return None, "[cosmos] enable_cache or enable_cache_dbt_ls is off"
    with suppress(OSError):
        make_private(files.folder)
    if not is_private(files.folder):
        return None, (
            f"{files.folder} cannot be made, or belongs to another user, or others may write to it or a folder above "
            "(use chmod go-w, for a folder above also chmod +t; or set [cosmos_venv] cache_dir to a folder of the user "
            "who runs Airflow alone)"
        )
    from cosmos_venv.compat import shared_by_import  # a process that outlives a parse does not pay for Airflow

    basis = question.basis(seen=shared_by_import())
    if basis.unknown:
        return None, basis.unknown
    kept = KeptAnswer(
        basis=basis,
        env=question.env,
        files=files,
        remote=caches.remote_listings() or _variable_of(question),
    )
    return kept, ""


def _variable_of(question: LsQuestion) -> VariableAnswers | None:
    """The Variable in which machines share the answer to a question; None where no setting says so."""
    if not settings.share_answers_in_variables:
        return None
    from cosmos_venv.project.variable_answers import VariableAnswers  # it brings Airflow along

    return VariableAnswers(question=json.dumps([question.project_dir.name, question.profile_flags, question.arguments]))


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
        is_same_profile = _text_of(question.profiles_yml) == question.profile
        if is_same_profile and question.basis().digest == kept.basis.digest:
            return kept.write(said)
        logger.info(_CHANGED)
        return DbtAnswer(content=said.content, was_kept=False)


def _text_of(profiles_yml: Path) -> str | None:
    with suppress(OSError):
        return profiles_yml.read_text(encoding="utf-8", errors="replace")
    return None


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
    except (CosmosLoadDbtException, CosmosConfigException) as error:
        return _without(question.secrets, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parse must learn of it
        return _without(question.secrets, f"{type(error).__name__}: {error}")


def _without(secrets: Mapping[str, str], text: str) -> str:
    for secret in sorted(map(str, secrets.values()), key=len, reverse=True):
        text = text.replace(secret, "***") if secret else text
    return text
