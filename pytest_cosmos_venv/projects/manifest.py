"""The manifest that dbt would write for a project, worked out without dbt.

The fake dbt reads the nodes from the project's files (``fake_dbt.project_files``). The manifest has the keys that its
readers use, such as edges, tags and tables, and all keys that dbt's schema requires. Equal projects have equal
manifests, because nothing changes from run to run. Tests compare the manifest with those of the dbt versions in
``VERIFIED_AGAINST``.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt.artifacts import SCHEMAS, manifest_document
from pytest_cosmos_venv.fake_dbt.files import Files, checksum
from pytest_cosmos_venv.fake_dbt.project_files import ProjectFiles
from pytest_cosmos_venv.projects.profile import Profile

VERIFIED_AGAINST = ("1.10", "1.11")
"""The versions of dbt with whose manifests tests compare this manifest."""
# Fixed, so that equal projects have equal manifests.
_TIME = "2026-01-01T00:00:00.000000Z"
_INVOCATION = "00000000-0000-4000-8000-000000000000"


def manifest_of(name: str, path: Path, profile: Profile, variables: Mapping[str, Any], source: Files) -> dict[str, Any]:
    """Return the manifest of a project as plain data.

    :param name: the name of the project.
    :param path: the folder of the project.
    :param profile: its profile.
    :param variables: its ``vars``.
    :param source: its files.
    :raises ToolkitMisuse: dbt would refuse the project, or only dbt could tell what a text depends on.
    """
    # No object made here becomes garbage; with a large project the garbage collector takes half of the time.
    with garbage_collection_paused():
        files = ProjectFiles(path, variables, profile.variable, source)
        _refuse_what_dbt_would(files)
        for entry in files.entries.values():
            if entry["resource_type"] == "seed":
                package = entry["package_name"]
                folder = path if package == name else path / "dbt_packages" / package
                entry["checksum"] = checksum(source.text(folder / entry["original_file_path"]))
        return manifest_document(_metadata(name, profile), files.entries)


def _refuse_what_dbt_would(files: ProjectFiles) -> None:
    for unread in files.unread:
        raise ToolkitMisuse(f"{unread} cannot be read without dbt. Write it out, or take dbt's own manifest.")
    for refusal in files.refusals():
        raise ToolkitMisuse(f"dbt refuses this project: {refusal}. Correct the name, or enable the node.")


def _metadata(project: str, profile: Profile) -> dict[str, Any]:
    return {
        "dbt_schema_version": SCHEMAS["manifest"],
        "dbt_version": f"{VERIFIED_AGAINST[-1]}.0",
        "generated_at": _TIME,
        "invocation_id": _INVOCATION,
        "invocation_started_at": _TIME,
        "env": {},
        "project_name": project,
        "project_id": hashlib.md5(project.encode(), usedforsecurity=False).hexdigest(),
        "adapter_type": profile.adapter,
    }


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Collect no garbage within the block."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
