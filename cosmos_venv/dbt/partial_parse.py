"""Where does the next dbt command find the project already parsed? In a copy that is kept of dbt's own parse file.

dbt itself decides whether a ``partial_parse.msgpack`` fits (version, profile, variables, files) and parses anew what
does not; the key only keeps those apart that would not fit. One thing dbt does not look at: the file names the folder
in which it was made, and dbt-duckdb loads a seed from there. So the copy names no folder, and what is offered names the
folder of the command that will read it.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PARTIAL_PARSE_FILE = "partial_parse.msgpack"
# dbt's own reader of the parse file wants the manifest beside it when a custom parser made it.
_MANIFEST_FILE = "manifest.json"
_LAYOUT = "partial-parse-v1"
_RANDOM_LETTERS = 8  # of a name that tempfile makes


@dataclass(frozen=True, kw_only=True)
class ParsedProject:
    """The parse file of one project, for one dbt, profile and set of variables.

    :param project_dir: the project; its own ``target/`` is offered as it is (seed document 001).
    :param kept: the copy that is kept between commands; None: nothing is kept.
    """

    project_dir: Path
    kept: Path | None = None

    def offer(self, target: Path) -> None:
        """Put the newest parse file there is into ``target``. Without any, dbt parses everything."""
        sources = [self.project_dir / "target" / PARTIAL_PARSE_FILE]
        if self.kept is not None and _is_private(self.kept.parent):
            sources.append(self.kept)
        found = [(source.stat().st_mtime_ns, source) for source in sources if source.is_file()]
        if not found:
            return
        _, newest = max(found)
        target.mkdir(exist_ok=True)
        if newest == self.kept:
            _copy(newest, target / PARTIAL_PARSE_FILE, replacing=_no_place(target.parent), by=_name(target.parent))
        else:
            _copy(newest, target / PARTIAL_PARSE_FILE)
            _copy(newest.with_name(_MANIFEST_FILE), target / _MANIFEST_FILE)

    def keep(self, target: Path) -> None:
        """Keep what dbt has left in ``target``, in one step: other commands read or write the same copy now."""
        made = target / PARTIAL_PARSE_FILE
        if self.kept is None or not made.is_file():
            return
        _make_private(self.kept.parent)
        if not _is_private(self.kept.parent):
            return
        apart = self.kept.with_name(f".{self.kept.name}.{uuid.uuid4().hex}")
        if _copy(made, apart, replacing=_name(target.parent), by=_no_place(target.parent)):
            apart.replace(self.kept)


def kept_file(cache_dir: Path, key: Sequence[str]) -> Path:
    """Where the copy for this key is kept.

    :param key: texts that must all be equal for two commands to share a copy. None of them is written down.
    """
    digest = hashlib.sha256(json.dumps(list(key)).encode()).hexdigest()
    return cache_dir / _LAYOUT / f"{digest}.msgpack"


def default_cache_dir(temporary: str) -> Path:
    """The folder of this user below the machine's temporary folder."""
    return Path(temporary) / f"cosmos-venv-{os.getuid()}"


def _make_private(folder: Path) -> None:
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        pass  # then it is not private either, and nothing is kept


def _is_private(folder: Path) -> bool:
    """Whether the folder is there and nobody else can put a file into it: what is read there decides which SQL runs."""
    try:
        found = [path.lstat() for path in (folder.parent, folder)]
    except OSError:
        return False
    return all(
        stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022 for status in found
    )


def _name(place: Path) -> bytes:
    return os.fsencode(place)


def _no_place(place: Path) -> bytes:
    """A text as long as the path of the workspace, so that one can stand for the other in a binary file: the path, its
    random part replaced by what ``tempfile`` never makes."""
    return os.fsencode(place.with_name(place.name[:-_RANDOM_LETTERS] + "-" * _RANDOM_LETTERS))


def _copy(source: Path, target: Path, *, replacing: bytes = b"", by: bytes = b"") -> bool:
    """Whether the whole file was copied. It only saves time, so an error is no reason to fail; a half is removed."""
    try:
        content = source.read_bytes()
        target.write_bytes(content.replace(replacing, by) if replacing else content)
    except OSError:
        target.unlink(missing_ok=True)
        return False
    return True
