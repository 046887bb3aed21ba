"""What ``dbt ls`` has said before: on this machine, or where ``[cosmos] remote_cache_dir`` leads, on another one.

An answer is kept under the digest of all that is known before dbt runs, and of the values of those variables which dbt
was seen to read. Names of the latter are kept beside it. Whoever asks again looks at the values that they have now: dbt
reads the same variables in the same order until one of them has another value.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import settings
from cosmos_venv.dbt.env_vars import veiled
from cosmos_venv.dbt.kept_files import KeptFiles, is_private
from cosmos_venv.remote.copies import RemoteError

if TYPE_CHECKING:
    from cosmos_venv.project.ls_question import Basis
    from cosmos_venv.remote.folder import RemoteFolder

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
