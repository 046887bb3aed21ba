"""The artifacts that a call of the fake dbt leaves behind, with every field that their schemas require."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .log import Console, Log, now
from .project import Node
from .whole_writes import write_whole

ARTIFACTS = ("manifest.json", "run_results.json", "sources.json")
PARTIAL = "partial success"
"""The status of a microbatch model of which some batches have failed; dbt fails with it."""
FAILED = ("error", "fail", PARTIAL, "runtime error")
STATUSES = (*FAILED, "success", "skipped", "no-op", "pass", "warn")
_OF_A_TEST = ("error", "fail", "pass", "skipped", "warn")
_OF_A_NODE = ("error", "no-op", "skipped", "success")
_STATUSES_OF = {
    "test": _OF_A_TEST,
    "unit_test": _OF_A_TEST,
    "source": ("error", "pass", "runtime error", "warn"),
    "model": (*_OF_A_NODE, PARTIAL),
    **dict.fromkeys(("seed", "snapshot"), _OF_A_NODE),
}
_NATIVE_STATUSES_OF = {
    **dict.fromkeys(("model", "seed", "snapshot"), ("error", "skipped", "success")),
    "test": ("fail", "pass", "skipped", "warn"),
    "unit_test": ("error", "pass", "skipped"),
}
_DAYS = [f"2026-01-0{day}T00:00:00+00:00" for day in (1, 2, 3)]
BATCHES = {"successful": [_DAYS[:2]], "failed": [_DAYS[1:]]}

_VERSIONS = {"manifest": "v12", "run-results": "v6", "sources": "v3", "catalog": "v1"}
SCHEMAS = {name: f"https://schemas.getdbt.com/dbt/{name}/{version}.json" for name, version in _VERSIONS.items()}
"""Kind of artifact -> the address of its schema."""
_MANIFEST_KEYS = (
    "sources",
    "macros",
    "docs",
    "exposures",
    "metrics",
    "groups",
    "selectors",
    "disabled",
    "group_map",
    "saved_queries",
    "semantic_models",
    "unit_tests",
)


class NodeResult(NamedTuple):
    """The end of one node.

    :param node: the node.
    :param status: the status, as dbt writes it.
    :param message: the message in ``run_results.json``; None: there is none.
    :param failures: the number of rows that a test found; None for other nodes.
    :param started_at: the time at which it began, as dbt writes it.
    :param seconds: seconds since the call began its nodes.
    """

    node: Node
    status: str
    message: str | None
    failures: int | None
    started_at: str
    seconds: float

    @property
    def has_failed(self) -> bool:
        """Whether dbt counts the status as a failure."""
        return self.status in FAILED


def manifest_document(metadata: Mapping[str, Any], entries: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the content of a manifest: every section that dbt's schema wants, and the edges.

    :param metadata: the metadata.
    :param entries: unique id -> entry of every node, source, exposure and unit test.
    """
    sections: dict[str, dict[str, Any]] = {"nodes": {}, **{key: {} for key in _MANIFEST_KEYS}}
    for unique_id, entry in entries.items():
        sections.get(f"{entry['resource_type']}s", sections["nodes"])[unique_id] = entry
    parents = {name: sorted((each.get("depends_on") or {}).get("nodes") or ()) for name, each in entries.items()}
    children: dict[str, list[str]] = {name: [] for name in parents}
    for name in sorted(parents):
        for parent in children.keys() & parents[name]:
            children[parent].append(name)
    return {"metadata": metadata, **sections, "parent_map": parents, "child_map": children}


