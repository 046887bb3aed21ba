"""Answers of dbt: those kept on this machine or, where a setting says so, where other machines find them too.

An answer is the pruned manifest of a project, or the lines of ``dbt ls`` with a selection. It is kept under the digest
of all that is known before dbt runs, and of the values of the variables that installed packages ask for. The set of
their names is kept beside it and only grows.

Of several processes that need the same answer, one runs dbt and the others wait. Where Airflow limits the time of an
import, dbt is run by a process that outlives it, and the next import finds the answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cosmos_venv import settings
from cosmos_venv.dbt.project_files import veiled
from cosmos_venv.exceptions import CommandKilled, CosmosConfigException, CosmosLoadDbtException
from cosmos_venv.files.durable_files import is_private, make_private
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.files.untrusted import packed, unpacked, value_of
from cosmos_venv.managed import caches, resolve
from cosmos_venv.processes.scratch import scratch_folder
from cosmos_venv.project.dbt_ls_runner import OTHER_WAY, LsOrder, OutOfTime, Report, Said, run_dbt_ls, run_within_parse
from cosmos_venv.project.fingerprint import Basis, LsQuestion, computes_a_name
from cosmos_venv.remote.download_cache import NotSigned, RemoteError

if TYPE_CHECKING:
    from cosmos_venv.processes.cancellation import Cancellation
    from cosmos_venv.project.variable_answers import VariableAnswers
    from cosmos_venv.remote.object_store import RemoteFolder


logger = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for another machine's answer: it only saves time."""

_SUFFIX = ".answer"
_GIVEN_UP_SECONDS = 3_600.0  # packages that nothing pins may be others by then
_DETACHED = f"{__name__}:list_detached"  # what DetachedWork calls, with a request that _as_request has made
_CHANGED = "The project has changed while dbt ls ran, and nobody knows which of the two dbt has read"
_WAITING = "Another process is running dbt ls for the same project; waiting for its answer."
_SHORTEST_AGE = 60.0  # a later parse may begin so many seconds after this one has ended
_LONGEST = 3_600.0  # a dbt that hangs: no parse waits for it any more, or a task waits for it


class _Head(msgspec.Struct):
    """The first line of a kept answer. The rest is its content, compressed.

    :param until: when the answer ends to count, in seconds since the epoch, since nothing pins the packages that it
        depends on; None: it counts however old it is.
    """

    until: float | None = None


