"""A node as its files make it, before it is known which other nodes its references mean."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

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
    """
    enabled = {draft.unique_id: draft for draft in drafts if (draft.entry.config or {}).get("enabled") is not False}
    found = _by_name(enabled.values())
    entries = {}
    for unique_id, draft in enabled.items():
        if any(each not in enabled for each in draft.reads):
            continue
        reads = [*draft.reads, *(_source(source, draft) for source in draft.code.sources)]
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


def _source(source: tuple[str, str], draft: Draft) -> str:
    """In the package of its own; no other's are told apart by what the code says."""
    return f"source.{draft.entry.package_name}.{source[0]}.{source[1]}"
