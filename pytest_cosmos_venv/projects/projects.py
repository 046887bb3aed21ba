"""The projects of one test: any number of them, small or large, each in a folder of its own.

A large project has layers, folders by subject, tests and tags, like a real project. It is the same in every run.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.projects.http_manifest import HttpManifest, body_of
from pytest_cosmos_venv.projects.profile import make_profile
from pytest_cosmos_venv.projects.project import DbtProject, copy_project, make_project

SMALLEST = 10
_SUBJECTS = ("billing", "crew", "finance", "fleet", "freight", "harbor", "marketing", "passengers", "safety", "weather")
_TABLES_OF_A_SOURCE = 20


def check_size(models: int) -> None:
    """Refuse a number of models that is too small for layers.

    :param models: the number of models.
    :raises ToolkitMisuse: it is too small, or no whole number.
    """
    if models < SMALLEST:
        raise ToolkitMisuse(f"large(models={models}): a large project has at least {SMALLEST} models.")


def fill_large_project(project: DbtProject, models: int) -> None:
    """Add models in three layers: half of them in staging, each over a table of a source, then intermediate, then
    marts.

    :param project: an empty project.
    :param models: the number of models, at least ``SMALLEST``.
    """
    # Not for cryptography: the seed makes the numbers equal in every run.
    chosen = random.Random(models)  # noqa: S311
    staging = _staging(project, models // 2)
    intermediate = _layer(project, chosen, "int", models // 5, staging)
    _layer(project, chosen, "fct", models - models // 2 - models // 5, [*intermediate, *staging])


def _staging(project: DbtProject, count: int) -> list[str]:
    names = []
    for first in range(0, count, _TABLES_OF_A_SOURCE):
        tables = [f"table_{number:05}" for number in range(first, min(first + _TABLES_OF_A_SOURCE, count))]
        source = f"raw_{first // _TABLES_OF_A_SOURCE:03}"
        project.source(source, tables=tables)
        for number, table in enumerate(tables, start=first):
            name = f"stg_{number:05}"
            _add(project, name, number, "staging", [f"source('{source}', '{table}')"], "view")
            names.append(name)
    return names


def _layer(project: DbtProject, chosen: random.Random, prefix: str, count: int, below: Sequence[str]) -> list[str]:
    folder = {"int": "intermediate", "fct": "marts"}[prefix]
    materialized = {"int": "ephemeral", "fct": "table"}[prefix]
    names = []
    for number in range(count):
        parents = chosen.sample(below, chosen.randint(1, 3))
        name = f"{prefix}_{number:05}"
        _add(project, name, number, folder, [f"ref('{parent}')" for parent in parents], materialized)
        names.append(name)
    return names


def _add(project: DbtProject, name: str, number: int, layer: str, reads: Sequence[str], materialized: str) -> None:
    # No injection: all names in the SQL are made in this module.
    sql = "select * from " + "\nnatural join ".join(f"{{{{ {read} }}}}" for read in reads) + "\n"  # noqa: S608
    subject = _SUBJECTS[number % len(_SUBJECTS)]
    tags = [subject, "hourly" if number % 10 == 0 else "daily"]
    project.model(
        f"{layer}/{subject}/{name}",
        sql,
        tests={"id": ["unique", "not_null"]} if number % 2 == 0 else None,
        materialized=materialized,
        tags=tags,
    )


@dataclass(frozen=True, kw_only=True)
class CosmosProject:
    """The maker of dbt projects, which the fixture ``cosmos_project`` gives.

    :param folder: the folder in which they lie, each in a folder of its name.
    :param root: the folder to which paths of projects that are copied are relative.
    """

    folder: Path
    root: Path = Path()
    _served: list[HttpManifest] = field(default_factory=list, repr=False)

    def serve(self, manifest: DbtProject | Mapping[str, Any]) -> HttpManifest:
        """Serve a manifest over HTTP on loopback: ``.url``, ``.answer(500).answer(200)``, ``.requests``.

        :param manifest: a project, whose present manifest is taken, or the content of a manifest.
        """
        self._served.append(HttpManifest(body=body_of(manifest)))
        return self._served[-1]

    def close(self) -> None:
        """End the servers."""
        for served in self._served:
            served.close()

    def __call__(
        self,
        name: str = "harbor",
        *,
        profile: Mapping[str, Any] | None = None,
        variables: Mapping[str, Any] | None = None,
    ) -> DbtProject:
        """Make a project with nothing in it yet.

        :param name: the name of the project, of its folder and of its profile.
        :param profile: keys of its target in ``profiles.yml``, over the defaults of its ``type``. Default: a DuckDB
            file in the project's folder; ``{"type": "postgres"}`` for PostgreSQL on this machine.
        :param variables: the ``vars`` of ``dbt_project.yml``.
        :raises ToolkitMisuse: the name is taken, or no name.
        """
        folder = self.folder / name
        return make_project(name, folder, profile=make_profile(name, folder, profile), variables=variables)

    def copy(self, project: Path | str) -> DbtProject:
        """Copy your dbt project into the folder of the test; the copy has a DuckDB profile.

        :param project: the folder of your project, relative to the root directory of the tests.
        :raises ToolkitMisuse: there is no ``dbt_project.yml`` in it, or the copy exists.
        """
        return copy_project(self.root / project, self.folder)

    def large(self, models: int = 5000, *, name: str = "large", files: bool = False) -> DbtProject:
        """Make a project with that many models in layers, the same each time: staging, intermediate, marts.

        Below them are sources; data tests, tags and folders are as in real life. It can be changed like any other
        project.

        :param models: the number of models.
        :param name: the name of the project, of its folder and of its profile.
        :param files: whether the models are written to the disk too; ``.manifest()`` does not need the files.
        :raises ToolkitMisuse: fewer than 10 models, or the name is taken.
        """
        check_size(models)
        folder = self.folder / name
        project = make_project(name, folder, profile=make_profile(name, folder, None), is_on_disk=files)
        fill_large_project(project, models)
        return project
