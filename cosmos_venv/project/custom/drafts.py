"""A node as its files make it, before it is known which other nodes its references mean."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cosmos_venv.exceptions import CosmosLoadDbtException
from cosmos_venv.project.custom.code import Code, Ref
from cosmos_venv.project.entry import DependsOn, NodeEntry

logger = logging.getLogger(__name__)

_REFERRED_TO = ("model", "seed", "snapshot")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """:param path: the file whose code it is.
    :param reads: ids that are known already: the node of a test.
    """

    unique_id: str
    entry: NodeEntry
    path: Path
    code: Code = field(default_factory=Code)
    reads: tuple[str, ...] = ()


def resolved(drafts: Iterable[Draft]) -> dict[str, NodeEntry]:
    """Every entry by its id, with the ids of what it reads. What is disabled is left out, with its tests.

    What a reference names that is no node is a line in the log.

    :param drafts: those of the root project first.
    :raises CosmosLoadDbtException: where two files make one node.
    """
    enabled = _enabled(drafts)
    sources = _sources(enabled.values())
    found = _by_name(enabled.values())
    entries = {}
    for unique_id, draft in enabled.items():
        if any(each not in enabled for each in draft.reads):
            continue
        reads = [*draft.reads, *_read_sources(draft, sources)]
        for ref in draft.code.refs:
            meant = _meant(ref, draft.entry.package_name or "", found)
            if meant is None:
                logger.warning(
                    "%s: ref(%r) names nothing that this project has and does not disable.", draft.path, ref.name
                )
            else:
                reads.append(meant)
        for call in draft.code.unknown:
            logger.warning("%s: what %s names is known to dbt only; load the project with dbt ls.", draft.path, call)
        draft.entry.depends_on = DependsOn(nodes=list(dict.fromkeys(reads)))
        entries[unique_id] = draft.entry
    return entries


def _by_name(drafts: Iterable[Draft]) -> dict[tuple[str, str], list[Draft]]:
    """Under package and name what may be referred to; several where it has versions."""
    found: dict[tuple[str, str], list[Draft]] = {}
    for draft in drafts:
        if draft.entry.resource_type in _REFERRED_TO:
            found.setdefault((draft.entry.package_name or "", draft.entry.name or ""), []).append(draft)
    return found


def _meant(ref: Ref, package: str, found: dict[tuple[str, str], list[Draft]]) -> str | None:
    packages = [ref.package] if ref.package else [package, *(each for each, _ in found)]
    candidates = next((found[each, ref.name] for each in packages if (each, ref.name) in found), [])
    for draft in candidates:
        version, latest = draft.entry.version, draft.entry.latest_version
        if version is None or str(version) == (ref.version or str(latest)):
            return draft.unique_id
    return None


def _enabled(drafts: Iterable[Draft]) -> dict[str, Draft]:
    found: dict[str, Draft] = {}
    for draft in drafts:
        if (draft.entry.config or {}).get("enabled") is False:
            continue
        other = found.setdefault(draft.unique_id, draft)
        if other.path != draft.path and draft.entry.resource_type in _REFERRED_TO:
            raise CosmosLoadDbtException(
                f"{other.path} and {draft.path} both make {draft.unique_id}, which dbt refuses. Rename or disable one."
            )
        found[draft.unique_id] = draft
    return found


def _sources(drafts: Iterable[Draft]) -> dict[tuple[str, str], dict[str, str]]:
    """Under source and table the ids, by package."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for draft in drafts:
        if draft.entry.resource_type == "source":
            by_package = found.setdefault((draft.entry.source_name or "", draft.entry.name or ""), {})
            by_package[draft.entry.package_name or ""] = draft.unique_id
    return found


def _read_sources(draft: Draft, known: dict[tuple[str, str], dict[str, str]]) -> Iterator[str]:
    """Of the package of its own, else of the root project, else of the others in turn."""
    for source in draft.code.sources:
        by_package = known.get(source)
        if by_package is None:
            logger.warning("%s: source%r names nothing that this project has and does not disable.", draft.path, source)
        else:
            yield by_package.get(draft.entry.package_name or "") or next(iter(by_package.values()))