@dataclass(kw_only=True)
class KeptAnswers:
    """The answer that is kept to one question.

    :param basis: what the answer depends on.
    :param env: the environment variables that dbt is given.
    :param files: the files in which answers are kept on this machine.
    :param max_age: seconds for which an answer counts that depends on packages which nothing pins; None: there are no
        such packages.
    :param remote: keeps answers for other machines, but none that ages; None: there are no other machines.
    :param patience: seconds to wait for the remote folder.
    """

    basis: Basis
    env: Mapping[str, str] = field(repr=False)
    files: FileCache
    max_age: float | None
    remote: RemoteFolder | VariableAnswers | None = None
    patience: float = PATIENCE

    @property
    def version(self) -> str | None:
        """A text that differs where the answer may; None where none is kept that counts."""
        file = self.files.opened(self._key)
        if file is None:
            return None
        with file:
            head = _head_of(file.readline())
        return None if head is None else f"{self._key}-{head.until}"

    def read(self) -> bytes | None:
        """The content of the answer; None when there is none that counts."""
        answer = self.files.read(self._key)
        content = None if answer is None else _content_of(answer)
        if answer is not None and content is not None:
            self._share(answer)
        return content

    def read_elsewhere(self) -> bytes | None:
        """The content that another machine has kept, which is kept here from now on."""
        if self.remote is None:
            return None
        try:
            self._note(_names(self._elsewhere(self.remote, self._names_file)))
            answer = self._elsewhere(self.remote, self._key)
        except RemoteError as error:
            self._warn(error)
            return None
        content = None if answer is None else _content_of(answer)
        if answer is not None and content is not None:
            self._keep(answer)
            self.files.write(self._shared_mark, b"")
        return content

    def write(self, content: bytes, *, is_pinned: bool, names: frozenset[str]) -> None:
        """Keep an answer. Anything that goes wrong is at most one warning.

        :param content: what is read of dbt's answer.
        :param is_pinned: whether the answer counts however old it is.
        :param names: the environment variables that installed packages ask for.
        """
        self._note(names - self.basis.names)
        head = _Head() if is_pinned or self.max_age is None else _Head(until=time.time() + self.max_age)
        answer = b"\n".join([msgspec.json.encode(head), packed(content).encode()])
        self._keep(answer)
        self._share(answer)

    @property
    def given_up(self) -> str:
        """The reason why it cannot be known what the answer depends on, as it turned out when dbt ran; else empty."""
        content = self.files.read(self._given_up, max_age=_GIVEN_UP_SECONDS)
        return (content or b"").decode(errors="replace")

    def give_up(self, reason: str) -> None:
        """Keep no answer, but the reason why none can be kept.

        :param reason: the reason, in words.
        """
        self.files.write(self._given_up, reason.encode())

    @property
    def _names_file(self) -> str:
        return f"{self.basis.digest}-names"

    @property
    def _given_up(self) -> str:
        return f"{self.basis.digest}-given-up"

    @property
    def _shared_mark(self) -> str:
        return f"{self._key}-shared"

    @property
    def _key(self) -> str:
        """The name of the answer for the values that the variables of packages have now."""
        names = _names(self.files.read(self._names_file))
        if not names:
            return self.basis.digest
        matters = [self.basis.digest, sorted(names), veiled(self.env, names)]
        return hashlib.sha256(json.dumps(matters).encode()).hexdigest()

    def _note(self, names: frozenset[str]) -> None:
        known = _names(self.files.read(self._names_file))
        if not names <= known:
            self.files.write(self._names_file, json.dumps(sorted(known | names)).encode())

    def _share(self, answer: bytes) -> None:
        """Let other machines have an answer, once. A process that outlives a parse cannot reach them: the next parse
        shares what that process has kept.
        """
        head = _head_of(answer)
        is_shared = self.remote is None or self.files.path(self._shared_mark).exists()
        if self.remote is None or is_shared or head is None or head.until is not None:
            return
        try:
            if names := _names(self.files.read(self._names_file)):
                self._note(_names(self._elsewhere(self.remote, self._names_file)))
                content = json.dumps(sorted(names | _names(self.files.read(self._names_file)))).encode()
                self.remote.write(f"{self._names_file}{_SUFFIX}", content, seconds=self.patience)
            self.remote.write(f"{self._key}{_SUFFIX}", answer, seconds=self.patience)
            # Afterwards: a parse that Airflow ends while it shares has not shared.
            self.files.write(self._shared_mark, b"")
        except RemoteError as error:
            self._warn(error)

    def _elsewhere(self, remote: RemoteFolder | VariableAnswers, key: str) -> bytes | None:
        try:
            return remote.read(f"{key}{_SUFFIX}", seconds=self.patience, limit=settings.limit("artifact_max_bytes"))
        except NotSigned as error:
            logger.warning("[cosmos] remote_cache_dir %s: %s%s is not used: %s.", remote, key, _SUFFIX, error)
            return None

    def _keep(self, answer: bytes) -> None:
        self.files.write(self._key, answer)
        folder = self.files.folder
        if folder.is_dir() and not is_private(folder):
            warn_of_others(folder)

    def _warn(self, error: RemoteError) -> None:
        if settings.remote_cache_dir:
            logger.warning("[cosmos] remote_cache_dir %s is of no use now: %s.", self.remote, error)
        else:  # no warning: nobody has asked for Variables, and a DAG file that is run by hand has none
            logger.info("%s is of no use now: %s.", self.remote, error)
        self.remote = None


def _names(content: bytes | None) -> frozenset[str]:
    return value_of(content, frozenset[str]) or frozenset()


def _head_of(answer: bytes) -> _Head | None:
    """The head of an answer; None where the answer counts no more, or is none."""
    head = value_of(answer.partition(b"\n")[0], _Head)
    return None if head is None or (head.until is not None and head.until < time.time()) else head


def _content_of(answer: bytes) -> bytes | None:
    """The content; None where it counts no more, was cut short, or unpacks to more than an artifact may have."""
    if _head_of(answer) is None:
        return None
    text = answer.partition(b"\n")[2].decode("ascii", errors="replace")
    return unpacked(text, settings.limit("artifact_max_bytes"))


@cache  # once in a process, which may parse hundreds of DAG files
def warn_of_others(folder: Path) -> None:
    """Say once why nothing is kept in a folder.

    :param folder: the folder.
    """
    logger.warning(
        "Nothing is kept in %s, so that dbt ls runs at each parse: others may write there, or in a folder above, or it "
        "is another user's. Take their right away (chmod go-w; above, chmod +t will do), or set [cosmos_venv] "
        "cache_dir to a folder of the user who runs Airflow alone.",
        folder,
    )


