"""The folder in which dbt runs, made of links to the project, and the folders to which one dbt command writes.

The project is never written to. A flag or a variable says where dbt writes its artifacts and its log; without both, dbt
writes to the workspace.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath

from cosmos_venv.dbt.partial_parse import PARTIAL_PARSE_FILE, ParsedProject
from cosmos_venv.dbt.project_files import LOCK_FILE, DbtProjectFile, outside, read_dbt_project, read_package_files
from cosmos_venv.dbt.results import Artifacts, stamps_of
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.files.own_files import naming
from cosmos_venv.files.read_limits import ANY_SIZE, read_file, refuse_unfit_file
from cosmos_venv.processes import scratch
from cosmos_venv.processes.scratch import scratch_folder

_TARGET, _LOGS = "TARGET_PATH", "LOG_PATH"
_NEW_PREFIX, _PREFIX = "DBT_ENGINE_", "DBT_"
FOLDER_VARIABLES = tuple(f"{prefix}{name}" for name in (_TARGET, _LOGS) for prefix in (_NEW_PREFIX, _PREFIX))
"""The environment variables by which dbt is told where to write; dbt 1.11 knows the longer ones, and prefers them."""

# dbt writes the first three; profiles.yml would win over the profile that we write.
_NOT_LINKED = ("logs", "target", LOCK_FILE, "profiles.yml")


def named_folders(env: Mapping[str, str], given: Mapping[str, object]) -> dict[str, str]:
    """The folders that the user wants dbt to write to. Variables of the worker alone do not count: with them all
    commands of the worker would write to one folder.

    :param env: the variables for dbt, the worker's own among them.
    :param given: the variables that the user has set for dbt.
    :returns: the variables that name folders.
    """
    named = {name: env[name] for name in FOLDER_VARIABLES if name in env}
    return {name: value for name, value in named.items() if name in given or os.environ.get(name) != value}


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The folders to which one dbt command writes: the user's folders, else folders of the workspace.

    :param place: the workspace.
    :param target: of the artifacts.
    :param logs: of ``dbt.log``.
    """

    place: Path
    target: Path
    logs: Path

    @classmethod
    def of(cls, place: Path, env: Mapping[str, str], arguments: Sequence[str] = ()) -> Outputs:
        """The folders as dbt decides them: a flag wins over a variable, a relative path counts from ``place``.

        :param place: the workspace in which the command runs.
        :param env: its environment variables.
        :param arguments: its command line.
        """
        target = _flag(arguments, "--target-path") or _variable(env, _TARGET) or "target"
        logs = _flag(arguments, "--log-path") or _variable(env, _LOGS) or "logs"
        return cls(place=place, target=place / target, logs=place / logs)

    def variables(self, env: Mapping[str, str]) -> dict[str, str]:
        """The variables that make dbt write to these folders, whatever dbt_project.yml says.

        Its log file is in JSON, unless ``env`` says otherwise, so that errors can be told from the rest.

        :param env: the variables for dbt.
        :returns: all variables for dbt.
        """
        named = {f"{_PREFIX}{_TARGET}": str(self.target), f"{_PREFIX}{_LOGS}": str(self.logs)}
        others = {name: value for name, value in env.items() if name not in FOLDER_VARIABLES}
        return {"DBT_LOG_FORMAT_FILE": "json", **self._parse_variables(), **others, **named}

    def _parse_variables(self) -> dict[str, str]:
        """Variables by which a dbt with another target folder reads the parse file of the workspace, or parses anew.

        Without them it would read the parse file that an earlier run has left in the target folder. That file names the
        workspace of the earlier run, which is gone.
        """
        offered = self.place / "target" / PARTIAL_PARSE_FILE
        if self.target == offered.parent:
            return {}
        return {"DBT_PARTIAL_PARSE_FILE_PATH": str(offered)} if offered.exists() else {"DBT_PARTIAL_PARSE": "False"}

    def artifacts(self) -> Artifacts:
        """The artifacts that a command which begins now will leave."""
        log_file = self.logs / "dbt.log"
        return Artifacts(
            target=self.target,
            log_file=log_file,
            log_begins_at=log_file.stat().st_size if log_file.exists() else 0,
            before=stamps_of(self.target),
            are_kept=self.place not in self.target.parents,
        )


