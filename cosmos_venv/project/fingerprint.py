"""``LsQuestion``, which is put to ``dbt ls``, and fingerprints of the files that its answer depends on.

Only the files that dbt reads of a project count.
A package may be the root of a repository, with a virtual environment of thousands of files beside its models. A change
of these files changes no answer of dbt. A file is read once; after that its size, times and inode number identify it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from operator import attrgetter
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import msgspec

from cosmos_venv.dbt.project_files import (
    PACKAGE_FILES,
    DbtProjectFile,
    EnvVars,
    digest_of_values,
    env_vars_in,
    local_package,
    read_dbt_project,
    read_package_files,
)
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.files.file_cache import SETTLED_SECONDS, FileCache, digest_of_file
from cosmos_venv.files.read_limits import read_file, value_of, walk
from cosmos_venv.managed import caches
from cosmos_venv.version import __version__

if TYPE_CHECKING:
    from cosmos_venv.dbt.packages import ProjectPackages
    from cosmos_venv.dbt.partial_parse import ParsedProject
    from cosmos_venv.environments.store import Environment

# Files that dbt reads in its folders. Any other file there, such as a database, may change.
_READ = (".sql", ".py", ".yml", ".yaml", ".md")
# Files that dbt reads in the root folder: dbt_project.yml, packages.yml, selectors.yml and the like.
_READ_AT_THE_TOP = (".yml", ".yaml", ".dbtignore")
# Only the names of these files count: dbt ls does not read a CSV file.
_NAMED = (".csv",)
_NEVER_READ = {".git", "__pycache__", "node_modules"}

_OF_AN_ENVIRONMENT = "pyvenv.cfg"
_OF_THE_USER = ".user.yml"  # which dbt writes beside profiles.yml the first time

_PROFILE = "profiles.yml"
# If these files compute the name of a variable, that does not count here. ``basis`` looks at the text of the profile in
# use, and at the files of packages, by itself.
_APART = (_PROFILE, *PACKAGE_FILES)
_SHOWN_DIGITS = 32  # digits of a project hash; in Airflow another hash makes another version of the DAG

logger = logging.getLogger(__name__)

# The variables that name the folder of another run, with which dbt compares.
_STATE = ("DBT_ENGINE_STATE", "DBT_STATE", "DBT_ENGINE_DEFER_STATE", "DBT_DEFER_STATE")


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
    """A folder, and which of its files count.

    :param folder: of a dbt project or package, or a folder in which everything counts.
    :param environment: variables for ``env_var()`` in ``dbt_project.yml``, which names the folders that dbt reads.
        None: everything in the folder counts.
    :param packages_folder: folder of installed packages that count too, relative to the project; empty: there is none.
    :param excluded: shell patterns of files and folders that do not count, by name or by path below the folder.
    """

    folder: Path
    environment: Mapping[str, str] | None = None
    packages_folder: str = ""
    excluded: Sequence[str] = ()

    def seeds(self) -> list[Path]:
        """The CSV files that count."""
        return sorted(Path(file.path) for file in _files(self) if file.name.endswith(_NAMED))


def fingerprint(tree: Tree, *, known: FileCache | None = None) -> Fingerprint:
    """The fingerprint of a tree, by its content alone: it is the same for every checkout.

    :param tree: the tree.
    :param known: keeps fingerprints: files that look untouched are not read again; None: they are read.
    """
    files = sorted(_files(tree), key=attrgetter("name"))
    # Times and inode numbers differ between machines: they are in the key of the cache, not in the digest.
    look = hashlib.sha256(json.dumps([str(tree.folder), [file.look for file in files]]).encode()).hexdigest()
    is_settled = max((file.changed for file in files), default=0.0) < time.time() - SETTLED_SECONDS
    kept = known.read(look) if known is not None and is_settled else None
    if (found := value_of(kept, Fingerprint)) is not None:
        return found
    found = _of_content(files)
    if known is not None and is_settled:
        known.write(look, msgspec.json.encode(found, order="deterministic"))
    return found


@dataclass(frozen=True, kw_only=True)
class DbtInstallation:
    """A dbt that can be run now.

    :param executable: its path, or a command that is looked up on the PATH.
    :param keep_open: descriptors of the lease of its environment.
    :param identity: differs where the dbt may be another one.
    :param virtualenv_dir: where its environment is kept; None for a dbt that is not ours.
    :param environment: its environment; None for a dbt that is not ours, and in any process but the one that has opened
        the environment.
    """

    executable: str
    keep_open: tuple[int, ...] = ()
    identity: str
    virtualenv_dir: Path | None = None
    environment: Environment | None = None

    @property
    def is_managed(self) -> bool:
        """Whether this dbt is in a managed environment."""
        return self.virtualenv_dir is not None

    @property
    def is_native(self) -> bool:
        """Whether it is dbt 2, which keeps no parse file."""
        from cosmos_venv.dbt.native.program import is_native  # a manifest needs no dbt

        recorded = "" if self.environment is None else self.environment.engine
        return is_native(shutil.which(self.executable) or self.executable, recorded=recorded)

    @property
    def which(self) -> list[object]:
        """The facts that its answers depend on. A managed dbt is the same on every machine, wherever it stands."""
        from cosmos_venv.dbt.installation import packages_beside  # a manifest needs no dbt

        return [self.identity, packages_beside(self.executable) if self.is_managed else self.executable]


@dataclass(frozen=True, kw_only=True)
class Basis:
    """The facts that an answer depends on, as far as they are known before dbt has run.

    :param digest: differs where one of these facts differs: 64 hex digits.
    :param names: the environment variables whose values count in it.
    :param unknown: why some of these facts cannot be known, in words; empty where all are known.
    """

    digest: str
    names: frozenset[str]
    unknown: str = ""


@dataclass(frozen=True, kw_only=True)
class LsQuestion:
    """One question to ``dbt ls``: all that its answer depends on.

    :param project_dir: absolute folder of the project.
    :param dbt: the dbt that is asked.
    :param profile: the text of the profile. It holds no secret of a Connection, but calls of ``env_var()``.
    :param profiles_yml: the file of the profile, which is there until the block of ``open_question`` ends.
    :param profile_flags: the arguments that tell dbt profile and target.
    :param env: environment variables for dbt.
    :param secrets: environment variables of the profile. They do not change the answer: with another password dbt
        lists the same nodes.
    :param given: names of the variables in ``env`` that the user has given. They count in any case.
    :param folders: names and values of the variables that say where dbt writes.
    :param arguments: the arguments of ``dbt ls``, without folders, profile and target.
    :param is_selection: whether the answer consists of the lines of a selection; else it is the manifest.
    :param variables: the value of ``--vars``; None: there is none.
    :param has_deps: whether ``dbt deps`` installs packages first.
    :param airflow_variables: names and values of Airflow's Variables that count.
    :param packages: the installed packages that are kept for the project; None until dbt is to run.
    :param parsed: the parse file to offer dbt; None: dbt parses everything.
    """

    project_dir: Path
    dbt: DbtInstallation
    profile: str
    profiles_yml: Path
    profile_flags: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    secrets: Mapping[str, str] = field(repr=False)
    given: tuple[str, ...]
    folders: Mapping[str, str]
    arguments: tuple[str, ...]
    is_selection: bool
    variables: str | None
    has_deps: bool
    airflow_variables: tuple[tuple[str, str | None], ...]
    packages: ProjectPackages | None = field(default=None, repr=False)
    parsed: ParsedProject | None = None

    def basis(self, seen: dict[Any, Any] | None = None) -> Basis:
        """The basis of an answer that dbt would give now.

        :param seen: the fingerprints of this import of a DAG file. New ones are added, so that all groups of the file
            share them. None: all files are looked at again.
        :raises CosmosLoadDbtException: as ``trees_of``.
        """
        packages = read_package_files(self.project_dir)
        trees = trees_of(self.project_dir, self.env, has_deps=self.has_deps)
        found = _fingerprints(trees, known=caches.kept_fingerprints(), seen=seen)
        of_profile = env_vars_in(self.profile.encode(), _PROFILE)
        asked = EnvVars.of_all([of_profile, *(one.variables for one in found)])
        names = frozenset({*self.given, *asked.names, *(name for name in self.env if name.startswith("DBT_"))})
        matters = [
            __version__,  # the answer has what this release reads of a manifest
            self.dbt.which,
            [one.digest for one in found],
            self.profile,
            self.profile_flags,
            self.arguments,
            self.has_deps,
            digest_of_values(self.env, names),
            self.airflow_variables,
            self._state(trees),
        ]
        computed = [*of_profile.computed]
        for tree, one in zip(trees, found, strict=True):
            others = (each for each in one.variables.computed if each.partition(", line ")[0] not in _APART)
            computed += [f"{tree.folder}/{each}" for each in others]
        return Basis(
            digest=hashlib.sha256(json.dumps(matters).encode()).hexdigest(),
            names=names,
            unknown=(packages.why_unknown if self.has_deps else "")
            or next((f"{each}, computes the name of an environment variable" for each in computed), ""),
        )

    def _state(self, trees: Sequence[Tree]) -> list[str]:
        """Digests of the files that the methods ``state:`` and ``result:`` compare with.

        A variable names the folder of the other run. dbt then also compares the content of seeds and the last
        ``sources.json``. Neither counts without such a variable.
        """
        from cosmos_venv.dbt.state import NAMES  # few projects are compared

        folders = [self.project_dir / self.env[name] for name in _STATE if self.env.get(name)]
        if not folders:
            return []
        files = [folder / name for folder in folders for name in NAMES]
        files.append(self.project_dir / (self.env.get("DBT_TARGET_PATH") or "target") / "sources.json")
        files += sorted(seed for tree in trees for seed in tree.seeds())
        known = caches.kept_fingerprints()
        return [digest_of_file(file, known=known) if file.is_file() else "" for file in files]


def trees_of(
    project_dir: Path, environment: Mapping[str, str], *, has_deps: bool, excluded: Sequence[str] = ()
) -> list[Tree]:
    """The folders of a project: its own folder, its local packages, and folders outside that ``dbt_project.yml`` names.

    :param project_dir: absolute folder of the project.
    :param environment: environment variables for dbt.
    :param has_deps: whether ``dbt deps`` installs packages first. Then only local packages are trees: the others follow
        from the project's files.
    :param excluded: as for ``Tree``.
    :raises CosmosLoadDbtException: when ``dbt_project.yml`` or a file of packages cannot be read.
    """
    project_file = read_dbt_project(project_dir, environment=environment)
    installed = "" if has_deps else project_file.packages_folder
    trees = [Tree(folder=project_dir, environment=environment, packages_folder=installed, excluded=excluded)]
    for path in dict.fromkeys((*read_package_files(project_dir).local, *project_file.paths_outside)):
        folder = local_package(project_dir, path)
        named = None if path in project_file.paths_outside else environment
        trees.append(Tree(folder=folder, environment=named, excluded=excluded))
    return trees


def project_hash(
    project_dir: Path,
    environment: Mapping[str, str],
    *,
    has_deps: bool = True,
    excluded: Sequence[str] = (),
    known: FileCache | None = None,
    seen: dict[Any, Any] | None = None,
) -> str | None:
    """Return a text that differs where dbt would parse another project; it is the same for every checkout and host.

    The content of SQL, Python, YAML and Markdown files counts, and the names of CSV files. Folders in which dbt writes
    do not count, and packages that dbt deps installs follow from the project's own files. Without dbt deps, what lies
    in the folder of the packages counts.

    :param project_dir: absolute folder of the project.
    :param environment: environment variables for dbt, which may name the folders that it reads.
    :param has_deps: whether ``dbt deps`` installs packages before dbt parses.
    :param excluded: patterns of files and folders that do not count, by name or by path below the project, as the shell
        has them.
    :param known: keeps fingerprints: files that look untouched are not read again; None: they are read.
    :param seen: as for ``LsQuestion.basis``.
    :returns: 32 hex digits; None where the folder holds no project, or a project that cannot be read. A warning in the
        log says why.
    """
    if not (project_dir / "dbt_project.yml").is_file():  # a manifest can be loaded on a machine without the project
        return None
    try:
        trees = trees_of(project_dir, environment, has_deps=has_deps, excluded=excluded)
        digests = [each.digest for each in _fingerprints(trees, known=known, seen=seen)]
    except (CosmosLoadDbtException, OSError, ValueError) as error:  # ValueError: of a path with a zero byte
        logger.warning("The DAG has no hash of its dbt project: %s", error)
        return None
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:_SHOWN_DIGITS]


def _fingerprints(trees: Iterable[Tree], *, known: FileCache | None, seen: dict[Any, Any] | None) -> list[Fingerprint]:
    """The fingerprint of each tree, worked out once for all that share ``seen``."""
    seen = {} if seen is None else seen
    found = []
    for tree in trees:
        key = fingerprint, repr(tree)
        if key not in seen:
            seen[key] = fingerprint(tree, known=known)
        found.append(seen[key])
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
                content = read_file(file.path)
            except OSError:  # a dangling link, no permission, too large: dbt reports it if it reads the file
                content = repr((file.size, file.times_ns)).encode()
            variables.append(env_vars_in(content, file.name))
        digest.update(f"{file.name}\0{len(content)}\0".encode(errors="surrogateescape"))
        digest.update(content)
    return Fingerprint(digest=digest.hexdigest(), variables=EnvVars.of_all(variables))


def _files(tree: Tree) -> list[_File]:
    found = list(_of_package(tree, tree.folder, ""))
    packages = tree.folder / tree.packages_folder
    if tree.packages_folder and packages.is_dir():
        # dbt deps makes links of local packages: each of them may be the root of a repository.
        for package in packages.iterdir():
            found += _of_package(tree, package, f"{tree.packages_folder}/{package.name}/")
    return [file for file in found if not _is_excluded(file.name, tree.excluded)] if tree.excluded else found


def _is_excluded(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern matches the name or path of a file or of a folder above it. Paths begin below the project."""
    path = PurePath(name)
    named = [(each.name, str(each)) for each in (path, *path.parents) if each.name]
    return any(fnmatchcase(text, pattern) for texts in named for text in texts for pattern in patterns)


