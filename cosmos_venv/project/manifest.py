"""Which nodes does a ``manifest.json`` hold?

A typed reader that ignores what it does not need, and names file, entry and fault where it cannot read what it needs.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from cosmos_venv.constants import DbtResourceType
from cosmos_venv.dbt.project_file import DEFAULT_PACKAGES_FOLDER
from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.entry import Folders, NodeEntry, to_node
from cosmos_venv.project.node import DbtNode

OLDEST_SCHEMA = 9
"""The manifest schema of dbt 1.5, the first whose entries are like today's."""

_WAY_OUT = "Write it anew with `dbt parse` or `dbt compile` in the project and deploy target/manifest.json."
_VERSION = re.compile(r"/manifest/v(\d+)\.json$")


class _Metadata(msgspec.Struct):
    dbt_schema_version: str = ""
    project_name: str | None = None


class _Manifest(msgspec.Struct):
    nodes: dict[str, msgspec.Raw]
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)
    sources: dict[str, msgspec.Raw] | None = None
    exposures: dict[str, msgspec.Raw] | None = None
    unit_tests: dict[str, msgspec.Raw] | None = None

    def entries(self) -> dict[str, msgspec.Raw]:
        return {**self.nodes, **(self.sources or {}), **(self.exposures or {}), **(self.unit_tests or {})}


_MANIFEST = msgspec.json.Decoder(_Manifest)
_ENTRY = msgspec.json.Decoder(NodeEntry)


def read_manifest(
    path: Path, *, project_path: Path, packages_folder: str = DEFAULT_PACKAGES_FOLDER
) -> dict[str, DbtNode]:
    """Every enabled node by unique id, in the manifest's order: nodes, sources, exposures, unit tests.

    Analyses are left out, as ``dbt ls`` leaves them out, so that both ways of loading give the same nodes.

    :param path: the manifest, a local file.
    :param project_path: folder of the project that the manifest describes; no file in it is looked at.
    :param packages_folder: where dbt installs packages, relative to the project.
    :raises CosmosLoadDbtException: when the file cannot be read as a manifest of dbt 1.5 or later.
    """
    manifest = _decode(path)
    _refuse_old_schema(path, manifest.metadata.dbt_schema_version)
    folders = Folders(project=project_path, root_package=manifest.metadata.project_name, packages=packages_folder)
    nodes = {}
    for unique_id, raw in manifest.entries().items():
        node = _node(path, unique_id, raw, folders)
        if node is not None and node.resource_type is not DbtResourceType.ANALYSIS:
            nodes[unique_id] = node
    return nodes


def _decode(path: Path) -> _Manifest:
    content = _read(path)
    if not content.strip():
        raise CosmosLoadDbtException(f"{path} is empty. {_WAY_OUT}")
    try:
        return _MANIFEST.decode(content)
    except msgspec.ValidationError as error:
        # The commonest faults read like this: Expected `object`, got `array`; Object missing required field `nodes`.
        raise CosmosLoadDbtException(f"{path} is JSON but not a dbt manifest: {error}. {_WAY_OUT}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = "is cut off" if "truncated" in str(error) else "is not JSON"
        raise CosmosLoadDbtException(f"{path} {what}: {error}. {_WAY_OUT}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CosmosLoadDbtException(
            f"ProjectConfig.manifest_path {path} cannot be read: {error.strerror or error}. {_WAY_OUT}"
        ) from error


def _node(path: Path, unique_id: str, raw: msgspec.Raw, folders: Folders) -> DbtNode | None:
    try:
        return to_node(_ENTRY.decode(raw), unique_id=unique_id, folders=folders)
    except (msgspec.DecodeError, ValueError) as error:
        raise CosmosLoadDbtException(f"{path}: entry {unique_id}: {error}. {_WAY_OUT}") from error


def _refuse_old_schema(path: Path, version: str) -> None:
    """A manifest that names no version, as hand-made ones do, is taken as it is."""
    found = _VERSION.search(version)
    if found and int(found.group(1)) < OLDEST_SCHEMA:
        raise CosmosLoadDbtException(
            f"{path} has manifest schema v{found.group(1)}; v{OLDEST_SCHEMA} (dbt 1.5) or later is needed. "
            "Write it anew with `dbt parse` of a newer dbt, or use LoadMode.DBT_LS."
        )
