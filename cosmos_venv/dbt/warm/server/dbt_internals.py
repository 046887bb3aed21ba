"""STDLIB ONLY. The parts of dbt that are touched, whether they are as we know them, and the two small patches.

dbt's modules are looked up where they have been imported. Where a part is not as we know it, nothing is kept or
touched.

``patch_deep_merge``: dbt makes a relation of each node twice before anything runs, and merges four small dictionaries
of flags for each. Its ``deep_merge`` copies every value by ``copy.deepcopy``, though a flag needs no copy: a tenth of a
command of a thousand models whose project is kept. Where any value is more than a flag, a text or a number, dbt's own
function is called.

``patch_json_encoder``: dbt calls ``json.dump``, which never uses Python's C code: it makes and writes each bracket and
comma by itself, half a second of a project of a thousand models, whose ``manifest.json`` is written twice.
``json.dumps`` makes the same text from the same encoder (CPython, ``Lib/json/encoder.py``: ``_one_shot``), in as much
more memory as the text is long.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

# The releases with which all of this was tried.
RELEASES = ("1.10.", "1.11.")
_MANIFEST, _WRITTEN = "dbt.contracts.graph.manifest", "dbt.artifacts.schemas.manifest.v12.manifest"
_LOADER, _COMPILATION = "dbt.parser.manifest", "dbt.compilation"
# All that is called or replaced, with the names of its parameters.
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
    "nodes",
    "sources",
    "macros",
    "docs",
    "exposures",
    "functions",
    "metrics",
    "groups",
    "files",
    "disabled",
    "semantic_models",
    "unit_tests",
    "saved_queries",
    "fixtures",
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
    """Put ours in the place of parts of dbt. All of them or, where that fails, none.

    :param *replaced: an owner, a name and ours, each.
    """
    # As it stands in the class: getattr would bind a class method.
    before = [(owner, name, inspect.getattr_static(owner, name)) for owner, name, _ in replaced]
    try:
        for owner, name, ours in replaced:
            setattr(owner, name, ours)
    except Exception:
        for owner, name, theirs in before:
            setattr(owner, name, theirs)
        raise


def part(module: str, name: str) -> Any:
    """A class or function of dbt, None where there is none.

    :param module: its name.
    :param name: the name in it.
    """
    return getattr(sys.modules.get(module), name, None)


def manifest_class() -> Any:
    """dbt's ``Manifest``: all nodes, macros and files of a project."""
    return part(_MANIFEST, "Manifest")


def loader_class() -> Any:
    """dbt's ``ManifestLoader``, which parses, or reads the parse file."""
    return part(_LOADER, "ManifestLoader")


def linker_class() -> Any:
    """dbt's ``Linker``, which makes the graph of a manifest."""
    return part(_COMPILATION, "Linker")


def written_class() -> Any:
    """dbt's ``WritableManifest``: ``manifest.json``."""
    return part(_WRITTEN, "WritableManifest")


def decoder() -> Any:
    """The function by which dbt reads its parse file."""
    return part(_LOADER, "extended_mashumuro_decoder")


def maps() -> tuple[str, ...]:
    """Names of the parts of a manifest that grow with the project, in this release."""
    return tuple(name for name in _MAPS if name in manifest_class().__dataclass_fields__)


def has_plugins() -> bool:
    """Whether a plugin of dbt gets a manifest, which it may change, or that cannot be known."""
    hooks = getattr(part("dbt.plugins", "PLUGIN_MANAGER"), "hooks", None)
    return hooks is None or bool(hooks)


def mixin() -> Any:
    """dbt's base class of all that is read from and written to dictionaries."""
    return part("dbt_common.dataclass_schema", "dbtClassMixin")


def encoder() -> Any:
    """The encoder by which dbt writes JSON."""
    return part("dbt_common.utils.encoding", "JSONEncoder")


_MERGE = "deep_merge"
_CALLERS = ("dbt.adapters.base.relation", "dbt.adapters.contracts.relation")
_NEEDS_NO_COPY = frozenset({bool, int, float, str, type(None)})


def patch_deep_merge() -> None:
    """Let dbt's relations merge flags without copies from now on, where they use dbt's function."""
    merge = part("dbt_common.utils.dict", _MERGE)
    if merge is None:
        return
    ours = _flat(merge)
    for name in _CALLERS:
        # Each module has imported the function by name, so it is replaced in each.
        if part(name, _MERGE) is merge:
            setattr(sys.modules[name], _MERGE, ours)


def _flat(merge: Callable[..., Any]) -> Callable[..., Any]:
    def deep_merge(*args: Any) -> Any:
        merged: dict[Any, Any] = {}
        for each in args:
            # No subclass: it may do more than a dict when it is read.
            if type(each) is not dict or not _NEEDS_NO_COPY.issuperset(map(type, each.values())):
                return merge(*args)
            merged.update(each)
        return merged if args else None

    return deep_merge


def patch_json_encoder() -> None:
    """Let dbt's encoder make a text in one piece from now on, where it is one as we know it."""
    cls = encoder()
    if cls is not None and cls.iterencode is json.JSONEncoder.iterencode:
        cls.iterencode = _in_one_piece


def _in_one_piece(self: json.JSONEncoder, o: Any, _one_shot: bool = False) -> Iterator[str]:
    return json.JSONEncoder.iterencode(self, o, _one_shot=True)
