"""A recording of dbt 1 as a test writes it by hand: a seed, two models behind each other, a test, one that fails."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NODES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "seed.shop.piers": ("success", ()),
    "model.shop.orders": ("success", ("seed.shop.piers",)),
    "test.shop.unique_orders_id.1a2b": ("pass", ("model.shop.orders",)),
    "model.shop.totals": ("success", ("model.shop.orders",)),
    "model.shop.broken": ("error", ()),
    "model.shop.below": ("skipped", ("model.shop.broken",)),
}
"""Unique id -> status, and the nodes that it reads."""


def node_info(unique_id: str) -> dict[str, Any]:
    kind, _, name, *_ = unique_id.split(".")
    return {"unique_id": unique_id, "node_name": name, "resource_type": kind}


def events() -> list[dict[str, Any]]:
    found = [{"data": {"stat_line": "much"}, "info": {"name": "FoundStats", "msg": "Found much", "level": "info"}}]
    for place, (name, (status, _)) in enumerate(NODES.items(), start=1):
        common: dict[str, Any] = {"index": place, "total": len(NODES), "node_info": node_info(name)}
        if status == "skipped":
            found.append(_event("SkippingDetails", f"{place} of {len(NODES)} SKIP recorded {name}", **common))
            continue
        found.append(_event("LogStartLine", f"{place} of {len(NODES)} START recorded {name}", **common))
        found.append(_event("SQLQuery", f"select {name}", "debug", node_info=node_info(name)))
        found.append(_event("LogModelResult", f"{place} of {len(NODES)} DONE recorded {name}", **common))
        ended: dict[str, Any] = {"node_info": node_info(name), "run_result": {"status": status}}
        found.append(_event("NodeFinished", f"Finished {name}", "debug", **ended))
    return found


def _event(name: str, msg: str, level: str = "info", **data: Any) -> dict[str, Any]:
    return {"data": data, "info": {"name": name, "msg": msg, "level": level}}


def row(unique_id: str, status: str) -> dict[str, Any]:
    timing = [{"name": "execute", "started_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-01T00:00:01Z"}]
    return {
        "status": status,
        "timing": [] if status == "skipped" else timing,
        "thread_id": "Thread-1",
        "execution_time": 0.25,
        "adapter_response": {} if status in ("error", "skipped") else {"_message": "RECORDED 7", "rows_affected": 7},
        "message": {"error": "Database Error in model broken", "success": "RECORDED 7"}.get(status),
        "failures": 0 if unique_id.startswith("test") else None,
        "unique_id": unique_id,
        "compiled": True,
        "compiled_code": "select '<project>'",
        "relation_name": "recorded",
        "batch_results": None,
    }


def manifest() -> dict[str, Any]:
    nodes = {
        name: {
            "name": name.split(".")[2],
            "resource_type": name.split(".")[0],
            "package_name": "shop",
            "unique_id": name,
            "original_file_path": f"models/{name.split('.')[2]}.sql",
            "fqn": ["shop", name.split(".")[2]],
            "tags": ["daily"] if name.endswith("orders") else [],
            "config": {"materialized": "view"},
            "schema": "port",
            "depends_on": {"nodes": list(above)},
        }
        for name, (_, above) in NODES.items()
    }
    return {"metadata": {"project_name": "shop"}, "nodes": nodes, "root": "<project>/models"}


def write_recording(folder: Path, *extra: tuple[Sequence[str], int, str]) -> Path:
    """Write a recording of one ``dbt build``, and of further commands: arguments, exit code and stdout of each."""
    results = json.dumps({"results": [row(name, status) for name, (status, _) in NODES.items()]})
    files = {
        "stdout.txt": "Running\n<project>/models is read\nDone. no end",
        "stderr.txt": "trouble\n",
        "events.jsonl": "".join(json.dumps(each) + "\n" for each in events()),
        "artifacts/run_results.json": results,
        "artifacts/manifest.json": json.dumps(manifest()),
    }
    entry = {
        "folder": "001-build",
        "arguments": ["build", "--project-dir", "<project>"],
        "exit_code": 1,
        "seconds": 0.04,
        "log_format": "text",
        "dbt_version": "1.11.2",
    }
    commands = [entry]
    for number, (arguments, exit_code, stdout) in enumerate(extra, start=2):
        name = f"{number:03d}-more"
        commands.append({"folder": name, "arguments": list(arguments), "exit_code": exit_code, "log_format": "text"})
        files |= {f"../{name}/stdout.txt": stdout}
    for path, text in files.items():
        file = folder / "001-build" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        (folder / "001-build").mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    index = {"format": 1, "commands": commands}
    (folder / "recording.json").write_text(json.dumps(index), encoding="utf-8")
    return folder