def _of_package(tree: Tree, folder: Path, prefix: str) -> Iterator[_File]:
    """The files of a package that count: the files in the folders that dbt reads.

    If only dbt knows which folders it reads, the files in all folders count.

    Folders outside of the package are trees of their own.
    """
    project_file = DbtProjectFile(paths=None)
    if tree.environment is not None:
        with suppress(CosmosLoadDbtException):
            project_file = read_dbt_project(folder, environment=tree.environment)
    paths = {PurePath(os.path.normpath(each)) for each in project_file.paths or (".",)}
    if PurePath() in paths:
        # Inside the folders that dbt reads, dbt reads a folder named "target" or "logs" too.
        written = [] if tree.environment is None else project_file.written_folders
        yield from _below(folder, ".", prefix, {*map(os.path.normpath, written)})
        return
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name.endswith(_READ_AT_THE_TOP) and path.name != _OF_THE_USER:
                yield _file(folder, path.name, prefix)
    for root in sorted(paths):
        if root.parts[:1] != ("..",) and paths.isdisjoint(root.parents):
            yield from _below(folder, str(root), prefix, ())


def _below(folder: Path, root: str, prefix: str, written: Collection[str]) -> Iterator[_File]:
    """The files below a folder that count. The folders that dbt writes to are left out."""
    for here, below, names in walk(folder / root):
        if _OF_AN_ENVIRONMENT in names:
            below.clear()
            continue
        inside = os.path.relpath(here, folder)
        at = "" if inside == "." else f"{inside}/"
        below[:] = [name for name in below if name not in _NEVER_READ and f"{at}{name}" not in written]
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
