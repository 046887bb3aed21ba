"""Answers of dbt ls kept on this machine or elsewhere.

What ``dbt ls`` has said before: on this machine, or where ``[cosmos] remote_cache_dir`` leads, on another one.

An answer is kept under the digest of all that is known before dbt runs, and of the values of those variables which dbt
was seen to read. Names of the latter are kept beside it. Whoever asks again looks at the values that they have now: dbt
reads the same variables in the same order until one of them has another value.

What ``dbt ls`` says of a project: what it has said before, while nothing that matters has changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
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
from cosmos_venv.exceptions import CosmosConfigException, CosmosLoadDbtException
from cosmos_venv.files.durable_files import is_private, make_private
from cosmos_venv.files.file_cache import KeptFiles
from cosmos_venv.managed import from_settings, resolve
from cosmos_venv.project.ls_question import LsQuestion, question_of
from cosmos_venv.remote.download_cache import RemoteError

if TYPE_CHECKING:
    from cosmos_venv.environments.environment import Damaged
    from cosmos_venv.project.dbt_ls_runner import LsOrder
    from cosmos_venv.project.graph import DbtGraph
    from cosmos_venv.project.ls_question import Basis
    from cosmos_venv.remote.object_store import RemoteFolder


logger = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for another machine's answer: it only saves time."""

_SUFFIX = ".jsonl"
_GIVEN_UP_SECONDS = 3_600.0  # packages that nothing pins may be others by then
_MOST_SETS = 8  # of names, of one project: each is tried


@dataclass(kw_only=True)
class KeptListings:
    """What is kept of one question.

    :param basis: what its answer depends on.
    :param env: the variables that dbt is given.
    :param max_age: seconds after which what hangs on packages that nothing pins does not count; None: there are none.
    :param remote: for other machines; there is nothing whose age counts. None: there are no others.
    :param patience: seconds to wait for it.
    """

    basis: Basis
    env: Mapping[str, str] = field(repr=False)
    files: KeptFiles
    max_age: float | None
    remote: RemoteFolder | None = None
    patience: float = PATIENCE
    _is_out: bool = field(default=False, init=False)
    _has_remote: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._has_remote = self.remote is not None

    @property
    def version(self) -> str | None:
        """Differs where the lines may; None when there are none that count."""
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
        """Why nobody can tell what the answer depends on, as it turned out when dbt ran; else empty."""
        content = self.files.read(self._given_up, max_age=_GIVEN_UP_SECONDS)
        return (content or b"").decode(errors="replace")

    def give_up(self, reason: str) -> None:
        """Keep no answer, but why that cannot be."""
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
        """Keep them. What goes wrong is at most one warning.

        :param is_pinned: whether they count however old they are.
        :param names: of all variables that are known to have been read.
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
        """Let other machines have what a process has kept that could not reach them."""
        for names in ((), *self._sets()):
            key = self._key(names)
            mark = self.files.path(_unshared(key))
            if self.remote is None or not mark.exists():
                continue
            mark.unlink(missing_ok=True)  # one shares it, of all who see it
            if (content := self.files.read(key)) is not None:
                self._share(key, content)

    def for_another_process(self) -> KeptListings:
        """The same for a process that outlives this one: other machines it cannot reach, without Airflow."""
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
        """Under what they may be kept, and for how long: whether packages were pinned shows when dbt has run."""
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
        return remote.read(f"{key}{_SUFFIX}", seconds=self.patience, limit=settings.limit("artifact_max_bytes"))

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
    try:
        return [tuple(map(str, names)) for names in json.loads(content or b"[]")]
    except (ValueError, TypeError):  # cut short: it is not there
        return []


@cache  # once in a process, which may parse hundreds of DAG files
def warn_of_others(folder: Path) -> None:
    """Say once why nothing is kept in the folder."""
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
    from cosmos_venv.processes.detached_process import DetachedAtWork
    from cosmos_venv.project.dbt_ls_runner import DID_NOTHING

    dbt, cause, text = question.dbt, error.__cause__, str(error)
    # A process that outlives this parse still waits for a dbt that has not failed.
    if dbt.environment is None or dbt.virtualenv_dir is None or isinstance(error.__context__, DetachedAtWork):
        return None
    is_broken = isinstance(error, CosmosConfigException) or DID_NOTHING in text
    is_broken = is_broken or tells_of_code(1, lines=text.splitlines())
    damaged = resolve.damage_of(dbt.environment, content=is_broken)
    if damaged is not None:
        logger.warning("%s %s", damaged, resolve.advice_about(damaged, dbt.virtualenv_dir))
    elif isinstance(error, CosmosConfigException) and isinstance(cause, OSError):
        raise CosmosConfigException(resolve.why_not_started(dbt.environment, cause)) from cause
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
    files = from_settings.kept_listings()
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
        remote=from_settings.remote_listings(),
        patience=min(PATIENCE, resolve.seconds_for_a_parse() or PATIENCE),
    )
    reason = kept.given_up
    return (None, reason) if reason else (kept, "")


def _ask(
    graph: DbtGraph, question: LsQuestion, kept: KeptListings | None, reason: str, *, tries_again: bool
) -> Listing:
    # Whoever finds an answer has no use for what runs dbt.
    from cosmos_venv.managed import project_cache
    from cosmos_venv.project.dbt_ls_runner import LsOrder, ask_in_turn

    order = LsOrder(
        question=question,
        packages=project_cache.project_packages(
            question.project_dir,
            question.dbt.virtualenv_dir,
            variables=question.variables,
            env={**question.env, **question.secrets},
            which_dbt=question.dbt.identity,
        ),
        parsed=project_cache.parsed_project(
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
    wait = resolve.seconds_for_a_parse()
    # A dbt that is not there is told at once.
    if wait is not None and shutil.which(question.dbt.executable, path=question.env.get("PATH")):
        return _ask_detached(order, kept, wait, tries_again=tries_again)
    logger.info("dbt ls of %s runs: no answer is kept for the project as it is.", question.project_dir)
    lines, was_kept = ask_in_turn(order, kept, profiles_yml=question.profiles_yml, report=logger.info)
    return Listing(lines=lines, was_kept=was_kept, version=kept.version)


def _ask_detached(order: LsOrder, kept: KeptListings, wait: float, *, tries_again: bool) -> Listing:
    """The answer of a process that outlives this parse, or of another machine."""
    from cosmos_venv.processes.detached_process import DetachedAtWork, DetachedFailure, DetachedWork
    from cosmos_venv.project.dbt_ls_runner import CHANGED, DETACHED, as_request

    if (lines := kept.read_elsewhere()) is not None:
        return Listing(lines=lines, was_kept=True, version=kept.version)
    project_dir, folder = order.question.project_dir, from_settings.cache_dir() / "dbt-ls-detached-v1"
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
    from cosmos_venv.project.dbt_ls_runner import OutOfTime, run_dbt_ls

    half, began = resolve.seconds_for_a_parse(), time.monotonic()
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
    from cosmos_venv.processes.detached_process import works_in

    with suppress(OSError):
        for work in works_in(folder):
            work.sweep()


def _nothing_kept(question: LsQuestion, reason: str) -> str:
    because = f"because {reason}" if reason else "for this content, dbt, profile, target, variables and selection"
    return (
        f"LoadMode.DBT_LS_CACHE: no answer of dbt ls for {question.project_dir} is kept {because}. Load it once with "
        "LoadMode.DBT_LS, or use that always: it starts no dbt while the answer is kept."
    )
