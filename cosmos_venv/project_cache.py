"""The parse file and the packages that are kept of a dbt project between its commands."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cosmos_venv import settings
from cosmos_venv.dbt.command import vars_text
from cosmos_venv.dbt.packages import LAYOUT as PACKAGES_LAYOUT
from cosmos_venv.dbt.packages import PackageStore, ProjectPackages
from cosmos_venv.dbt.partial_parse import ParsedProject, kept_file
from cosmos_venv.dbt.project_files import read_dbt_project, read_package_files
from cosmos_venv.files import own_files
from cosmos_venv.files.own_files import make_private
from cosmos_venv.managed.caches import cache_dir, remote_cache
from cosmos_venv.managed.resolve import foreground_builds, search_path


def parsed_project(
    project_dir: Path,
    profiles_yml: Path,
    *,
    target_name: str,
    variables: Mapping[str, Any] | str | None,
    env: Mapping[str, str],
    which_dbt: str,
    folder: Path | None = None,
) -> ParsedProject:
    """Return the parse file that a command of a project is offered and leaves to the next one.

    :param project_dir: folder with the ``dbt_project.yml``.
    :param profiles_yml: the file that the command reads; it may be missing.
    :param target_name: of the profile's target.
    :param variables: dbt's ``--vars``, as a mapping or as a text of YAML; None: there are none.
    :param env: the environment variables of the dbt command.
    :param which_dbt: a text that differs where the dbt may be another one.
    :param folder: where the file is kept; None: below the cache folder.
    :raises CosmosLoadDbtException: when the project's dbt_project.yml cannot be read.
    """
    if not (settings.enable_cache and settings.enable_cache_partial_parse):
        return ParsedProject(project_dir=project_dir)
    # The project's name and not its path: on Airflow 3 each version of a bundle has another path.
    project_name = read_dbt_project(project_dir, environment=env).name or project_dir.name
    profile = profiles_yml.read_text(encoding="utf-8", errors="replace") if profiles_yml.is_file() else ""
    key = [project_name, profile, target_name, vars_text(variables) or "", which_dbt]
    kept = kept_file(folder or cache_dir(), key)
    return ParsedProject(project_dir=project_dir, kept=kept, elsewhere=remote_cache("parse_files"))


def project_packages(
    project_dir: Path,
    virtualenv_dir: Path | None,
    *,
    variables: Mapping[str, Any] | str | None,
    env: Mapping[str, str],
    which_dbt: str,
) -> ProjectPackages:
    """Return the packages that ``dbt deps`` installs for a project, or has installed for another command.

    :param project_dir: folder with the ``dbt_project.yml``.
    :param virtualenv_dir: where they are kept. They are kept below the cache folder if this is None, or cannot be
        written to; packages in a ``virtualenv_dir`` of an image are found nevertheless.
    :param variables: dbt's ``--vars``, as a mapping or as a text of YAML; None: there are none.
    :param env: the environment variables of the dbt command.
    :param which_dbt: a text that differs where the dbt may be another one.
    """
    if not settings.enable_cache:
        return ProjectPackages(project_dir=project_dir, environment=env)
    virtualenv_dir = foreground_builds.get().directory or virtualenv_dir
    files = read_package_files(project_dir)
    return ProjectPackages(
        project_dir=project_dir,
        environment=env,
        digest=files.digest(variables=vars_text(variables) or "", env=env, which_dbt=which_dbt),
        local=files.local,
        stores=_package_stores(virtualenv_dir),
        max_age=settings.packages_max_age,
        max_wait=settings.virtualenv_max_retries_lock,
        why_not_kept=files.why_unknown,
        elsewhere=remote_cache("packages"),
    )


def _package_stores(virtualenv_dir: Path | None) -> tuple[PackageStore, ...]:
    # The cache folder is this user's alone; a virtualenv_dir may be shared by a group.
    own = PackageStore(folder=cache_dir() / PACKAGES_LAYOUT, make_directory=make_private)
    if virtualenv_dir is None:
        return (own,)
    folders = [store.directory / PACKAGES_LAYOUT for store in search_path()]
    make = partial(own_files.make_directory, mode=settings.virtualenv_dir_mode)
    return (
        *(PackageStore(folder=folder, make_directory=make, is_read_only=True) for folder in folders),
        PackageStore(folder=virtualenv_dir / PACKAGES_LAYOUT, make_directory=make),
        own,
    )
