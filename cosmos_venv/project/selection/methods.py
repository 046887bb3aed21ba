"""dbt's selector methods, ``path:`` included: one function for each, on the entries of a manifest. No file is read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from cosmos_venv.constants import METRIC_VIEWS, DbtResourceType
from cosmos_venv.dbt.selection_texts import METHOD_OF_COSMOS
from cosmos_venv.exceptions import CosmosValueError
from cosmos_venv.project.node_entry import NodeEntry, tags_of
from cosmos_venv.project.selection.criterion import Criterion
from cosmos_venv.project.selection.graph import Labels, SelectionGraph, is_wild, path_of

logger = logging.getLogger(__name__)

_APART = ("source", "exposure", "metric", "unit_test", "semantic_model", "saved_query", "function")
# How a model's version compares with the latest one.
_VERSIONS = {"latest": 0, "prerelease": 1, "old": -1, "none": None}
_TEST_TYPES = ("generic", "schema", "data", "singular", "unit")
_NOTHING = object()


def _find_path(graph: SelectionGraph, criterion: Criterion) -> Iterable[str]:
    """The nodes that are declared or described in a file or folder of the root project.

    dbt looks for the path in the root project, but compares relative paths: the same path in a package counts too.
    """
    value = criterion.value
    pattern = PurePosixPath(value)
    if not pattern.parts:
        raise CosmosValueError("the path is empty: name a file or folder of the project, such as models/staging.")
    if pattern.is_absolute():
        raise CosmosValueError("the path is absolute: name it relative to the project's folder.")
    index = graph.labelled(_paths)
    found = [str(pattern)]
    if is_wild(value):
        found = [path for path in index if _fits(path.split("/"), list(pattern.parts))]
    if value.endswith("/") or pattern.name == "**":  # folders only: they label all nodes below them anyway
        files = graph.labelled(_files)
        found = [path for path in found if path not in files]
    root = graph.project_name
    groups = (index.get(path, []) for path in found)
    in_root = (ids for ids in groups if root is None or any(graph.entries[each].package_name == root for each in ids))
    return (unique_id for ids in in_root for unique_id in ids)


def _paths(entry: NodeEntry) -> Iterable[str]:
    """The file that declares the node with all folders above it, and the YAML file that describes it."""
    parts = path_of(entry).split("/")
    yield from ("/".join(parts[: length + 1]) for length in range(len(parts) - 1))
    yield from _files(entry)


def _files(entry: NodeEntry) -> Iterable[str]:
    yield path_of(entry)
    if entry.patch_path:
        yield entry.patch_path.partition("://")[2].replace("\\", "/")


def _fits(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_fits(parts[skipped:], pattern[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def find(graph: SelectionGraph, criterion: Criterion) -> set[str]:
    """Ids of the nodes that a criterion names itself, without those that its graph operators add.

    :param graph: the nodes.
    :param criterion: the criterion.
    :raises CosmosValueError: when dbt would refuse the value; the text names the item.
    """
    if not isinstance(criterion.value, str) and criterion.method != "config":
        raise CosmosValueError(f"selection item {criterion.shown}: {criterion.value!r} is no text. Put it in quotes.")
    try:
        return set(FINDERS[criterion.method](graph, criterion))
    except CosmosValueError as error:
        raise CosmosValueError(f"selection item {criterion.shown}: {error}") from None


def _by_label(labels: Labels) -> Callable[[SelectionGraph, Criterion], Iterable[str]]:
    """A finder that compares the value, which may have wildcards, with the labels of each node."""

    def find_labelled(graph: SelectionGraph, criterion: Criterion) -> Iterable[str]:
        return _labelled(graph, labels, criterion.value)

    return find_labelled


def _labelled(graph: SelectionGraph, labels: Labels, value: str) -> Iterable[str]:
    index = graph.labelled(labels)
    if not is_wild(value):
        return index.get(value, ())
    return (unique_id for label, ids in index.items() if fnmatchcase(label, value) for unique_id in ids)


def _group(entry: NodeEntry) -> Iterable[str]:
    group = (entry.config or {}).get("group")
    is_groupable = entry.resource_type == "metric" or entry.resource_type not in _APART
    return (group,) if group and is_groupable else ()


def _file_names(entry: NodeEntry) -> Iterable[str]:
    name = path_of(entry).rpartition("/")[2]
    stem = name.rpartition(".")[0]
    return (name, stem or name)


def _package_name(entry: NodeEntry) -> Iterable[str]:
    return (entry.package_name or "",)


def _test_names(entry: NodeEntry) -> Iterable[str]:
    if entry.resource_type == "unit_test":
        return (entry.name or "",)
    return (entry.test_metadata.name,) if entry.resource_type == "test" and entry.test_metadata else ()


def _find_package(graph: SelectionGraph, criterion: Criterion) -> Iterable[str]:
    is_root = criterion.value == "this" and graph.project_name is not None
    return _labelled(graph, _package_name, str(graph.project_name) if is_root else criterion.value)


def _find_fqn(graph: SelectionGraph, criterion: Criterion) -> Iterable[str]:
    return graph.names.meant_by(criterion.value)


def _find_config(graph: SelectionGraph, criterion: Criterion) -> Iterable[str]:
    value = criterion.value
    if criterion.arguments == ("severity",):
        value = _AnyCase(value)
    for unique_id, entry in graph.entries.items():
        if entry.resource_type in _APART and entry.resource_type != "source":
            continue
        found = _descend(entry.config or {}, criterion.arguments)
        if any(_is_same(each, value) for each in (found if isinstance(found, list) else [found])):
            yield unique_id


class _AnyCase(str):
    """A text that is compared without regard to case."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return self.lower() == (other.lower() if isinstance(other, str) else other)


