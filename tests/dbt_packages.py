"""A local package of a made-up dbt project, installed as ``dbt deps`` would install it."""

from __future__ import annotations

from pathlib import Path

from pytest_cosmos_venv import DbtProject
from pytest_cosmos_venv.projects.project import make_project


def add_package(project: DbtProject, name: str) -> DbtProject:
    """Add the only package of a project: another project, to be filled in the same way."""
    package = make_project(name, project.path / "packages" / name, profile=project.profile)
    project.write("packages.yml", f"packages:\n- local: packages/{name}\n")
    installed = project.path / "dbt_packages" / name
    installed.parent.mkdir()
    installed.symlink_to(Path("..", "packages", name), target_is_directory=True)
    return package
