"""Answers of ``dbt ls``: those kept on this machine or, where ``[cosmos] remote_cache_dir`` leads, on another one.

An answer is kept under the digest of all that is known before dbt runs, and of the values of those variables which dbt
was seen to read. Names of the latter are kept beside it. A later parse looks at the values that they have then: dbt
reads the same variables in the same order until one of them has another value.

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
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import settings
from cosmos_venv.dbt.project_files import veiled
from cosmos_venv.exceptions import CommandKilled, CosmosConfigException, CosmosLoadDbtException
from cosmos_venv.files.durable_files import is_private, make_private
from cosmos_venv.files.file_cache import FileCache
from cosmos_venv.files.untrusted import value_of
from cosmos_venv.managed import caches, resolve
from cosmos_venv.processes.scratch import scratch_folder
from cosmos_venv.project.dbt_ls_runner import OTHER_WAY, LsOrder, OutOfTime, Report, Said, run_dbt_ls, run_within_parse
from cosmos_venv.project.fingerprint import Basis, LsQuestion, computes_a_name
from cosmos_venv.remote.download_cache import NotSigned, RemoteError

if TYPE_CHECKING:
    from cosmos_venv.processes.cancellation import Cancellation
    from cosmos_venv.remote.object_store import RemoteFolder


logger = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for another machine's answer: it only saves time."""

_SUFFIX = ".jsonl"
_GIVEN_UP_SECONDS = 3_600.0  # packages that nothing pins may be others by then
_MOST_SETS = 8  # of names, of one project: each is tried
_DETACHED = f"{__name__}:list_detached"  # what DetachedWork calls, with a request that _as_request has made
_CHANGED = "The project has changed while dbt ls ran, and nobody knows which of the two dbt has read"
_WAITING = "Another process is running dbt ls for the same project; waiting for its answer."
_SHORTEST_AGE = 60.0  # a later parse may begin so many seconds after this one has ended
_LONGEST = 3_600.0  # a dbt that hangs: no parse waits for it any more, or a task waits for it