def _descend(config: Any, keys: Iterable[str]) -> Any:
    value = config
    for key in keys:
        # dbt looks for an attribute first: a key that is called like a method of a mapping is never found.
        if not isinstance(value, dict) or key not in value or (value is not config and hasattr(value, key)):
            return _NOTHING
        value = value[key]
    return value


def _is_same(found: Any, value: Any) -> bool:
    return bool(value == found) or (isinstance(found, bool) and str(value).lower() == str(found).lower())


def _find_resource_type(graph: SelectionGraph, criterion: Criterion) -> Iterable[str]:
    of_cosmos = DbtResourceType.SEMANTIC_METRIC_VIEW.value
    known = sorted({each.value for each in DbtResourceType} - {of_cosmos})
    if criterion.value not in (*known, of_cosmos):
        raise CosmosValueError(
            f"{criterion.value!r} is no resource type. dbt knows: {', '.join(known)}. Cosmos adds {of_cosmos}."
        )
    if criterion.value != of_cosmos:
        return (unique_id for unique_id, _ in graph.of_type(criterion.value))
    models = graph.of_type(DbtResourceType.MODEL.value)
    return (
        unique_id
        for unique_id, entry in models
        if str((entry.config or {}).get("materialized")).lower() in METRIC_VIEWS
    )


def _find_other_resource_types(graph: SelectionGraph, criterion: Criterion) -> Iterable[str]:
    of_type = set(_find_resource_type(graph, criterion))
    logger.info(
        "Selection item %s is a method of Cosmos. dbt's words: exclude=['resource_type:%s'].",
        criterion.shown,
        criterion.value,
    )
    return (unique_id for unique_id in graph.entries if unique_id not in of_type)


def _find_source(graph: SelectionGraph, criterion: Criterion) -> Iterable[str]:
    match criterion.value.split("."):
        case [source]:
            package, table = "*", "*"
        case [source, table]:
            package = "*"
        case [package, source, table]:
            pass
        case _:
            raise CosmosValueError("write source, source.table or package.source.table.")
    for unique_id, entry in graph.of_type("source"):
        names = (entry.package_name or "", entry.source_name or "", entry.name or "")
        if all(map(fnmatchcase, names, (package, source, table))):
            yield unique_id


