"""The files of a scenario: a dbt project, and what can happen to the CSV of a seed between two runs.

The project is made up, or is a copy of the author's own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, get_args

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.projects.node_properties import DataTests
from pytest_cosmos_venv.projects.profile import TARGET
from pytest_cosmos_venv.projects.project import DbtProject
from pytest_cosmos_venv.projects.projects import CosmosProject

Obstacle = Literal["dangling link", "directory", "fifo"]
"""The things that can stand in place of the file, so that not even root can read it."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHUNK = 1 << 20
NAME = "harbor"
MODEL = "staging"
PROJECT_FILE = "dbt_project.yml"
MANIFEST = "manifest.json"
_UNKNOWN = {"name": "none", "checksum": ""}
_NOT_COPIED = ("logs", ".git", ".venv", "__pycache__")


@dataclass(frozen=True, kw_only=True)
class SeedFile:
    """The CSV of one seed.

    :param path: the place where dbt looks for it.
    :param attic: an existing folder beside the project, in which the original is kept while it is away.
    """

    path: Path
    attic: Path

    def edit(self, csv: str | None = None) -> None:
        """Write other content.

        :param csv: the content; None: the content so far with one row more.
        """
        if csv is None:
            with self._opened("ab") as file:
                file.write(b"%d,edited\n" % file.tell())
        else:
            self.path.write_bytes(csv.encode("utf-8"))

    def edit_unnoticed(self) -> None:
        """Change the last letter or digit, and leave size and times as they were."""
        content, before = self._content(), self.path.stat()
        position = max((n for n, byte in enumerate(content) if chr(byte).isalnum()), default=None)
        if position is None:
            raise ToolkitMisuse(
                f"{self.path} has no letter or digit that could be changed: edit(…, 'id\\n1\\n') first."
            )
        other = b"x" if content[position : position + 1] != b"x" else b"y"
        self.path.write_bytes(content[:position] + other + content[position + 1 :])
        os.utime(self.path, ns=(before.st_atime_ns, before.st_mtime_ns))

    def touch(self) -> None:
        """Give the file a later time, and leave the content alone."""
        self._refuse_gone()
        later = self.path.stat().st_mtime_ns + 10**9
        os.utime(self.path, ns=(later, later))

    def delete(self) -> None:
        """Remove the file. ``restore`` brings it back."""
        self._refuse_gone()
        self._put_away()

    def restore(self) -> None:
        """Bring back what ``delete``, ``make_unreadable`` or ``replace_by_link`` took away, in a new file."""
        if not self._kept.exists():
            raise ToolkitMisuse(f"restore: {self.path.name} was neither deleted nor made unreadable before.")
        _remove(self.path)
        shutil.copyfile(self._kept, self.path)
        self._kept.unlink()

    def replace_line_endings(self, ending: str = "\r\n") -> None:
        """End each line in another way.

        :param ending: the new end of a line, in ASCII.
        """
        lines = self._content().replace(b"\r\n", b"\n")
        self.path.write_bytes(lines.replace(b"\n", ending.encode("ascii")))

    def add_byte_order_mark(self) -> None:
        """Put the mark of UTF-8 before the first character."""
        self.path.write_bytes(_BYTE_ORDER_MARK + self._content())

    def make_unreadable(self, by: Obstacle = "dangling link") -> None:
        """Put something in the file's place that cannot be read. ``restore`` undoes it.

        :param by: ``dangling link``, ``directory`` or ``fifo`` (nobody writes there: a process that opens it waits for
            ever).
        """
        makers: dict[Obstacle, Callable[[Path], None]] = {
            "dangling link": lambda path: path.symlink_to(self.attic / "gone.csv"),
            "directory": lambda path: path.mkdir(),
            "fifo": os.mkfifo,
        }
        self._refuse_gone()
        if by not in makers:
            raise ToolkitMisuse(f"make_unreadable(by={by!r}): give one of {', '.join(get_args(Obstacle))}.")
        self._put_away()
        makers[by](self.path)

    def replace_by_link(self) -> None:
        """Put a symbolic link in the file's place, to a file elsewhere with the same content."""
        self._refuse_gone()
        self._put_away()
        self.path.symlink_to(self._kept)

    def grow(self, size: int) -> None:
        """Make the file larger with zeros, which take no space on the disk, and are no CSV to a real dbt.

        :param size: the new size in bytes.
        """
        self._refuse_gone()
        if size <= self.path.stat().st_size:
            raise ToolkitMisuse(f"grow({size}): {self.path.name} has {self.path.stat().st_size} bytes; give more.")
        os.truncate(self.path, size)

    def change_last_byte(self) -> None:
        """Write another byte over the last one, and nothing else."""
        with self._opened("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)
            file.seek(-1, os.SEEK_END)
            file.write(b"x" if last != b"x" else b"y")

    def digest(self, algorithm: str = "sha256") -> str:
        """Return the hexadecimal digest of the file as it is now.

        :param algorithm: a name that ``hashlib`` knows.
        """
        import hashlib

        hashed = hashlib.new(algorithm, usedforsecurity=False)
        with self._opened("rb") as file:
            while chunk := file.read(_CHUNK):
                hashed.update(chunk)
        return hashed.hexdigest()

    @property
    def _kept(self) -> Path:
        return self.attic / self.path.name

    def _opened(self, mode: Literal["rb", "ab", "r+b"]) -> BinaryIO:
        self._refuse_gone()
        return self.path.open(mode)

    def _refuse_gone(self) -> None:
        if not self.path.is_file():
            raise ToolkitMisuse(f"{self.path.name} is not there any more: restore it first.")

    def _content(self) -> bytes:
        with self._opened("rb") as file:
            return bytes(file.read())

    def _put_away(self) -> None:
        if self.path.is_file() and not self.path.is_symlink():
            shutil.copyfile(self.path, self._kept)
        _remove(self.path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class SeedProject:
    """A dbt project on disk.

    :param path: the folder of the project.
    :param profile: name and target of its profile, and the file that both stand in.
    :param manifest: the path of its manifest; it may not exist.
    :param attic: an existing folder beside it, for originals that are away.
    :param files: name of a seed -> its CSV, in the order in which the author named them.
    """

    path: Path
    profile: tuple[str, str, Path]
    manifest: Path
    attic: Path
    files: dict[str, Path]

    @property
    def seeds(self) -> tuple[str, ...]:
        """The names of the seeds."""
        return tuple(self.files)

    def file(self, seed: str | None) -> SeedFile:
        """Return the file of a seed.

        :param seed: the name of the seed; None: the first one.
        """
        name = seed if seed is not None else self.seeds[0]
        if name not in self.files:
            raise ToolkitMisuse(f"seed={name!r}: the project has {', '.join(self.files)}.")
        return SeedFile(path=self.files[name], attic=self.attic)

    def set_manifest_checksum(self, checksum: str | None) -> None:
        """Write a checksum of every seed into the manifest.

        :param checksum: the checksum; None takes it out, as dbt does for files over 1 MiB.
        """
        document = json.loads(self.manifest.read_text(encoding="utf-8"))
        for node in document["nodes"].values():
            if node["resource_type"] == "seed":
                node["checksum"] = {"name": "sha256", "checksum": checksum} if checksum else dict(_UNKNOWN)
        self.manifest.write_text(json.dumps(document), encoding="utf-8")


def make_seed_project(folder: Path, seeds: Sequence[str], *, model: str | None, with_tests: bool) -> SeedProject:
    """Make a project of seeds.

    :param folder: an existing folder, for the project and its attic.
    :param seeds: the names of the seeds.
    :param model: the name of a model that reads all seeds; None: there is none.
    :param with_tests: whether seeds and model have a data test each.
    """
    project = CosmosProject(folder=folder)(NAME)
    tests: DataTests | None = {"id": ["not_null"]} if with_tests else None
    for name in seeds:
        project.seed(name, f"id,name\n1,{name}\n", tests=tests)
    # Cosmos requires the folder, even an empty one.
    (project.path / "models").mkdir(exist_ok=True)
    union = " union all ".join(f"select * from {{{{ ref('{name}') }}}}" for name in seeds)  # noqa: S608
    if model is not None:
        project.model(model, union, tests=tests)
    return use_project(project, folder, order=seeds)


def use_project(project: DbtProject, folder: Path, order: Sequence[str] = ()) -> SeedProject:
    """Return a project of ``cosmos_project`` as it is on the disk; its manifest is written now.

    :param project: the project.
    :param folder: an existing folder, for the attic and the manifest.
    :param order: names of seeds that come first.
    """
    profile = (project.profile.name, TARGET, project.profiles_yml)
    # Not in the project's target folder, where every dbt that runs there writes its own.
    return _with_seeds(project.path, profile, project.manifest(folder / MANIFEST), folder, order)


def copy_project(source: Path, folder: Path) -> SeedProject:
    """Copy the author's own project, so that the original is left alone.

    :param source: the folder of the project.
    :param folder: an existing folder, for the copy and the attic.
    :raises ToolkitMisuse: there is no dbt project, or no seed in it.
    """
    if not (source / PROJECT_FILE).is_file():
        raise ToolkitMisuse(
            f"project={str(source)!r}: there is no {PROJECT_FILE} in it; give the folder of a dbt project."
        )
    copy = folder / source.resolve().name
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(*_NOT_COPIED), symlinks=True)
    return _with_seeds(copy, ("", "", copy / "profiles.yml"), copy / "target" / MANIFEST, folder, ())


def _with_seeds(
    path: Path, profile: tuple[str, str, Path], manifest: Path, folder: Path, order: Sequence[str]
) -> SeedProject:
    found = {file.stem: file for file in sorted((path / "seeds").rglob("*.csv"))}
    if not found:
        raise ToolkitMisuse(f"{path}: there is no CSV file in its folder seeds; a scenario needs a seed.")
    attic = folder / "attic"
    attic.mkdir()
    return SeedProject(
        path=path,
        profile=profile,
        manifest=manifest,
        attic=attic,
        files={name: found[name] for name in (*order, *found)},
    )
