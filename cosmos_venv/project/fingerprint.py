"""Digests of the files of a project: whatever dbt reads of it counts, and nothing else.

A package may be the root of a repository, with an environment of thousands of files beside its models, and a change of
them changes no answer of dbt. A file is read once, and known by its size, times and numbers from then on.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path, PurePath

from cosmos_venv.dbt.project_files import ComputedName, EnvVars, env_vars_in, read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.file_cache import SETTLED_SECONDS, FileCache
from cosmos_venv.files.read_limits import (
    MEBIBYTE,
    Limit,
    UnfitFileError,
    read_file,
    walk,
)

# What dbt reads in its folders; anything else, a database that lies there for instance, may change as it likes.
_READ = (".sql", ".py", ".yml", ".yaml", ".md")
# And beside them: dbt_project.yml, packages.yml, selectors.yml and their like.
_READ_AT_THE_TOP = (".yml", ".yaml", ".dbtignore")
# dbt ls says only that these are there: no CSV is read while a DAG is parsed.
_NAMED = (".csv",)
_NEVER_READ = {".git", "__pycache__", "node_modules"}
_WRITTEN = {"logs", "target"}  # by dbt, beside dbt_project.yml

NOT_READ = frozenset(_NEVER_READ | _WRITTEN)
"""Folders of the project of which nothing counts."""

_LARGEST = Limit(most=1024 * MEBIBYTE)
_OF_AN_ENVIRONMENT = "pyvenv.cfg"
_OF_THE_USER = ".user.yml"  # which dbt writes beside profiles.yml the first time


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """The content of a project, as far as dbt reads it, as a digest.

    :param digest: differs where the project does: 64 hex digits.
    :param variables: the environment variables that the project asks for.
    """

    digest: str
    variables: EnvVars


@dataclass(frozen=True, kw_only=True)
class Tree:
    """A folder, and what of it counts.

    :param folder: of a dbt project or package, or one of which everything counts.
    :param environment: what ``env_var()`` in ``dbt_project.yml`` sees, which names the folders that dbt reads; None:
        dbt reads all of them.
    :param packages_folder: of installed packages that count too, below the project; empty: there is none.
    :param more: further folders of it that count.
    :param left_out: paths below it that do not count.
    """

    folder: Path
    environment: Mapping[str, str] | None = None
    packages_folder: str = ""
    more: Collection[str] = ()
    left_out: Collection[str] = ()

    def seeds(self) -> list[Path]:
        """The CSV files that count.

        :raises CosmosLoadDbtException: as ``fingerprint``.
        """
        return sorted(Path(file.path) for file in _files(self) if file.name.endswith(_NAMED))


def fingerprint(tree: Tree, *, known: FileCache | None = None) -> Fingerprint:
    """The fingerprint of a tree, by its content alone: it is the same for every checkout.

    :param tree: the tree.
    :param known: keeps fingerprints: files that look untouched are not read again; None: they are read.
    :raises CosmosLoadDbtException: when there are more files than anybody has written.
    """
    files = sorted(_files(tree), key=attrgetter("name"))
    # The times and numbers of files are good for this machine; the digest has nothing of them.
    look = hashlib.sha256(json.dumps([str(tree.folder), [file.look for file in files]]).encode()).hexdigest()
    is_settled = max((file.changed for file in files), default=0.0) < time.time() - SETTLED_SECONDS
    if known is not None and is_settled and (content := known.read(look)) is not None:
        with suppress(ValueError, TypeError):  # cut short: it is not there
            digest, names, computed = json.loads(content)
            variables = EnvVars(frozenset(names), tuple(ComputedName(*each) for each in computed))
            return Fingerprint(digest=digest, variables=variables)
    found = _of_content(files)
    if known is not None and is_settled:
        computed = [[each.file, each.line, each.is_noted] for each in found.variables.computed]
        known.write(look, json.dumps([found.digest, sorted(found.variables.names), computed]).encode())
    return found


@dataclass(frozen=True)
class _File:
    name: str
    path: str
    size: int
    times_ns: tuple[int, ...]
    number: int
    is_read: bool

    @property
    def changed(self) -> float:
        return max(self.times_ns, default=0) / 1e9

    @property
    def look(self) -> list[object]:
        return [self.name, self.size, self.times_ns, self.number]


def _of_content(files: list[_File]) -> Fingerprint:
    digest = hashlib.sha256()
    variables = []
    for file in files:
        content = b""
        if file.is_read:
            try:
                content = read_file(file.path, _LARGEST)
            except OSError as error:  # dangling, not ours to read, a named pipe: dbt will say so, if it looks there
                content = b"unreadable"
                if error.errno == errno.EFBIG:  # what it says is not known: it counts as changed when its times do
                    content = repr((file.size, file.times_ns)).encode()
            variables.append(env_vars_in(content, file.name))
        digest.update(f"{file.name}\0{len(content)}\0".encode(errors="surrogateescape"))
        digest.update(content)
    return Fingerprint(digest=digest.hexdigest(), variables=EnvVars.of_all(variables))


def _files(tree: Tree) -> list[_File]:
    try:
        found = list(_of_package(tree, tree.folder, ""))
        packages = tree.folder / tree.packages_folder
        if tree.packages_folder and packages.is_dir():
            # dbt deps makes links of local packages: each of them may be the root of a repository.
            for package in packages.iterdir():
                found += _of_package(tree, package, f"{tree.packages_folder}/{package.name}/")
    except UnfitFileError as error:
        raise CosmosLoadDbtException(
            f"{error.filename}, of a dbt project, is not read: {error.strerror}. Remove links to folders, or load a "
            "manifest."
        ) from error
    return found


def _of_package(tree: Tree, folder: Path, prefix: str) -> Iterator[_File]:
    roots = _roots(tree, folder, is_project=not prefix)
    if roots is None:
        yield from _below(tree, folder, ".", prefix, has_hidden=False)
        return
    if roots != ["."]:
        with suppress(OSError):
            for path in folder.iterdir():
                if path.name.endswith(_READ_AT_THE_TOP) and path.name != _OF_THE_USER:
                    yield _file(folder, path.name, prefix)
    for root in roots:
        yield from _below(tree, folder, root, prefix, has_hidden=True)


def _roots(tree: Tree, folder: Path, *, is_project: bool) -> list[str] | None:
    """The folders of a package that dbt reads, none within another; None where only dbt can tell.

    Those outside of it are trees of their own.
    """
    if tree.environment is None:
        return ["."]
    try:
        named = read_dbt_project(folder, environment=tree.environment).paths
    except CosmosLoadDbtException:
        return None
    if named is None:
        return None
    left_out = {os.path.normpath(each) for each in tree.left_out} if is_project else set()
    more = tree.more if is_project else ()
    paths = {PurePath(os.path.normpath(each)) for each in (*named, *more)}
    return sorted(
        str(path)
        for path in paths
        if path.parts[:1] != ("..",) and paths.isdisjoint(path.parents) and str(path) not in left_out
    )


def _below(tree: Tree, folder: Path, root: str, prefix: str, *, has_hidden: bool) -> Iterator[_File]:
    """The files below a folder that count.

    :param has_hidden: whether folders with a dot count, as they do in the folders that dbt reads.
    """
    for here, below, names in walk(folder / root):
        if _OF_AN_ENVIRONMENT in names:
            below.clear()
            continue
        inside = os.path.relpath(here, folder)
        at = "" if inside == "." else f"{inside}/"
        # A package may hold other projects, each with what dbt has written there.
        not_read = _NEVER_READ | {name for name in below if _is_of_dbt(here, name)} if at or prefix else NOT_READ
        below[:] = [
            name
            for name in below
            if name not in not_read and f"{prefix}{at}{name}" not in tree.left_out and (has_hidden or name[0] != ".")
        ]
        for name in names:
            if name.endswith((*_READ, *_NAMED)) and name != _OF_THE_USER:
                yield _file(folder, f"{at}{name}", prefix)


def _file(folder: Path, name: str, prefix: str) -> _File:
    path = f"{folder}/{name}"
    if name.endswith(_NAMED):
        return _File(f"{prefix}{name}", path, 0, (), 0, is_read=False)
    try:
        status = os.stat(path)  # noqa: PTH116 - thousands of them
    except OSError:
        return _File(f"{prefix}{name}", path, -1, (), 0, is_read=True)
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return _File(f"{prefix}{name}", path, status.st_size, times, status.st_ino, is_read=True)


def _is_of_dbt(folder: str, name: str) -> bool:
    """Whether dbt has written that folder, and not a user who calls a folder of models so."""
    marks = {"target": "manifest.json", "logs": "dbt.log"}
    return name in marks and os.path.exists(f"{folder}/{name}/{marks[name]}")  # noqa: PTH110 - thousands of them
