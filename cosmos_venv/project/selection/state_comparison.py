"""The difference of a node from what it was in another run: ``state:``, ``result:`` and ``source_status:`` as in dbt.

:source: dbt's own comparison, attribute by attribute; the tests ask a real dbt about edits made by chance.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from cosmos_venv import settings
from cosmos_venv.exceptions import CosmosLoadDbtException, CosmosValueError
from cosmos_venv.files.os_errors import reason_of
from cosmos_venv.files.read_limits import decoded, read_file

Entry = Mapping[str, Any]
Check = Callable[["Comparison", "Entry | None", Entry], bool]

_SECTIONS = (
    "nodes",
    "sources",
    "exposures",
    "metrics",
    "semantic_models",
    "unit_tests",
    "saved_queries",
    "functions",
)
_CODE = ("model", "seed", "snapshot", "test", "analysis", "operation", "function")
# Keys of the configuration whose change is none of it: they belong to the relation, or to the node's place.
_NO_CONFIG = {"alias", "schema", "database", "tags", "group"}
# Only code has those; for all others each key counts.
_RELATION = ("database", "schema", "alias")
_REFERENCE = ("latest_version", "access", "deprecation_date")

# What is compared of those that have no code; None of them is a change by being new, but for a unit test.
_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "source": (
        "database",
        "schema",
        "identifier",
        "fqn",
        "unrendered_config",
        "quoting",
        "freshness",
        "loaded_at_field",
        "external",
    ),
    "exposure": ("fqn", "type", "owner", "maturity", "url", "description", "label", "unrendered_config"),
    "metric": ("type", "description", "label", "unrendered_config"),
    "semantic_model": (
        "model",
        "description",
        "defaults",
        "entities",
        "dimensions",
        "measures",
        "config",
        "primary_entity",
        "group",
    ),
    "saved_query": ("query_params", "description", "label", "config", "group", "exports", "tags"),
}


@dataclass(frozen=True)
class Comparison:
    """A comparison of the nodes of this run with those of another one.

    :param before: folder with the artifacts of the other run.
    :param content: the manifest of this one, as bytes.
    :param now: folder with the artifacts of this one, of which ``source_status:`` reads ``sources.json``.
    """

    before: Path
    content: bytes
    now: Path

    def state(self, ids: Iterable[str], value: str) -> Iterator[str]:
        """The nodes that are new, old, modified or unmodified.

        :param ids: unique ids of the nodes.
        :param value: what follows ``state:``, such as ``modified.body``.
        :raises CosmosValueError: for another value, or where there is no manifest to compare with.
        """
        check = _CHECKS.get(value)
        if check is None:
            raise CosmosValueError(f"{value!r} is no state. dbt knows: {', '.join(_CHECKS)}.")
        new, old = self._new, self._old
        return (unique_id for unique_id in ids if check(self, old.get(unique_id), new.get(unique_id, {})))

    def result(self, ids: Iterable[str], value: str) -> Iterator[str]:
        """The nodes that the other run ended with a status.

        :param ids: unique ids of the nodes.
        :param value: the status: ``error``.
        :raises CosmosValueError: where there are no results to compare with.
        """
        results = _results(self.before / "run_results.json", "dbt run or build")
        found = {result.get("unique_id") for result in results if result.get("status") == value}
        return (unique_id for unique_id in ids if unique_id in found)

    def source_status(self, ids: Iterable[str], value: str) -> Iterator[str]:
        """The sources that have been loaded since the other run.

        :param ids: unique ids of the nodes.
        :param value: ``fresher``; for any other value there are none.
        :raises CosmosValueError: where one of the runs has not looked.
        """
        before, now = (_loaded(folder / "sources.json") for folder in (self.before, self.now))
        fresher = {each for each, at in now.items() if value == "fresher" and (each not in before or at > before[each])}
        return (unique_id for unique_id in ids if unique_id in fresher)

    @cached_property
    def _current(self) -> Entry:
        try:
            content: Entry = decoded(self.content, msgspec.json.decode)
        except msgspec.DecodeError as error:
            raise CosmosLoadDbtException(f"The manifest that is compared cannot be read as a whole: {error}") from None
        return content

    @cached_property
    def _new(self) -> dict[str, Entry]:
        return _entries(self._current)

    @cached_property
    def _old(self) -> dict[str, Entry]:
        return _entries(self._previous)

    @cached_property
    def _previous(self) -> Entry:
        path = self.before / "manifest.json"
        return _checked(path, _artifact(path, "dbt parse or any other command"))

    @cached_property
    def _modified_macros(self) -> set[str]:
        old, new = (manifest.get("macros") or {} for manifest in (self._previous, self._current))
        return {
            each
            for each in old.keys() | new.keys()
            if each not in old or each not in new or old[each].get("macro_sql") != new[each].get("macro_sql")
        }

    def has_modified_macro(self, entry: Entry) -> bool:
        """Whether a macro that a node calls, or that one of these calls, is another.

        :param entry: the node, as the manifest of this run has it.
        """
        if not self._modified_macros:
            return False
        macros: Mapping[str, Entry] = self._current.get("macros") or {}
        seen: set[str] = set()
        waiting = _macros(entry)
        while waiting:
            macro = waiting.pop()
            if macro in self._modified_macros:
                return True
            if macro not in seen:
                seen.add(macro)
                waiting += _macros(macros.get(macro, {}))
        return False


def _macros(entry: Entry) -> list[str]:
    return [each for each in (entry.get("depends_on") or {}).get("macros") or [] if each]


def _is_modified(comparison: Comparison, old: Entry | None, new: Entry) -> bool:
    if not _has_same_contents(old, new) or comparison.has_modified_macro(new):
        return True
    return old is not None and old.get("resource_type") == "model" and not _has_same_contract(old, new)


def _has_same_contents(old: Entry | None, new: Entry) -> bool:
    kind = new.get("resource_type")
    if kind == "unit_test":
        return old is not None and old.get("checksum") == new.get("checksum")
    if kind in _ATTRIBUTES:
        return old is None or _is_same_apart_from_code(str(kind), old, new)
    if old is None:
        return False
    if not (_has_same_config(old, new) and old.get("fqn") == new.get("fqn")):
        return False
    if kind == "test" and new.get("test_metadata"):
        return True
    checks = (_has_same_body, _has_same_persisted_descriptions, _has_same_relation, _has_same_contract)
    if not all(check(old, new) for check in checks):
        return False
    names = _REFERENCE if kind == "model" else ("arguments", "returns") if kind == "function" else ()
    return all(old.get(name) == new.get(name) for name in names)


def _is_same_apart_from_code(kind: str, old: Entry, new: Entry) -> bool:
    for name in _ATTRIBUTES[kind]:
        is_same = _has_same_config(old, new) if name == "unrendered_config" else old.get(name) == new.get(name)
        if not is_same:
            return False
    return kind != "exposure" or _reads(old) == _reads(new)


def _reads(entry: Entry) -> set[str]:
    return set((entry.get("depends_on") or {}).get("nodes") or [])


def _has_same_body(old: Entry, new: Entry) -> bool:
    name = "checksum" if new.get("resource_type") == "seed" else "raw_code"
    return bool(old.get(name) == new.get(name))


def _has_same_config(old: Entry, new: Entry) -> bool:
    kind = new.get("resource_type")
    if kind in ("semantic_model", "saved_query"):
        return bool(old.get("config") == new.get("config"))
    ignored = _NO_CONFIG if kind in _CODE else {"group"} if kind == "metric" else set()
    configs = (entry.get("unrendered_config") or {} for entry in (old, new))
    mine, others = ({key: value for key, value in config.items() if key not in ignored} for config in configs)
    return mine == others


def _has_same_relation(old: Entry, new: Entry) -> bool:
    if new.get("resource_type") == "source":
        return all(old.get(name) == new.get(name) for name in ("database", "schema", "identifier"))
    configs = [entry.get("unrendered_config") or {} for entry in (old, new)]
    return all(configs[0].get(name) == configs[1].get(name) for name in _RELATION)


def _has_same_persisted_descriptions(old: Entry, new: Entry) -> bool:
    persisted = (new.get("config") or {}).get("persist_docs") or {}
    if persisted.get("relation") and old.get("description") != new.get("description"):
        return False
    if not persisted.get("columns"):
        return True
    columns = (
        {name: column.get("description") for name, column in (each.get("columns") or {}).items()} for each in (old, new)
    )
    mine, others = columns
    return mine == others


def _has_same_contract(old: Entry, new: Entry) -> bool:
    # Whether a change of it breaks the readers of the model, which dbt says when it runs, is not looked at.
    if new.get("resource_type") != "model":
        return True
    mine, others = (entry.get("contract") or {} for entry in (new, old))
    if not mine.get("enforced"):
        return not others.get("enforced")
    return bool(others.get("enforced")) and mine.get("checksum") == others.get("checksum")


def _part(has_same: Callable[[Entry, Entry], bool], *kinds: str) -> Check:
    """A check of one attribute, of the kinds that have it: what is new differs in each."""

    def differs(_: Comparison, old: Entry | None, new: Entry) -> bool:
        return new.get("resource_type") in kinds and (old is None or not has_same(old, new))

    return differs


_CHECKS: dict[str, Check] = {
    "new": lambda _, old, __: old is None,
    "old": lambda _, old, __: old is not None,
    "modified": _is_modified,
    "unmodified": lambda comparison, old, new: not _is_modified(comparison, old, new),
    "modified.body": _part(_has_same_body, *_CODE),
    "modified.configs": _part(
        _has_same_config, *_CODE, "source", "exposure", "metric", "semantic_model", "saved_query"
    ),
    "modified.persisted_descriptions": _part(_has_same_persisted_descriptions, *_CODE),
    "modified.relation": _part(_has_same_relation, *_CODE, "source"),
    "modified.macros": lambda comparison, _, new: comparison.has_modified_macro(new),
    "modified.contract": _part(_has_same_contract, *_CODE),
}


def _entries(manifest: Entry) -> dict[str, Entry]:
    return {unique_id: entry for section in _SECTIONS for unique_id, entry in (manifest.get(section) or {}).items()}


def _checked(path: Path, manifest: Entry) -> Entry:
    """The manifest, whose sections are mappings of mappings, as everything after this takes them."""
    for section in (*_SECTIONS, "macros"):
        given = {} if manifest.get(section) is None else manifest[section]
        if not isinstance(given, dict) or not all(isinstance(entry, dict) for entry in given.values()):
            raise CosmosLoadDbtException(
                f"{path} is compared with and is no manifest of dbt: {section} is no mapping of entries."
            )
    return manifest


def _results(path: Path, made_by: str) -> list[Entry]:
    results = _artifact(path, made_by).get("results") or []
    if not isinstance(results, list):
        raise CosmosLoadDbtException(f"{path} is compared with and is no artifact of dbt: results is no list.")
    return [result for result in results if isinstance(result, dict)]


def _loaded(path: Path) -> dict[str, datetime.datetime]:
    found = {}
    for result in _results(path, "dbt source freshness"):
        if isinstance(at := result.get("max_loaded_at"), str):
            found[str(result.get("unique_id"))] = _time(path, at)
    return found


def _time(path: Path, text: str) -> datetime.datetime:
    """One without a zone is UTC, as dbt has it."""
    try:
        found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as error:
        raise CosmosLoadDbtException(f"{path} is compared with and has max_loaded_at {text!r}: {error}.") from None
    return found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)


def _artifact(path: Path, made_by: str) -> Entry:
    try:
        content = decoded(read_file(path, settings.limit("artifact_max_bytes")), msgspec.json.decode)
    except OSError as error:
        raise CosmosValueError(
            f"{path} is compared with and cannot be read: "
            + reason_of(error, f"Put there what {made_by} has written, or correct DBT_STATE.")
        ) from None
    except msgspec.DecodeError as error:
        raise CosmosLoadDbtException(f"{path} is compared with and is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise CosmosLoadDbtException(
            f"{path} is compared with and is no artifact of dbt, but a {type(content).__name__}."
        )
    return content
