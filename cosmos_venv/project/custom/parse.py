"""The nodes that the files of a project and of its installed packages make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cosmos_venv.dbt.project_file import read_dbt_project
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.custom.code import Reader
from cosmos_venv.project.custom.drafts import Draft, resolved
from cosmos_venv.project.custom.layout import Layout
from cosmos_venv.project.custom.package import Package
from cosmos_venv.project.custom.values import LookUps, renderer, variables_of
from cosmos_venv.project.entry import NodeEntry


@dataclass(frozen=True, kw_only=True)
class ParsedFiles:
    """:param name: the root project's in dbt.
    :param entries: every node by its id, as a manifest has them.
    """

    name: str
    entries: dict[str, NodeEntry]


def parse_project(
    project_path: Path,
    *,
    variables: Mapping[str, object],
    environment: Mapping[str, str],
    folders: Mapping[str, str],
) -> ParsedFiles:
    """Read all files of the project, and of the packages that are installed in it.

    :param variables: dbt's ``--vars``.
    :param environment: what ``env_var()`` sees.
    :param folders: of models, seeds and snapshots, relative to the project, unless ``dbt_project.yml`` names them.
    :raises CosmosLoadDbtException: when a file cannot be read, with the line where it is known; when there is no node.
    """
    look_ups = LookUps()
    root = Layout.read(project_path, renderer(variables, environment, look_ups))
    packages = project_path / read_dbt_project(project_path, environment=environment).packages_folder
    found = sorted(path.parent for path in packages.glob("*/dbt_project.yml"))
    layouts = [root, *(Layout.read(folder, root.render) for folder in found)]
    drafts: list[Draft] = []
    for layout in layouts:
        named = {**variables_of(layout, layout.name), **variables_of(root, layout.name), **variables}
        reader = Reader(functions=look_ups.functions(named, environment))
        own_folders = folders if layout is root else {}  # those of the configuration are the project's
        drafts += Package(layout=layout, root=root, reader=reader, folders=own_folders).drafts()
    entries = resolved(drafts)
    if not entries:
        raise CosmosLoadDbtException(
            f"The files of the dbt project {project_path} make no node. Correct the path, model-paths in "
            "dbt_project.yml, or ProjectConfig.models_relative_path."
        )
    return ParsedFiles(name=root.name, entries=entries)