def downloading_in_place(place: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The environment variables for ``dbt deps``: its downloads are removed with ``place``, even when it is killed.

    :param place: the workspace.
    :param env: the variables for dbt.
    """
    downloads = place / "target" / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    return {**env, "TMPDIR": str(downloads)}


def _variable(env: Mapping[str, str], name: str) -> str | None:
    return env.get(f"{_NEW_PREFIX}{name}") or env.get(f"{_PREFIX}{name}")


def _flag(arguments: Sequence[str], flag: str) -> str | None:
    """The last value of a flag, given as a word of its own or after an equals sign."""
    value = None
    for number, word in enumerate(arguments):
        if word == flag:
            value = arguments[number + 1] if number + 1 < len(arguments) else value
        elif word.startswith(f"{flag}="):
            value = word.partition("=")[2]
    return value


@contextmanager
def workspace(
    project_dir: Path,
    *,
    install_deps: bool,
    copies_packages: bool = False,
    manifest: Path | None = None,
    parsed: ParsedProject | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Path]:
    """Make a folder that stands for the project in one invocation, and remove it afterwards.

    :param project_dir: the folder of the dbt project.
    :param install_deps: whether ``dbt deps`` will run. Then dbt makes the packages folder, which is no link.
    :param copies_packages: whether the packages folder is copied and not linked, where ``dbt deps`` does not run. Local
        packages stay links.
    :param manifest: a file that dbt finds as ``target/manifest.json``.
    :param parsed: the parse file to offer dbt; None: dbt parses everything.
    :param environment: what ``env_var()`` in ``dbt_project.yml`` sees; None: this process's environment.
    :raises CosmosValueError: when ``project_dir`` is no dbt project, or the manifest is not there.
    :raises CosmosLoadDbtException: when its dbt_project.yml cannot be read.
    """
    require_project(project_dir)
    left_out = {PurePath(name) for name in _NOT_LINKED}
    # Most projects have no ".." in the file, and most commands neither install nor copy packages: no YAML is needed.
    is_simple = not (install_deps or copies_packages) and b".." not in read_file(project_dir / "dbt_project.yml")
    project_file = DbtProjectFile() if is_simple else read_dbt_project(project_dir, environment=environment)
    beside = project_file.paths_outside
    packages_folder = os.path.normpath(project_file.packages_folder)
    if install_deps or copies_packages:
        left_out.add(PurePath(packages_folder))
    if install_deps:
        beside = (*beside, *read_package_files(project_dir).local, packages_folder)
    neighbours = outside(beside)
    with scratch_folder("cosmos-venv-run-") as folder:
        with naming(folder):  # when the disk is full, an error names no file, or the source of the copy
            place = _place(folder, project_dir, neighbours)
            _link(project_dir, place, PurePath(), left_out)
            _link_neighbours(place, project_dir, neighbours, left_out)
            if copies_packages and not install_deps and (project_dir / packages_folder).is_dir():
                _copy_packages(project_dir / packages_folder, place / packages_folder)
            if (install_deps or copies_packages) and (lock := project_dir / LOCK_FILE).is_file():
                shutil.copy(lock, place)  # a copy: dbt deps writes it
            if manifest is not None:
                _copy_manifest(manifest, place / "target")
            if parsed is not None:
                parsed.offer(place)
        yield place


def _link(project_dir: Path, place: Path, folder: PurePath, left_out: set[PurePath]) -> None:
    """Link everything below ``folder`` that is not left out. A folder with something left out is made, not linked."""
    (place / folder).mkdir(exist_ok=True)
    for child in (project_dir / folder).iterdir():
        inner = folder / child.name
        if inner in left_out:
            continue
        if any(inner in path.parents for path in left_out):
            _link(project_dir, place, inner, left_out)
        else:
            (place / inner).symlink_to(child.absolute())


def _copy_packages(packages: Path, copies: Path) -> None:
    """Copy installed packages. A local one stays a link: it may hold the project, and with it this very folder."""
    copies.mkdir(parents=True, exist_ok=True)
    for package in packages.iterdir():
        copy = copies / package.name
        if package.is_symlink():
            copy.symlink_to(package.resolve())
        elif package.is_dir():
            shutil.copytree(package, copy)
        else:
            shutil.copy2(package, copy)


def _copy_manifest(manifest: Path, target: Path) -> None:
    """Copy the manifest with its modification time: so a manifest that dbt writes over it can be told from it."""
    target.mkdir(exist_ok=True)
    try:
        refuse_unfit_file(manifest, ANY_SIZE)
        shutil.copy2(manifest, target / "manifest.json")
    except OSError as error:
        raise CosmosValueError(
            f"manifest_filepath {str(manifest)!r} cannot be read: {error.strerror}. Correct the path, or leave it out."
        ) from error


def _place(folder: Path, project_dir: Path, neighbours: list[Path]) -> Path:
    """The folder for dbt below ``folder``: as deep as the relative paths lead out of the project (``../shared``)."""
    depth = max((path.parts.count("..") for path in neighbours), default=0)
    above = project_dir.resolve().parts[1:][-depth:] if depth else ()
    # A path may climb beyond the root of the file system; here it must not climb out of the folder.
    place = folder.joinpath(*["up"] * (depth - len(above)), *above)
    place.mkdir(parents=True, exist_ok=True)
    return place


def _link_neighbours(place: Path, project_dir: Path, neighbours: list[Path], left_out: set[PurePath]) -> None:
    """Link the neighbours of the project that its files name, so that the same relative paths lead there.

    A neighbour may hold the project, such as a package whose ``integration_tests`` are the project. It becomes a folder
    of links around ``place``. A link to the whole neighbour would show dbt the project a second time, with its ``logs``
    and ``target``.
    """
    project_dir = project_dir.resolve()
    paths = {Path(os.path.normpath(place / path)): path for path in neighbours if PurePath(path) not in left_out}
    if around := [path for path in paths if place.is_relative_to(path)]:
        highest = min(around, key=lambda path: len(path.parts))  # it holds the others
        made_by_dbt = {Path(os.path.normpath(place / path)) for path in left_out}
        inner = {path.relative_to(highest) for path in (place, *made_by_dbt) if path.is_relative_to(highest)}
        _link(Path(os.path.normpath(project_dir / paths[highest])), highest, PurePath(), {*map(PurePath, inner)})
    for link, path in paths.items():
        if not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.normpath(project_dir / path))


def descriptors_of(place: Path) -> tuple[int, ...]:
    """The descriptors of a workspace's lease, for ``keep_open`` of a command: until it ends, the workspace stays.

    :param place: the workspace.
    """
    found = (scratch.descriptors_of(folder) for folder in (place, *place.parents))
    return next((descriptors for descriptors in found if descriptors), ())


def require_project(project_dir: Path) -> None:
    """Refuse a folder without dbt_project.yml, naming it.

    :param project_dir: the folder that was given.
    :raises CosmosValueError: when there is no such file or folder.
    """
    if not (project_dir / "dbt_project.yml").is_file():
        reason = "there is no dbt_project.yml in it" if project_dir.is_dir() else "there is no such folder"
        raise CosmosValueError(
            f"project_dir {str(project_dir)!r} is no dbt project: {reason}. "
            "Give the folder that holds dbt_project.yml, as this worker sees it."
        )
