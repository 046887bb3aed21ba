"""What does ``dbt ls`` say of a project? What it has said before, while nothing that matters has changed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_venv import managed, settings
from cosmos_venv.compat import variable
from cosmos_venv.dbt.env_vars import env_vars_named_in
from cosmos_venv.dbt.package_files import local_package, read_package_files
from cosmos_venv.dbt.project_file import read_dbt_project
from cosmos_venv.dbt.state import NAMES
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.dbt_ls import ls_arguments, variables_of
from cosmos_venv.project.environment import given_env_vars, state_folders
from cosmos_venv.project.file_digest import digest_of_file
from cosmos_venv.project.fingerprint import fingerprint
from cosmos_venv.project.kept_listings import KeptListings
from cosmos_venv.project.ls_process import (
    DbtInstallation,
    Said,
    environment_of_dbt,
    installation,
    run_dbt_ls,
    wants_deps,
)

if TYPE_CHECKING:
    from cosmos_venv.dbt.kept_files import KeptFiles
    from cosmos_venv.project.load import DbtGraph

logger = logging.getLogger(__name__)


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

    Where several processes want to know the same, one asks dbt and the others wait for its answer.

    :param only_kept: take what dbt has said, and never start it.
    :raises CosmosLoadDbtException: when dbt fails, with its own last lines; when the environment is not ready yet, or
        another process's dbt is not in the time that Airflow leaves for a DAG file; when nothing is kept that must be.
    :raises CosmosConfigException: when the dbt executable cannot be started.
    """
    with _asked(graph) as (ask, digest, kept):
        # Before the lines: an answer that is newer than its version is merely not found under it.
        version = None if kept is None else kept.version
        if kept is not None and (lines := kept.read()) is not None:
            return Listing(lines=lines, was_kept=True, version=version)
        if only_kept:
            lines = None if kept is None else kept.read_elsewhere()
            if lines is None:
                raise CosmosLoadDbtException(_nothing_kept(graph, is_kept_at_all=kept is not None))
            return Listing(lines=lines, was_kept=True, version=kept.version if kept else None)
        if kept is None:
            return Listing(lines=ask().lines, was_kept=False)
        return _in_turn(graph, kept, ask=ask, digest=digest)


def version_of_listing(graph: DbtGraph) -> str | None:
    """A text that differs where the kept answer for the graph may; None where none is kept.

    :raises CosmosLoadDbtException: when the environment of its dbt is not ready yet.
    """
    with _asked(graph) as (_, _, kept):
        return None if kept is None else kept.version


@contextmanager
def _asked(graph: DbtGraph) -> Iterator[tuple[Callable[[], Said], Callable[[], str | None], KeptListings | None]]:
    """Within this block dbt and its profile are there: what asks it, what its answer depends on, and what is kept."""
    assert graph.profile_config is not None  # noqa: S101 - DbtGraph.load has refused that
    uses_mock = graph.render_config.enable_mock_profile
    with (
        installation(graph) as dbt,
        graph.profile_config.ensure_profile(use_mock_values=uses_mock) as (profile, secrets),
    ):
        ask = partial(run_dbt_ls, graph, dbt, profile, secrets)
        yield ask, partial(_digest, graph, dbt, profile), _kept_listings(graph, dbt, profile)


def _in_turn(
    graph: DbtGraph, kept: KeptListings, *, ask: Callable[[], Said], digest: Callable[[], str | None]
) -> Listing:
    wait = managed.seconds_for_a_parse()
    with kept.files.turn(kept.digest, wait=wait, report=_report_waiting) as has_turn:
        lines = kept.read()
        if lines is None and not has_turn:
            raise CosmosLoadDbtException(
                f"Another process has been running dbt ls for {graph.project_path} for more than {wait:.0f} s. The "
                "next parse finds its answer; [core] dagbag_import_timeout says how long a parse may take."
            )
        if lines is None:
            lines = kept.read_elsewhere()
        if lines is not None:
            return Listing(lines=lines, was_kept=True, version=kept.version)
        said = ask()
        if digest() != kept.digest:  # a deployment in between: nobody knows which of the two dbt has read
            logger.info("The project has changed while dbt ls ran; its answer is not kept.")
            return Listing(lines=said.lines, was_kept=False)
        kept.write(said.lines, is_pinned=said.is_pinned)
        return Listing(lines=said.lines, was_kept=False, version=kept.version)


