"""The dbt project of a scenario: a made-up project, or a copy of the test author's project."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.projects.node_properties import DataTests
from pytest_cosmos_venv.projects.profile import TARGET
from pytest_cosmos_venv.projects.project import DbtProject, copy_folder
from pytest_cosmos_venv.projects.projects import CosmosProject

NAME = "harbor"
MODEL = "staging"
MANIFEST = "manifest.json"
_UNKNOWN = {"name": "none", "checksum": ""}


@dataclass(frozen=True, kw_only=True)
class SeedProject:
    """A dbt project on disk.

    :param path: the folder of the project.
    :param profile: the name of its profile, the target, and the file with the profile.
    :param manifest: the path of its manifest; the file may be missing.
    :param attic: an existing folder beside the project, for the originals of removed files.
    :param files: name of a seed -> its CSV; the seeds that the author has named come first, in their order.
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

    def file(self, seed: str | None) -> Path:
        """Return the CSV of a seed, at the place where dbt looks for it.

        :param seed: the name of the seed; None: the first one.
        """
        name = seed if seed is not None else self.seeds[0]
        if name not in self.files:
            raise ToolkitMisuse(f"seed={name!r}: the project has {', '.join(self.files)}.")
        return self.files[name]

    def set_manifest_checksum(self, checksum: str | None) -> None:
        """Write a checksum of every seed into the manifest.

        :param checksum: the checksum; None removes it, as dbt does for files over 1 MiB.
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
    # The manifest lies outside the project's target folder, in which every run of dbt writes its own manifest.
    return _with_seeds(project.path, profile, project.manifest(folder / MANIFEST), folder, order)


def copy_project(source: Path, folder: Path) -> SeedProject:
    """Copy the author's own project, so that the original is left alone.

    :param source: the folder of the project.
    :param folder: an existing folder, for the copy and the attic.
    :raises ToolkitMisuse: there is no dbt project, or no seed in it.
    """
    copy = copy_folder(source, folder)
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