def kept_answers(question: LsQuestion) -> tuple[KeptAnswers | None, str]:
    """The answers that are kept to a question, and an empty text; or None, and why none can be kept, in words.

    :param question: the question.
    """
    files = caches.kept_listings()
    if files is None:
        return None, "[cosmos] enable_cache or enable_cache_dbt_ls is off"
    from cosmos_venv.compat import shared_by_import  # a process that outlives a parse does not pay for Airflow

    basis = question.basis(seen=shared_by_import())
    if basis.unknown:
        return None, basis.unknown
    kept = KeptAnswers(
        basis=basis,
        env=question.env,
        files=files,
        max_age=settings.packages_max_age if question.has_deps else None,
        remote=caches.remote_listings() or _variable_of(question),
        patience=min(PATIENCE, resolve.seconds_for_a_parse() or PATIENCE),
    )
    reason = kept.given_up
    return (None, reason) if reason else (kept, "")


def _variable_of(question: LsQuestion) -> VariableAnswers | None:
    """The Variable in which machines share the answer to a question; None where no setting says so."""
    if not settings.share_answers_in_variables:
        return None
    from cosmos_venv.project.variable_answers import VariableAnswers  # it brings Airflow along

    return VariableAnswers(question=json.dumps([question.project_dir.name, question.profile_flags, question.arguments]))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer of dbt to one question.

    :param content: the pruned manifest, or the lines of ``dbt ls`` with a selection.
    :param was_kept: whether dbt had said so before, and was not started.
    :param version: a text that differs where the content may; None where that cannot be known.
    """

    content: bytes
    was_kept: bool
    version: str | None = None


def ask(order: LsOrder, kept: KeptAnswers | None, reason: str) -> Answer:
    """The answer of a dbt that is run, which is kept where that can be: by this parse, or by a process that outlives
    it.

    :param order: what dbt is asked.
    :param kept: where the answer is kept; None: nowhere.
    :param reason: why it is kept nowhere, in words.
    :raises CosmosLoadDbtException: when dbt fails, with its own last lines; when the answer is not ready yet.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    question = order.question
    if kept is None:
        logger.info("dbt ls runs at each parse of %s: %s.", question.project_dir, reason)
        return _not_kept(order, reason)
    wait = resolve.seconds_for_a_parse()
    # A dbt that is not there is an error at once, not one of a process that nobody waits for.
    if wait is not None and shutil.which(question.dbt.executable, path=question.env.get("PATH")):
        return _ask_detached(order, kept, wait)
    logger.info("dbt ls of %s runs: no answer is kept for the project as it is.", question.project_dir)
    try:
        content, was_kept = _ask_in_turn(order, kept, profiles_yml=question.profiles_yml, report=logger.info)
    except OutOfTime:
        raise CosmosLoadDbtException(_ended_by_time(question)) from None
    return Answer(content=content, was_kept=was_kept, version=kept.version)


def _not_kept(order: LsOrder, reason: str) -> Answer:
    return Answer(content=run_within_parse(order, reason, report=logger.info), was_kept=False)


def _ask_detached(order: LsOrder, kept: KeptAnswers, wait: float) -> Answer:
    """The answer of a process that outlives this parse, or of another machine."""
    from cosmos_venv.processes.detached_process import DetachedAtWork, DetachedFailure, DetachedWork

    if (content := kept.read_elsewhere()) is not None:
        return Answer(content=content, was_kept=True, version=kept.version)
    project_dir, folder = order.question.project_dir, caches.cache_dir() / "dbt-ls-detached-v1"
    work = DetachedWork(folder=folder, key=kept.basis.digest)

    def report_start() -> None:
        logger.info("dbt ls of %s runs in a process of its own; its log is %s.", project_dir, work.log)
        _sweep(folder)

    try:
        for each in (folder, kept.files.folder):
            make_private(each)
        if not (is_private(folder) and is_private(kept.files.folder)):
            warn_of_others(kept.files.folder)
            return _not_kept(order, f"others may write in {folder.parent}, or it is another user's")
        work.ensure_done(
            _DETACHED,
            _as_request(order, kept),
            is_done=lambda: bool(kept.given_up) or kept.version is not None,
            wait=wait,
            on_start=report_start,
            keep_open=order.question.dbt.keep_open,
        )
    except DetachedAtWork as at_work:
        raise CosmosLoadDbtException(
            f"dbt ls of {project_dir} has been running {at_work}, log file {work.log}; the next parse will find its "
            f"answer. {OTHER_WAY}"
        ) from None
    except DetachedFailure as failure:
        if str(failure).startswith(_CHANGED):  # a deployment; this parse need not fail for it
            return _not_kept(order, _CHANGED)
        raise CosmosLoadDbtException(_without(order.question.secrets, str(failure))) from None
    except OSError as error:
        return _not_kept(order, f"nothing can be written in {folder.parent}: {error.strerror}")
    content = kept.read()
    if content is None:
        return _not_kept(order, kept.given_up)
    return Answer(content=content, was_kept=False, version=kept.version)


