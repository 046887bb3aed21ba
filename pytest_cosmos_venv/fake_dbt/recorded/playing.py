"""The answer of a recording to a call: a command that is played word for word, or ends of nodes in the script."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..command_line import Invocation
from ..script import Script, ScriptError, die
from . import layout
from .project import RecordedProject
from .recording import (
    WITHOUT_NODES,
    Answer,
    Command,
    Places,
    find_answer,
    read_recording,
    unmatched_message,
)

_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_PLACE = re.compile(r"^\d+ of \d+ ")


class RecordedCommands(NamedTuple):
    """What a recording has for one call of any dbt.

    :param commands: all its commands.
    :param answer: the one that answers the call, and how; None: none does.
    :param places: the paths of the call.
    """

    commands: list[Command]
    answer: Answer | None
    places: Places

    @classmethod
    def of(
        cls, invocation: Invocation, script: Script, read: Callable[[list[str]], Invocation], folder: Path, target: Path
    ) -> RecordedCommands:
        """Look for the answer to a call, and let nodes end as they are recorded where it is put together.

        :param invocation: the command line of the call.
        :param script: the rule that names the recording; it is changed.
        :param read: reads a command line of this dbt.
        :param folder: the folder of the project.
        :param target: the folder of the artifacts.
        """
        assert script.recording is not None  # else it is no such call
        commands = read_recording(script.recording, read)
        found = cls(commands, find_answer(commands, invocation, script, folder), Places.of(invocation, folder, target))
        if found.answer is not None and found.project is not None:
            chosen = {node.unique_id for node in found.project.work(invocation, with_added=False)}
            fill_script(found.answer, script, found.places, chosen)
        return found

    @property
    def project(self) -> RecordedProject | None:
        """The recorded nodes; None where a command is repeated word for word, or none answers."""
        return None if self.answer is None else self.answer.project

    def repeat(self, invocation: Invocation, script: Script, target: Path) -> int | None:
        """Repeat a command word for word, and return its exit code; None where the call has work of its own.

        :param invocation: the command line of the call.
        :param script: the rule that names the recording.
        :param target: the folder of the artifacts.
        :raises ScriptError: no recorded command answers the call.
        """
        if self.answer is not None and self.answer.project is None:
            return play(self.answer.command, script, self.places, target)
        if self.answer is None and invocation.command not in WITHOUT_NODES:
            raise ScriptError(unmatched_message(self.commands, invocation))
        return None


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