@dataclass(kw_only=True)
class KeptListings:
    """The answers that are kept to one question.

    :param basis: what its answer depends on.
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
    remote: RemoteFolder | None = None
    patience: float = PATIENCE
    _is_out: bool = field(default=False, init=False)
    _has_remote: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._has_remote = self.remote is not None

    @property
    def version(self) -> str | None:
        """A text that differs where the lines may; None when there are none that count."""
        for key, max_age in self._places:
            if (written := self.files.written(key, max_age=max_age)) is not None:
                return key if max_age is None else f"{key}-{written}"
        return None

    def read(self) -> list[str] | None:
        """The lines; None when there are none."""
        for key, max_age in self._places:
            if (content := self.files.mapped(key, max_age=max_age)) is not None:
                return _unpacked(content)
        return None

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

    def read_elsewhere(self) -> list[str] | None:
        """The lines that another machine has kept, which are kept here from now on."""
        if self.remote is None:
            return None
        try:
            content, key = self._elsewhere(self.remote, self.basis.digest), self.basis.digest
            if content is None:
                self._note(_sets(self._elsewhere(self.remote, self._names)))
                for names in self._sets():
                    key = self._key(names)
                    if (content := self._elsewhere(self.remote, key)) is not None:
                        break
        except RemoteError as error:
            self._warn(error)
            return None
        lines = None if content is None else _unpacked(content)
        if content is not None and lines is not None:
            self._keep(key, content)
        return lines

    def write(self, lines: list[str], *, is_pinned: bool, names: frozenset[str]) -> None:
        """Keep an answer. Anything that goes wrong is at most one warning.

        :param lines: what dbt has written.
        :param is_pinned: whether the answer counts however old it is.
        :param names: the environment variables that are known to have been read.
        """
        text = "\n".join(lines).encode(errors="surrogateescape")
        content = b"\n".join([_check(text), text])
        others = tuple(sorted(names - self.basis.names))
        if others:
            self._note([others])
        key = self._key(others)
        self._keep(key if is_pinned else _unpinned(key), content)
        if is_pinned and self.remote is None and self._has_remote:
            self.files.write(_unshared(key), b"")
        elif is_pinned:
            self._share(key, content)

    def share(self) -> None:
        """Let other machines have the answers that were kept by a process which could not reach them."""
        for names in ((), *self._sets()):
            key = self._key(names)
            mark = self.files.path(_unshared(key))
            if self.remote is None or not mark.exists():
                continue
            mark.unlink(missing_ok=True)  # one shares it, of all who see it
            if (content := self.files.read(key)) is not None:
                self._share(key, content)

    def for_another_process(self) -> KeptListings:
        """The same answers for a process that outlives this one: without Airflow it cannot reach other machines."""
        other = replace(self, remote=None)
        other._has_remote = self._has_remote
        return other

    @property
    def _names(self) -> str:
        return f"{self.basis.digest}-names"

    @property
    def _given_up(self) -> str:
        return f"{self.basis.digest}-given-up"

    @property
    def _places(self) -> list[tuple[str, float | None]]:
        """The keys of possible answers, each with its age: whether packages were pinned shows when dbt has run."""
        keys = [self.basis.digest, *map(self._key, self._sets())]
        pinned: list[tuple[str, float | None]] = [(key, None) for key in keys]
        return pinned if self.max_age is None else [*pinned, *((_unpinned(key), self.max_age) for key in keys)]

    def _sets(self) -> list[tuple[str, ...]]:
        """The sets of names that dbt was seen to read, beyond those that count in any case."""
        return _sets(self.files.read(self._names))

    def _key(self, names: tuple[str, ...]) -> str:
        if not names:
            return self.basis.digest
        return hashlib.sha256(json.dumps([self.basis.digest, names, veiled(self.env, names)]).encode()).hexdigest()

    def _note(self, sets: list[tuple[str, ...]]) -> None:
        known = self._sets()
        if new := [names for names in sets if names not in known]:
            self.files.write(self._names, json.dumps([*new, *known][:_MOST_SETS]).encode())

    def _share(self, key: str, content: bytes) -> None:
        if self.remote is None or self._is_out:
            return
        try:
            if key != self.basis.digest:
                self._note(_sets(self._elsewhere(self.remote, self._names)))
                names = json.dumps(self._sets()).encode()
                self.remote.write(f"{self._names}{_SUFFIX}", names, seconds=self.patience)
            self.remote.write(f"{key}{_SUFFIX}", content, seconds=self.patience)
        except RemoteError as error:
            self._warn(error)

    def _elsewhere(self, remote: RemoteFolder, key: str) -> bytes | None:
        try:
            return remote.read(f"{key}{_SUFFIX}", seconds=self.patience, limit=settings.limit("artifact_max_bytes"))
        except NotSigned as error:
            logger.warning("[cosmos] remote_cache_dir %s: %s%s is not used: %s.", remote, key, _SUFFIX, error)
            return None

    def _keep(self, key: str, content: bytes) -> None:
        self.files.write(key, content)
        folder = self.files.folder
        if folder.is_dir() and not is_private(folder):
            warn_of_others(folder)

    def _warn(self, error: RemoteError) -> None:
        self._is_out = True
        logger.warning("[cosmos] remote_cache_dir %s is of no use now: %s.", self.remote, error)


def _unpinned(key: str) -> str:
    return f"{key}-unpinned"


def _unshared(key: str) -> str:
    return f"{key}-unshared"


def _sets(content: bytes | None) -> list[tuple[str, ...]]:
    return value_of(content, list[tuple[str, ...]]) or []


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


def _unpacked(content: bytes | mmap) -> list[str] | None:
    """The lines; None where it was cut short, which would be a project without nodes."""
    end = content.find(b"\n")
    with memoryview(content) as view, view[end + 1 :] as text:
        is_whole = content[: max(end, 0)] == _check(text)
    return list(_lines(content, end + 1)) if is_whole else None


def _lines(content: bytes | mmap, start: int) -> Iterator[str]:
    """Line by line: for copies of the whole the kernel gives memory page by page, which takes longer than the rest."""
    # Not splitlines(): that breaks at the line separators of Unicode, which JSON leaves as they are in a text.
    while (end := content.find(b"\n", start)) >= 0:
        yield content[start:end].decode(errors="replace")
        start = end + 1
    if start < len(content):
        yield content[start:].decode(errors="replace")


def _check(text: bytes | memoryview) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()


def kept_answers(question: LsQuestion) -> tuple[KeptListings | None, str]:
    """The answers that are kept to a question, and an empty text; or None, and why none can be kept, in words.

    :param question: the question.
    """
    files = caches.kept_listings()
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
        remote=caches.remote_listings(),
        patience=min(PATIENCE, resolve.seconds_for_a_parse() or PATIENCE),
    )
    reason = kept.given_up
    return (None, reason) if reason else (kept, "")


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The answer of ``dbt ls`` to one question.

    :param lines: the lines that it has written.
    :param was_kept: whether it had said so before, and no dbt was started.
    :param version: a text that differs where the lines may; None where that cannot be known.
    """

    lines: list[str]
    was_kept: bool
    version: str | None = None


