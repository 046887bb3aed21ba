"""Which projects can a test have? As many as it wants, each in a folder of its own, small or large."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.projects.large import check_size, fill_large_project
from pytest_cosmos_venv.projects.profile import make_profile
from pytest_cosmos_venv.projects.project import DbtProject, make_project
from pytest_cosmos_venv.projects.store import check_name


@dataclass(frozen=True, kw_only=True)
class DbtProjects:
    """Makes projects.

    :param folder: in which they lie, each in a folder of its name.
    """

    folder: Path

    def __call__(
        self,
        name: str = "harbor",
        *,
        profile: Mapping[str, Any] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> DbtProject:
        """A project with nothing in it yet.

        :param profile: keys of its target in ``profiles.yml``, over the defaults of its ``type``. Default: a DuckDB
            file in the project's folder; ``{"type": "postgres"}`` for PostgreSQL on this machine.
        :param variables: the ``vars`` of ``dbt_project.yml``.
        :raises ToolkitMisuse: the name is taken, or no name.
        """
        check_name("project", name)
        folder = self.folder / name
        return make_project(name, folder, profile=make_profile(name, folder, profile), variables=variables)

    def large(self, models: int = 5000, *, name: str = "large", files: bool = False) -> DbtProject:
        """A project with that many models in layers, the same each time: staging, intermediate, marts.

        Sources below them, data tests, tags and folders as in real life. It can be changed like any other.

        :param files: whether its models lie on the disk too, which a test that only wants ``.manifest()`` need not
            wait for.
        :raises ToolkitMisuse: fewer than 10 models, or the name is taken.
        """
        check_size(models)
        check_name("project", name)
        folder = self.folder / name
        project = make_project(name, folder, profile=make_profile(name, folder, None), is_on_disk=files)
        fill_large_project(project, models)
        return project