def _kept_listings(graph: DbtGraph, dbt: DbtInstallation, profile: Path) -> KeptListings | None:
    """None where nothing is to be kept, or cannot be."""
    files = managed.kept_listings()
    digest = None if files is None else _digest(graph, dbt, profile)
    if files is None or digest is None:
        return None
    return KeptListings(
        digest=digest,
        files=files,
        max_age=settings.packages_max_age if wants_deps(graph) else None,
        remote=managed.remote_listings(),
    )


def _nothing_kept(graph: DbtGraph, *, is_kept_at_all: bool) -> str:
    reason = (
        "for this content, dbt, profile, target, variables and selection"
        if is_kept_at_all
        else "because [cosmos] enable_cache or enable_cache_dbt_ls is off, or a name in the project is made by Jinja"
    )
    return (
        f"LoadMode.DBT_LS_CACHE: no answer of dbt ls for {graph.project_path} is kept {reason}. Load it once with "
        "LoadMode.DBT_LS, or use that always: it starts no dbt while the answer is kept."
    )


def _report_waiting() -> None:
    logger.info("Another process is running dbt ls for the same project; waiting for its answer.")


def _digest(graph: DbtGraph, dbt: DbtInstallation, profile: Path) -> str | None:
    """Under what the answer is kept: all that it depends on. None where that cannot be told."""
    assert graph.profile_config is not None  # noqa: S101 - as above
    project_dir = graph.project_path
    # Packages that dbt deps installs follow from the project's files, but for local ones.
    has_deps = wants_deps(graph)
    env = environment_of_dbt(graph, dbt)
    project_file = read_dbt_project(project_dir, environment=env)
    left_out = {project_file.packages_folder} if has_deps else set()
    packages = read_package_files(project_dir)
    beside = dict.fromkeys((*packages.local, *project_file.paths_outside))
    folders = [project_dir, *(local_package(project_dir, path) for path in beside)]
    known = managed.kept_fingerprints()
    contents = [fingerprint(folder, left_out=left_out | _inner(project_dir, folder), known=known) for folder in folders]
    written = profile.read_text(encoding="utf-8", errors="replace")
    named = [env_vars_named_in(written.encode()), *(content.variables for content in contents)]
    if None in named or not packages.is_known:
        logger.info("dbt ls runs at each parse: the name of an environment variable or of a package is made by Jinja.")
        return None
    # What is given counts whoever reads it: what packages that dbt deps installs ask for cannot be known before.
    names = {*given_env_vars(graph), *(name for names in named for name in names or ())}
    names |= {name for name in env if name.startswith("DBT_")}
    matters = [
        dbt.which,
        [content.digest for content in contents],
        written,
        graph.profile_config.profile_name,
        graph.profile_config.target_name,
        ls_arguments(graph.render_config, graph.project, dbt_vars=variables_of(graph)),
        has_deps,
        {name: env[name] for name in sorted(names) if name in env},
        [[name, variable(name)] for name in graph.render_config.airflow_vars_to_purge_dbt_ls_cache],
        _state(env, project_dir, folders, known),
    ]
    return hashlib.sha256(json.dumps(matters).encode()).hexdigest()


def _inner(project_dir: Path, package: Path) -> set[str]:
    """Where the project stands in a package that holds it, as ``integration_tests`` do: it counts by itself.

    Seen as a part of the package it would count with what dbt writes, and no answer would ever be found again.
    """
    project_dir = project_dir.resolve()
    is_inside = project_dir != package and project_dir.is_relative_to(package)
    return {str(project_dir.relative_to(package))} if is_inside else set()


def _state(env: Mapping[str, str], project_dir: Path, projects: Sequence[Path], known: KeptFiles | None) -> list[str]:
    """What ``state:`` and ``result:`` compare, with what: dbt is told the folder of the other run by a variable.

    It compares the content of seeds then, and what was found of sources last, both of which nothing else asks for.

    :param projects: folders of the project and of its local packages.
    """
    folders = state_folders(project_dir, env)
    if not folders:
        return []
    files = [folder / name for folder in folders for name in NAMES]
    files.append(project_dir / (env.get("DBT_TARGET_PATH") or "target") / "sources.json")
    files += sorted(seed for folder in projects for seed in folder.rglob("*.csv"))
    return [digest_of_file(file, known=known) if file.is_file() else "" for file in files]