def _by_name(resource_type: str) -> Callable[[SelectionGraph, Criterion], Iterable[str]]:
    """A finder for a resource type whose nodes have a name within their package."""

    def find_named(graph: SelectionGraph, criterion: Criterion) -> Iterable[str]:
        package, _, name = criterion.value.rpartition(".")
        if "." in package:
            raise CosmosValueError(f"write the name of the {resource_type}, or package.name.")
        for unique_id, entry in graph.of_type(resource_type):
            is_in_package = not _ or fnmatchcase(entry.package_name or "", package)
            if is_in_package and fnmatchcase(entry.name or "", name):
                yield unique_id

    return find_named


def _find_access(graph: SelectionGraph, criterion: Criterion) -> Iterable[str]:
    return (unique_id for unique_id, entry in graph.of_type("model") if entry.access == criterion.value)


def _find_test_type(graph: SelectionGraph, criterion: Criterion) -> Iterable[str]:
    if criterion.value not in _TEST_TYPES:
        raise CosmosValueError(f"{criterion.value!r} is no type of tests. dbt knows: {', '.join(_TEST_TYPES)}.")
    if criterion.value == "unit":
        return (unique_id for unique_id, _ in graph.of_type("unit_test"))
    wanted = {"generic": (True,), "schema": (True,), "singular": (False,), "data": (True, False)}[criterion.value]
    return (unique_id for unique_id, entry in graph.of_type("test") if (entry.test_metadata is not None) in wanted)


def _find_version(graph: SelectionGraph, criterion: Criterion) -> Iterable[str]:
    if criterion.value not in _VERSIONS:
        raise CosmosValueError(f"{criterion.value!r} is none of what dbt knows of versions: {', '.join(_VERSIONS)}.")
    for unique_id, entry in graph.of_type("model"):
        version, latest = entry.version, entry.latest_version
        if criterion.value == "none":
            is_found = version is None
        elif version is None or latest is None or (criterion.value != "latest" and not (version and latest)):
            is_found = False  # to dbt a version of 0 is neither old nor new
        else:
            order = _compare_versions(version, latest)
            is_found = order == _VERSIONS[criterion.value]
        if is_found:
            yield unique_id


def _compare_versions(left: str | float, right: str | float) -> int:
    try:
        numbers = float(left), float(right)
    except ValueError:
        texts = str(left), str(right)
        return (texts[0] > texts[1]) - (texts[0] < texts[1])
    return (numbers[0] > numbers[1]) - (numbers[0] < numbers[1])


def _refuse_comparison(_: SelectionGraph, criterion: Criterion) -> Iterable[str]:
    raise CosmosValueError(
        f"{criterion.method} compares with the artifacts of another run, which only dbt does. Load with "
        "LoadMode.DBT_LS and name the folder of that run as DBT_STATE in ProjectConfig.env_vars. Or let dbt select "
        'when a task runs: an operator of your own with this item as select, and state="last_success" or a folder '
        "(docs/reference/operators.md)."
    )


FINDERS: dict[str, Callable[[SelectionGraph, Criterion], Iterable[str]]] = {
    "access": _find_access,
    "config": _find_config,
    METHOD_OF_COSMOS: _find_other_resource_types,
    "exposure": _by_name("exposure"),
    "file": _by_label(_file_names),
    "fqn": _find_fqn,
    "group": _by_label(_group),
    "metric": _by_name("metric"),
    "package": _find_package,
    "path": _find_path,
    "resource_type": _find_resource_type,
    "result": _refuse_comparison,
    "saved_query": _by_name("saved_query"),
    "semantic_model": _by_name("semantic_model"),
    "source": _find_source,
    "source_status": _refuse_comparison,
    "state": _refuse_comparison,
    "tag": _by_label(tags_of),
    "test_name": _by_label(_test_names),
    "test_type": _find_test_type,
    "unit_test": _by_name("unit_test"),
    "version": _find_version,
}
"""The function for each of dbt's methods but ``selector``, and for a method of Cosmos."""
