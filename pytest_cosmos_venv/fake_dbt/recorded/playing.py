"""One recorded command is played: its lines in their order, its artifacts, its end."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..script import Script, die
from . import layout
from .recording import Answer, Command, Places

_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_PLACE = re.compile(r"^\d+ of \d+ ")


def play(command: Command, script: Script, places: Places, target: Path) -> int:
    """Repeat a command word for word, and return its exit code; die of the signal of which it died.

    :param command: the recorded command.
    :param script: the rule that names the recording.
    :param places: the paths of this call.
    :param target: the folder of the artifacts.
    """
    began = time.monotonic()
    for stream, seconds, line in _lines(command):
        if script.speed:
            time.sleep(max(0.0, seconds / script.speed - (time.monotonic() - began)))
        file = sys.stdout if stream == 1 else sys.stderr
        file.write(places.filled(line, is_json=line.startswith("{")))
        file.flush()
    if script.speed:
        time.sleep(max(0.0, command.entry.get("seconds", 0) / script.speed - (time.monotonic() - began)))
    for name in layout.ARTIFACTS:
        text = command.text(f"{layout.ARTIFACTS_FOLDER}/{name}")
        if text is not None:
            write_artifact(target, name, places.filled(text, is_json=True))
    for unique_id, row in command.rows.items():
        script.record_end(unique_id, str(row["status"]))
    exit_code = int(command.entry["exit_code"])
    if exit_code < 0:
        die(-exit_code)
    return exit_code


def fill_script(answer: Answer, script: Script, places: Places, selected: set[str]) -> None:
    """Let the nodes of a call end as they are recorded.

    :param answer: the recorded command.
    :param script: the rule of this call, which is changed.
    :param places: the paths of this call.
    :param selected: the unique ids of the nodes that the call selects.
    """
    command = answer.command
    rows = command.rows
    script.nodes = {
        name: {
            "status": row["status"],
            "message": row.get("message") or row.get("error"),
            "failures": row.get("failures"),
        }
        for name, row in rows.items()
    }
    for name in (layout.MANIFEST, "catalog.json"):
        text = command.text(f"{layout.ARTIFACTS_FOLDER}/{name}")
        if text is not None and (name == layout.MANIFEST or command.name == "docs generate"):
            script.artifacts[name] = places.filled(text, is_json=True)
    results = command.artifact(command.results_name)
    if results is not None and selected:
        results["results"] = [row for name, row in rows.items() if name in selected]
        script.artifacts[command.results_name] = places.filled(json.dumps(results), is_json=True)


def renumbered(event: dict[str, Any], position: int, total: int) -> dict[str, Any]:
    """Return the event of a node with another place among all nodes: ``1 of 1`` in place of ``4 of 7``.

    :param event: the event.
    :param position: the place of the node, from 1.
    :param total: the number of all nodes.
    """
    data, info = event["data"], event["info"]
    # The event of a test counts models.
    numbers = {"index": position, **{name: total for name in ("total", "num_models") if name in data}}
    message = _COLOUR.sub("", str(info["msg"]))
    if "index" in data:
        data = {**data, **numbers}
        message = _PLACE.sub(f"{position} of {total} ", message)
    return {"data": data, "info": {**info, "msg": message}}


def write_artifact(target: Path, name: str, text: str) -> None:
    """Write one artifact in one step.

    :param target: the folder of the artifacts; made when it is missing.
    :param name: the name of the artifact.
    :param text: its content.
    """
    target.mkdir(parents=True, exist_ok=True)
    draft = target / f".{name}-replay"
    draft.write_text(text, encoding="utf-8")
    draft.replace(target / name)


def _lines(command: Command) -> Iterator[tuple[int, float, str]]:
    """Yield stream, seconds and text of each line; where lines were added or taken out by hand, the seconds go on."""
    texts = {1: command.text(layout.STDOUT) or "", 2: command.text(layout.STDERR) or ""}
    left = {stream: text.split("\n") for stream, text in texts.items()}
    seconds = 0.0
    for stream, seconds in json.loads(command.text(layout.TIMES) or "[]"):
        if len(left[stream]) > 1:
            yield stream, seconds, left[stream].pop(0) + "\n"
    for stream in (1, 2):
        *whole, last = left[stream]
        for line in whole:
            yield stream, seconds, line + "\n"
        if last:
            yield stream, seconds, last
