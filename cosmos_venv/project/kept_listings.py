"""What has ``dbt ls`` said before? On this machine, or where ``[cosmos] remote_cache_dir`` leads, on another one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from mmap import mmap
from pathlib import Path

from cosmos_venv import managed
from cosmos_venv.dbt.kept_files import KeptFiles, is_private
from cosmos_venv.remote.copies import RemoteError
from cosmos_venv.remote.folder import SUFFIX, RemoteFolder

logger = logging.getLogger(__name__)

_PATIENCE = 5.0  # it only saves time


@dataclass(kw_only=True)
class KeptListings:
    """What is kept of one project and selection.

    :param digest: of all that the answer depends on.
    :param max_age: seconds after which what hangs on packages that nothing pins does not count; None: there are none.
    :param remote: for other machines; there is nothing whose age counts.
    """

    digest: str
    files: KeptFiles
    max_age: float | None
    remote: RemoteFolder | None
    _is_out: bool = field(default=False, init=False)

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
    def _places(self) -> list[tuple[str, float | None]]:
        """Under what they may be kept, and for how long: whether packages were pinned shows when dbt has run."""
        pinned: tuple[str, float | None] = (self.digest, None)
        return [pinned] if self.max_age is None else [pinned, (self._unpinned, self.max_age)]

    @property
    def _unpinned(self) -> str:
        return f"{self.digest}-unpinned"

    def read_elsewhere(self) -> list[str] | None:
        """The lines that another machine has kept, which are kept here from now on."""
        if self.remote is None:
            return None
        try:
            content = self.remote.read(f"{self.digest}{SUFFIX}", seconds=_seconds())
        except RemoteError as error:
            self._warn(error)
            return None
        if content is None:
            return None
        lines = _unpacked(content)
        if lines is not None:
            self._keep(self.digest, content)
        return lines

    def write(self, lines: list[str], *, is_pinned: bool) -> None:
        """Keep them. What goes wrong is at most one warning.

        :param is_pinned: whether they count however old they are.
        """
        text = "\n".join(lines).encode(errors="surrogateescape")
        content = b"\n".join([_check(text), text])
        self._keep(self.digest if is_pinned else self._unpinned, content)
        if self.remote is None or not is_pinned or self._is_out:
            return
        try:
            self.remote.write(f"{self.digest}{SUFFIX}", content, seconds=_seconds())
        except RemoteError as error:
            self._warn(error)

    def _keep(self, key: str, content: bytes) -> None:
        self.files.write(key, content)
        folder = self.files.folder
        if folder.is_dir() and not is_private(folder):
            _warn_of_others(folder)

    def _warn(self, error: RemoteError) -> None:
        self._is_out = True
        logger.warning("[cosmos] remote_cache_dir %s is of no use now: %s.", self.remote, error)


@cache  # once in a process, which may parse hundreds of DAG files
def _warn_of_others(folder: Path) -> None:
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


def _seconds() -> float:
    return min(_PATIENCE, managed.seconds_for_a_parse() or _PATIENCE)


def _check(text: bytes | memoryview) -> bytes:
    return hashlib.sha256(text).hexdigest().encode()
