"""Which parts of dbt does a kept project touch, and are they as we know them? Else nothing is kept or touched.

Standard library only: dbt's modules are looked up where they have been imported.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

RELEASES = ("1.10.", "1.11.")
_MANIFEST, _WRITTEN = "dbt.contracts.graph.manifest", "dbt.artifacts.schemas.manifest.v12.manifest"
_LOADER, _COMPILATION = "dbt.parser.manifest", "dbt.compilation"
# What is called or replaced, with the names of its parameters.
_KNOWN = {
    (_MANIFEST, "Manifest", "from_msgpack"): {"decoder"},
    (_MANIFEST, "Manifest", "build_flat_graph"): {"self"},
    (_MANIFEST, "Manifest", "write"): {"self", "path"},
    (_MANIFEST, "Manifest", "writable_manifest"): {"self"},
    (_MANIFEST, "Manifest", "build_parent_and_child_maps"): {"self"},
    (_MANIFEST, "Manifest", "build_group_map"): {"self"},
    (_LOADER, "ManifestLoader", "load"): {"self"},
    (_LOADER, "ManifestLoader", "inject_external_nodes"): {"self"},
    (_LOADER, "extended_mashumuro_decoder", ""): {"data"},
    (_COMPILATION, "Linker", "link_graph"): {"self", "manifest"},
    (_COMPILATION, "Linker", "add_test_edges"): {"self", "manifest"},
    (_COMPILATION, "Linker", "get_graph_summary"): {"self", "manifest"},
    (_COMPILATION, "Linker", "write_graph"): {"self", "outfile", "manifest"},
    (_COMPILATION, "Linker", "find_cycles"): {"self"},
    (_WRITTEN, "WritableManifest", "to_dict"): set(),
    (_WRITTEN, "ArtifactMixin", "write"): {"self", "path"},
    ("dbt_common.clients.system", "convert_path", ""): {"path"},
    ("dbt_common.clients.system", "make_directory", ""): {"path"},
    ("dbt_common.dataclass_schema", "dbtClassMixin", "to_dict"): set(),
    ("dbt_common.utils.encoding", "JSONEncoder", "default"): {"self", "obj"},
}
# The parts of a manifest that grow with the project; the rest is read by each command for itself.
_MAPS = (
    *("nodes", "sources", "macros", "docs", "exposures", "functions", "metrics", "groups", "files", "disabled"),
    *("semantic_models", "unit_tests", "saved_queries", "fixtures"),
)


def is_known() -> bool:
    """Whether dbt is of a release, and in a shape, for which a kept project was tried."""
    version = getattr(sys.modules.get("dbt.version"), "__version__", "")
    if not str(version).startswith(RELEASES):
        return False
    return all(_has(part(module, name), method, wanted) for (module, name, method), wanted in _KNOWN.items())


def _has(owner: Any, method: str, wanted: set[str]) -> bool:
    found = getattr(owner, method, None) if method else owner
    try:
        return callable(found) and wanted - {"self"} <= {*inspect.signature(found).parameters}
    except (TypeError, ValueError):
        return False


def replace(*replaced: tuple[Any, str, Any]) -> None:
    """Put ours in the place of parts of dbt: an owner, a name and ours. All of them or, where that fails, none."""
    before = [(owner, name, inspect.getattr_static(owner, name)) for owner, name, _ in replaced]
    try:
        for owner, name, ours in replaced:
            setattr(owner, name, ours)
    except Exception:
        for owner, name, theirs in before:
            setattr(owner, name, theirs)
        raise


def part(module: str, name: str) -> Any:
    """A class or function of dbt, None where there is none."""
    return getattr(sys.modules.get(module), name, None)


def manifest_class() -> Any:
    return part(_MANIFEST, "Manifest")


def loader_class() -> Any:
    return part(_LOADER, "ManifestLoader")


def linker_class() -> Any:
    return part(_COMPILATION, "Linker")


def written_class() -> Any:
    return part(_WRITTEN, "WritableManifest")


def decoder() -> Any:
    return part(_LOADER, "extended_mashumuro_decoder")


def maps() -> tuple[str, ...]:
    """Names of those parts in this release."""
    return tuple(name for name in _MAPS if name in manifest_class().__dataclass_fields__)


def has_plugins() -> bool:
    """Whether somebody's plugin of dbt gets a manifest, which it may change, or that cannot be known."""
    hooks = getattr(part("dbt.plugins", "PLUGIN_MANAGER"), "hooks", None)
    return hooks is None or bool(hooks)


def mixin() -> Any:
    return part("dbt_common.dataclass_schema", "dbtClassMixin")


def encoder() -> Any:
    return part("dbt_common.utils.encoding", "JSONEncoder")