class Artifacts:
    """The artifacts of one call, in its target folder. ``scripted`` are the scripted artifacts still to be written.

    :param target: the target folder; made when the first artifact is written.
    :param log: the log of the call, for its id and its beginning.
    :param dbt_version: the version that the fake says of itself.
    :param scripted: artifact -> content that the script gives in place of dbt's own; None: no file.
    :param wanted: whether artifacts are written; False under ``--no-write-json``.
    """

    statuses_of: Mapping[str, tuple[str, ...]] = _STATUSES_OF

    def __init__(
        self, target: Path, log: Log | Console, dbt_version: str, scripted: dict[str, Any], *, wanted: bool
    ) -> None:
        self._target = target
        self._log = log
        self._dbt_version = dbt_version
        self.scripted = dict(scripted)
        self._wanted = wanted

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write one artifact, or the script's content for it.

        :param name: the name of the file.
        :param content: the content that dbt would write.
        """
        if not self._wanted:
            return
        scripted = self.scripted.pop(name, content)
        if scripted is None:
            return
        self._target.mkdir(parents=True, exist_ok=True)
        text = scripted if isinstance(scripted, str) else json.dumps(scripted)
        write_whole(self._target / name, text)

    def write_scripted(self) -> None:
        """Write the artifacts that the script gives and the command itself did not write."""
        for name in list(self.scripted):
            self.write(name, {})

    def write_run_results(
        self, results: Iterable[NodeResult], command: str, seconds: float, args: dict[str, Any]
    ) -> None:
        """Write ``run_results.json``.

        :param results: the nodes that have ended.
        :param command: the command, such as ``run``.
        :param seconds: seconds that the call has taken.
        :param args: further entries of ``args`` in the file.
        """
        newer = {"overload_results": None} if self.is_1_12 else {}
        self.write(
            "run_results.json",
            {
                "metadata": self.metadata("run-results"),
                "results": [{**_run_result(result), **newer} for result in results],
                "elapsed_time": seconds,
                "args": {"which": command, **args},
            },
        )

    @property
    def is_1_12(self) -> bool:
        """Whether it is dbt 1.12 or later."""
        return tuple(int(part) for part in self._dbt_version.split(".")[:2]) >= (1, 12)

    def write_sources(self, results: Iterable[NodeResult], seconds: float) -> None:
        """Write ``sources.json``.

        :param results: the sources whose freshness was checked.
        :param seconds: seconds that the call has taken.
        """
        self.write(
            "sources.json",
            {
                "metadata": self.metadata("sources"),
                "results": [_freshness(result) for result in results],
                "elapsed_time": seconds,
            },
        )

    def write_manifest(self, project: str, adapter: str, nodes: list[Node]) -> None:
        """Write ``manifest.json``: the nodes that ``dbt ls`` lists without a selection, and their edges.

        :param project: the name of the project.
        :param adapter: the name of the adapter.
        :param nodes: the nodes.
        """
        metadata = {**self.metadata("manifest"), "project_name": project, "adapter_type": adapter}
        entries = {node.unique_id: self.facts(node) for node in nodes}
        self.write("manifest.json", {**manifest_document(metadata, entries), "functions": {}})

    def status_refusal(self, name: str, kind: str, status: str) -> str | None:
        """Return why a node of a kind cannot end with a status; None where it can.

        :param name: the name or unique id of the node, for the text.
        :param kind: the kind of the node.
        :param status: the status.
        """
        known = self.statuses_of.get(kind, ())
        if status in known:
            return None
        reason = f"a {kind} does not end so; give one of {', '.join(known)}" if known else f"no {kind} is run"
        return f"nodes={{{name!r}: {status!r}}}: in dbt {self._dbt_version} {reason}."

    @staticmethod
    def facts(node: Node) -> dict[str, Any]:
        """Return the entry of a node in the manifest and in ``dbt ls``.

        :param node: the node.
        """
        return node.entry

    def write_catalog(self) -> None:
        """Write ``catalog.json``."""
        self.write("catalog.json", {"metadata": self.metadata("catalog"), "nodes": {}, "sources": {}, "errors": None})

    def metadata(self, schema: str) -> dict[str, Any]:
        """Return the metadata of an artifact.

        :param schema: the name of its schema, such as ``run-results``.
        """
        return {
            "dbt_schema_version": SCHEMAS[schema],
            "dbt_version": self._dbt_version,
            "generated_at": now(),
            "invocation_id": self._log.invocation_id,
            "invocation_started_at": self._log.started_at,
            "env": {},
        }


class NativeArtifacts(Artifacts):
    """The artifacts of one call of dbt 2, in its target folder."""

    statuses_of = _NATIVE_STATUSES_OF

    @staticmethod
    def facts(node: Node) -> dict[str, Any]:
        """Return dbt 2's entry of a node in the manifest and in ``dbt ls --output json``.

        :param node: the node.
        """
        facts = dict(node.entry)
        if node.kind == "seed":
            facts["config"] = {**facts["config"], "materialized": None}
        if node.kind != "unit_test":
            facts.setdefault("alias", node.name if node.kind == "source" else "")
        if "test_metadata" in facts:  # dbt 2 generates the SQL of such a test from YAML
            facts["original_file_path"] = f"target/generic_tests/{facts['path']}"
        macros = (facts.get("depends_on") or {}).get("macros", [])
        return {**facts, "depends_on": {"macros": macros, "nodes": list(node.depends_on)}}

    def write_native_results(self, results: Iterable[NodeResult], command: str, seconds: float) -> None:
        """Write ``run_results.json``.

        :param results: the nodes that have ended.
        :param command: the command, such as ``run``.
        :param seconds: seconds that the call has taken.
        """
        metadata = self.metadata("run-results")
        del metadata["invocation_started_at"]
        other = {"command": command, "static_analysis": None, "which": command}
        content = {
            "metadata": metadata,
            "results": [_native_result(result) for result in results],
            "elapsed_time": seconds,
            "args": {"command": command, "which": command, "__other__": other},
        }
        self.write("run_results.json", content)


def node_info(node: Node, status: str, relation: dict[str, str]) -> dict[str, Any]:
    """Return the ``node_info`` of an event.

    :param node: the node.
    :param status: its status at that time.
    :param relation: the event's facts about the node's relation.
    """
    return {
        "materialized": node.materialized,
        "node_checksum": node.checksum,
        "node_finished_at": "" if status in ("started", "executing") else now(),
        "node_name": node.name,
        "node_path": node.path,
        "node_relation": relation,
        "node_started_at": now(),
        "node_status": status,
        "resource_type": node.kind,
        "unique_id": node.unique_id,
    }


def _run_result(result: NodeResult) -> dict[str, Any]:
    node = result.node
    ran = result.status not in ("skipped", "no-op")
    succeeded = result.status in ("success", "pass", "warn", "fail")
    return {
        "status": result.status,
        "timing": _timing(result) if ran else [],
        "thread_id": "Thread-1 (worker)",
        "execution_time": result.seconds,
        "adapter_response": {"_message": "OK"} if succeeded else {},
        "message": result.message,
        "failures": result.failures,
        "unique_id": node.unique_id,
        "compiled": None if node.kind == "seed" else ran,
        "compiled_code": None if node.kind == "seed" or not ran else "",
        "relation_name": None if node.kind in ("test", "unit_test") else f'"dev"."main"."{node.name}"',
        "batch_results": BATCHES if result.status == PARTIAL else None,
    }


def _native_result(result: NodeResult) -> dict[str, Any]:
    ran = result.status in ("success", "pass", "warn", "fail")
    answer: dict[str, Any] = {
        "status": result.status,
        "timing": _timing(result),
        "thread_id": "Thread-0" if result.status == "skipped" else "Thread-1",
        "execution_time": result.seconds,
        "adapter_response": {"rows_affected": 0} if ran and "test" not in result.node.kind else {},
        "message": result.message,
    }
    if result.node.kind == "test" and result.failures is not None:
        answer["failures"] = result.failures
    answer["unique_id"] = result.node.unique_id
    if "test" not in result.node.kind:
        answer["relation_name"] = f'"dev"."main"."{result.node.name}"'
    return answer


def _freshness(result: NodeResult) -> dict[str, Any]:
    if result.status == "runtime error":
        return {"unique_id": result.node.unique_id, "error": result.message, "status": result.status}
    return {
        "unique_id": result.node.unique_id,
        "max_loaded_at": result.started_at,
        "snapshotted_at": result.started_at,
        "max_loaded_at_time_ago_in_s": 0.0,
        "status": result.status,
        "criteria": {
            "warn_after": {"count": None, "period": None},
            "error_after": {"count": None, "period": None},
            "filter": None,
        },
        "adapter_response": {},
        "timing": _timing(result),
        "thread_id": "Thread-1 (worker)",
        "execution_time": result.seconds,
    }


def _timing(result: NodeResult) -> list[dict[str, str]]:
    times = {"started_at": result.started_at, "completed_at": now()}
    return [{"name": "compile", **times}, {"name": "execute", **times}]