def ask(order: LsOrder, kept: KeptListings | None, reason: str) -> Listing:
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
        lines, was_kept = _ask_in_turn(order, kept, profiles_yml=question.profiles_yml, report=logger.info)
    except OutOfTime:
        raise CosmosLoadDbtException(_ended_by_time(question)) from None
    return Listing(lines=lines, was_kept=was_kept, version=kept.version)


def _not_kept(order: LsOrder, reason: str) -> Listing:
    return Listing(lines=run_within_parse(order, reason, report=logger.info), was_kept=False)


def _ask_detached(order: LsOrder, kept: KeptListings, wait: float) -> Listing:
    """The answer of a process that outlives this parse, or of another machine."""
    from cosmos_venv.processes.detached_process import DetachedAtWork, DetachedFailure, DetachedWork

    if (lines := kept.read_elsewhere()) is not None:
        return Listing(lines=lines, was_kept=True, version=kept.version)
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
            is_done=lambda: bool(kept.given_up) or kept.read() is not None,
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
    lines = kept.read()
    if lines is None:
        return _not_kept(order, kept.given_up)
    kept.share()
    return Listing(lines=lines, was_kept=False, version=kept.version)


def _ask_in_turn(
    order: LsOrder,
    kept: KeptListings,
    *,
    profiles_yml: Path,
    report: Report,
    cancellation: Cancellation | None = None,
) -> tuple[list[str], bool]:
    """The lines of ``dbt ls``, and whether another process has asked for them meanwhile.

    Of several processes that ask the same, one starts dbt and the others wait for its answer, which is kept.

    :raises OutOfTime: when dbt has run for an hour.
    :raises CosmosLoadDbtException: when dbt fails, with its own last lines.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    with kept.files.turn(kept.basis.digest, report=lambda: report(_WAITING)):
        lines = kept.read()
        if lines is None:
            lines = kept.read_elsewhere()
        if lines is not None:
            return lines, True
        deadline = time.monotonic() + _LONGEST
        said = run_dbt_ls(order, profiles_yml=profiles_yml, report=report, deadline=deadline, cancellation=cancellation)
        if order.question.basis().digest != kept.basis.digest:
            report(f"{_CHANGED}; its answer is not kept.")
        elif reason := _why_not_kept(said, kept):
            kept.give_up(reason)
        else:
            kept.write(said.lines, is_pinned=said.is_pinned, names=said.names())
        return said.lines, False


def _why_not_kept(said: Said, kept: KeptListings) -> str:
    """Why no later parse could take the answer, in words; empty where one can."""
    if not said.is_pinned and kept.max_age is not None and kept.max_age < _SHORTEST_AGE:
        return (
            "no package-lock.yml that fits pins its packages, and [cosmos_venv] packages_max_age is "
            f"{kept.max_age:.0f} s"
        )
    if (unnoted := said.of_packages.unnoted) is not None:
        return computes_a_name(f"the package file {unnoted}")
    computed = kept.basis.computed or next((f"the package file {each}" for each in said.of_packages.computed), "")
    if not computed or said.noted is not None:
        return ""
    return f"{computes_a_name(computed)}, and this dbt does not note which it reads"


def _sweep(folder: Path) -> None:
    """Remove the files of processes that ended weeks ago."""
    from cosmos_venv.processes.detached_process import works_in

    with suppress(OSError):
        for work in works_in(folder):
            work.sweep()


def _as_request(order: LsOrder, kept: KeptListings) -> bytes:
    """The order for a process that outlives this one. It holds the environment of dbt, and with it secrets."""
    # Its lease is held by a descriptor that the process inherits.
    dbt = replace(order.question.dbt, environment=None)
    order = replace(order, question=replace(order.question, dbt=dbt))
    return pickle.dumps((order, kept.for_another_process(), settings.configured()))


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
