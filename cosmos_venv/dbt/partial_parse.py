"""dbt's own parse file. A copy is kept, so that the next dbt command finds the project already parsed.

dbt itself decides whether a ``partial_parse.msgpack`` fits (version, profile, variables, files), and parses anew what
does not fit. The key only separates files that would not fit each other. dbt does not check two things:

- The file names the folder in which it was made, and dbt-duckdb loads a seed from there. So the offered file names the
  folder of the command that will read it, whether the file was kept here or shipped with the project.
- dbt (1.10 to 1.12, ``load_source_file``) does not read a YAML file whose time is the time in the parse file. When dbt
  has read a changed YAML file, the parse file has the new content with the old time. Two folders of one project that
  take turns (versions of a bundle, checkouts of branches) would each run with the other's properties. So the offered
  file has no time for a YAML file whose content differs from the noted content: then dbt reads the YAML file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cosmos_venv.dbt.results import Artifacts
from cosmos_venv.files.file_cache import Elsewhere, FileCache
from cosmos_venv.files.own_files import is_private
from cosmos_venv.files.read_limits import ANY_SIZE, MEBIBYTE, Limit, decoded, read_file

PARTIAL_PARSE_FILE = "partial_parse.msgpack"
_LAYOUT = "partial-parse-v1"
_REFRESHED_SECONDS = 86_400.0
_LARGEST = Limit(most=1024 * MEBIBYTE)  # 5,000 models make some 50
_OUR_FOLDER = re.compile(r"-[0-9a-f]{16}(?:/|$)")


class _Path(msgspec.Struct):
    project_root: str
    searched_path: str = ""
    relative_path: str = ""
    modification_time: float = 0.0


class _Checksum(msgspec.Struct):
    name: str = ""
    checksum: str = ""


class _File(msgspec.Struct):
    project_name: str
    path: _Path | None = None
    parse_file_type: str | None = None
    checksum: _Checksum | None = None


class _Metadata(msgspec.Struct):
    project_name: str


class _Head(msgspec.Struct):
    """The part of a parse file that says where the project stood, and which of its files were read."""

    metadata: _Metadata
    files: dict[str, _File]


@dataclass(frozen=True, kw_only=True)
class ParsedProject:
    """The parse file of one project, for one dbt, profile and set of variables.

    :param project_dir: the project; a parse file in its own ``target/`` is offered too, as Cosmos's documentation says
        ("Cosmos-managed virtual environment execution mode").
    :param kept: the copy that is kept between commands; None: nothing is kept.
    :param elsewhere: copies of other machines; None: there are none.
    """

    project_dir: Path
    kept: Path | None = None
    elsewhere: Elsewhere | None = None

    def offer(self, place: Path) -> None:
        """Put the newest parse file there is into the target folder of ``place``. Without any, dbt parses everything.

        Nothing here is worth failing for: it only saves time.

        :param place: the folder in which dbt will run.
        """
        if self.kept is not None:
            self._files(self.kept).fetch(self.kept.stem)
        try:
            written, newest = max((source.stat().st_mtime_ns, source) for source in self._sources())
            found = read_file(newest, _LARGEST)
            head = decoded(found, msgspec.msgpack.Decoder(_Head).decode)
            root = root_of(head)
            content = moved(found, root, place)
            if self.kept is not None and not _OUR_FOLDER.search(root):
                # The next command moves it in a tenth of the time.
                self._files(self.kept).write(self.kept.stem, content)
            if changed := _changed_behind_their_time(head, root, place):
                content = _without_times(content, changed)
            (place / "target").mkdir(exist_ok=True)
            offered = place / "target" / PARTIAL_PARSE_FILE
            offered.write_bytes(content)
            os.utime(offered, ns=(written, written))  # so that a file which dbt writes has another time
            # With other machines, the time of the kept file says when to share it again: it must not change here.
            if newest == self.kept and self.elsewhere is None and _is_old(written / 1e9):
                os.utime(newest)
        except (OSError, ValueError):  # none there (max of nothing), gone meanwhile, or in no shape that we know
            return

    def keep(self, artifacts: Artifacts) -> None:
        """Keep the parse file that dbt has written, atomically: other commands may read or write the copy right now.

        The file of a failed command counts too: dbt writes it as soon as it has parsed everything. A truncated file is
        not kept, nor is the file that was only offered.

        :param artifacts: the artifacts that the command has left.
        """
        if self.kept is None:
            return
        with suppress(OSError):  # as above
            content = artifacts.content(PARTIAL_PARSE_FILE)
            if content is not None and _is_whole(content):
                is_to_be_shared = not self.kept.exists() or _is_old(self.kept.stat().st_mtime)
                self._files(self.kept).write(self.kept.stem, content)
                if is_to_be_shared:
                    self._files(self.kept).share(self.kept.stem)

    def _files(self, kept: Path) -> FileCache:
        return FileCache(folder=kept.parent, suffix=kept.suffix, elsewhere=self.elsewhere)

    def _sources(self) -> Iterator[Path]:
        own = self.project_dir / "target" / PARTIAL_PARSE_FILE
        if own.is_file():
            yield own
        if self.kept is not None and self.kept.is_file() and is_private(self.kept.parent):
            yield self.kept


def _is_old(written: float) -> bool:
    return time.time() - written > _REFRESHED_SECONDS


def _is_whole(content: bytes) -> bool:
    try:
        decoded(content, msgspec.msgpack.Decoder(msgspec.Raw).decode)  # checks all of it, and builds no objects
    except msgspec.DecodeError:
        return False
    return True


def moved(content: bytes, root: str, place: Path) -> bytes:
    """A parse file in which the project's folder is replaced by ``place``.

    :param content: of the parse file.
    :param root: the project's folder in ``content``.
    :param place: the folder in which dbt will run.
    :raises ValueError: when it is no parse file as dbt writes it.
    """
    if _OUR_FOLDER.search(root) and len(os.fsencode(root)) == len(os.fsencode(place)):
        # The old path is unique, and as long as the new path: nothing has to be decoded.
        return content.replace(os.fsencode(root), os.fsencode(place))
    if not root:
        raise ValueError("no parse file: it does not say where the project stands")
    parsed = decoded(content, msgspec.msgpack.decode)
    try:
        for home in (file["path"] for file in parsed["files"].values() if file.get("path")):
            home["project_root"] = _moved(home["project_root"], root, place)
        for node in parsed["nodes"].values():
            if node.get("root_path"):
                node["root_path"] = _moved(node["root_path"], root, place)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no parse file: {error!r}") from error
    return msgspec.msgpack.encode(parsed)


def _changed_behind_their_time(head: _Head, root: str, place: Path) -> list[str]:
    """The YAML files that have the noted time, but not the noted content.

    :param head: of a parse file in which the project stands in ``root``; here it stands in ``place``.
    """
    changed = []
    for name, file in head.files.items():
        if file.parse_file_type != "schema" or file.path is None:
            continue
        path = Path(_moved(file.path.project_root, root, place), file.path.searched_path, file.path.relative_path)
        with suppress(FileNotFoundError):  # dbt itself finds out which files exist
            if path.stat().st_mtime == file.path.modification_time and _checksum(path) != file.checksum:
                changed.append(name)
    return changed


def _checksum(file: Path) -> _Checksum | None:
    """The checksum that dbt notes of a YAML file; None where dbt could not read it."""
    try:
        text = read_file(file, ANY_SIZE).decode().strip()
    except UnicodeDecodeError:
        return None
    return _Checksum(name="sha256", checksum=hashlib.sha256(text.encode()).hexdigest())


def _without_times(content: bytes, names: Sequence[str]) -> bytes:
    """The parse file with no time noted for these of its files."""
    parsed = decoded(content, msgspec.msgpack.decode)
    for name in names:
        parsed["files"][name]["path"]["modification_time"] = 0.0
    return msgspec.msgpack.encode(parsed)


def root_of(head: _Head) -> str:
    """The folder in which the project stands in a parse file; empty where it does not say.

    :param head: of the parse file.
    """
    of_project = (file for file in head.files.values() if file.project_name == head.metadata.project_name)
    return next((file.path.project_root for file in of_project if file.path), "")


def _moved(path: str, old: str, place: Path) -> str:
    is_within = path == old or path.startswith(f"{old}{os.sep}")
    return f"{place}{path[len(old) :]}" if is_within else path


def kept_file(cache_dir: Path, key: Sequence[str]) -> Path:
    """The path at which the copy for this key is kept.

    :param cache_dir: the cache folder.
    :param key: texts that must all be equal for two commands to share a copy. The texts are not written down.
    """
    digest = hashlib.sha256(json.dumps(list(key)).encode()).hexdigest()
    return cache_dir / _LAYOUT / f"{digest}.msgpack"