def _ask_in_turn(
    order: LsOrder,
    kept: KeptAnswers,
    *,
    profiles_yml: Path,
    report: Report,
    cancellation: Cancellation | None = None,
) -> tuple[bytes, bool]:
    """The content of the answer, and whether another process has asked for it meanwhile.

    Of several processes that ask the same, one starts dbt and the others wait for its answer, which is kept.

    :raises OutOfTime: when dbt has run for an hour.
    :raises CosmosLoadDbtException: when dbt fails, with its own last lines.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    with kept.files.turn(kept.basis.digest, report=lambda: report(_WAITING)):
        content = kept.read()
        if content is None:
            content = kept.read_elsewhere()
        if content is not None:
            return content, True
        deadline = time.monotonic() + _LONGEST
        said = run_dbt_ls(order, profiles_yml=profiles_yml, report=report, deadline=deadline, cancellation=cancellation)
        if order.question.basis().digest != kept.basis.digest:
            report(f"{_CHANGED}; its answer is not kept.")
        elif reason := _why_not_kept(said, kept):
            kept.give_up(reason)
        else:
            kept.write(said.content, is_pinned=said.is_pinned, names=said.of_packages.names)
        return said.content, False


def _why_not_kept(said: Said, kept: KeptAnswers) -> str:
    """Why no later parse could take the answer, in words; empty where one can."""
    if not said.is_pinned and kept.max_age is not None and kept.max_age < _SHORTEST_AGE:
        return (
            "no package-lock.yml that fits pins its packages, and [cosmos_venv] packages_max_age is "
            f"{kept.max_age:.0f} s"
        )
    return next((computes_a_name(f"the package file {each}") for each in said.of_packages.computed), "")


def _sweep(folder: Path) -> None:
    """Remove the files of processes that ended weeks ago."""
    from cosmos_venv.processes.detached_process import works_in

    with suppress(OSError):
        for work in works_in(folder):
            work.sweep()


def _as_request(order: LsOrder, kept: KeptAnswers) -> bytes:
    """The order for a process that outlives this one. It holds the environment of dbt, and with it secrets."""
    # Its lease is held by a descriptor that the process inherits.
    dbt = replace(order.question.dbt, environment=None)
    order = replace(order, question=replace(order.question, dbt=dbt))
    # Without Airflow that process cannot reach other machines.
    return pickle.dumps((order, replace(kept, remote=None), settings.configured()))


def list_detached(request: bytes, cancellation: Cancellation) -> str:
    """Run dbt in a process of its own and keep the answer.

    :param request: what ``_as_request`` has made.
    :param cancellation: ends dbt when it is requested.
    :returns: what went wrong, in words; empty when nothing did.
    """
    order, kept, configured = pickle.loads(request)  # noqa: S301 - by a pipe, from this user's process with this code
    settings.take_configured(configured)
    try:
        with scratch_folder("cosmos-venv-profile-") as folder:
            # The file of the parse may go before dbt has read it.
            profiles_yml = folder / "profiles.yml"
            profiles_yml.touch(mode=0o600)
            profiles_yml.write_text(order.question.profile, encoding="utf-8")
            _, was_there = _ask_in_turn(order, kept, profiles_yml=profiles_yml, report=_say, cancellation=cancellation)
        return "" if was_there or kept.given_up or kept.version else _CHANGED
    except CommandKilled:
        return ""  # the parse that has ended it may start another at once
    except OutOfTime:
        return _ended_by_time(order.question)
    except (CosmosLoadDbtException, CosmosConfigException) as error:
        return _without(order.question.secrets, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parse must learn of it
        return _without(order.question.secrets, f"{type(error).__name__}: {error}")


def _ended_by_time(question: LsQuestion) -> str:
    return f"dbt ls of {question.project_dir} did not end within {_LONGEST:.0f} s, and was ended. {OTHER_WAY}"


def _without(secrets: Mapping[str, str], text: str) -> str:
    for secret in sorted(map(str, secrets.values()), key=len, reverse=True):
        text = text.replace(secret, "***") if secret else text
    return text


def _say(line: str) -> None:
    print(line, flush=True)
