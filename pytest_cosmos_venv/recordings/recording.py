"""A recording as a value: its commands are read, its nodes made to end otherwise, and it is written again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse, require, require_path, require_text
from pytest_cosmos_venv.fake_dbt import is_native
from pytest_cosmos_venv.fake_dbt.artifacts import BATCHES, FAILED, PARTIAL, native_status_refusal, status_refusal
from pytest_cosmos_venv.fake_dbt.command_line import Invocation, UsageError
from pytest_cosmos_venv.fake_dbt.native.call import native_message_of
from pytest_cosmos_venv.fake_dbt.native.command_line import NativeInvocation
from pytest_cosmos_venv.fake_dbt.node_run import message_of
from pytest_cosmos_venv.fake_dbt.project import Node, in_order
from pytest_cosmos_venv.fake_dbt.recorded import layout
from pytest_cosmos_venv.fake_dbt.recorded.project import RecordedProject

_FAILURES = {"test": "fail", "unit_test": "fail"}
_UNKNOWN_VERSION = "1.11.0"


@dataclass(frozen=True, kw_only=True)
class RecordedCommand:
    """One command of a recording.

    :param arguments: its command line without the executable; words such as ``<project>`` stand for paths.
    :param exit_code: the exit code; negative: the number of the signal that ended it.
    :param seconds: seconds from its start to its end.
    :param dbt_version: the version that it said; None where it said none.
    :param files: name -> text of each of its files, such as ``stdout.txt`` and ``artifacts/run_results.json``.
    """

    arguments: tuple[str, ...]
    exit_code: int
    seconds: float
    dbt_version: str | None
    files: Mapping[str, str] = field(repr=False)

    @property
    def command(self) -> str | None:
        """The command: ``run``, ``docs generate``, ``--version``; None where dbt would refuse the command line."""
        read = NativeInvocation if is_native(self.dbt_version or _UNKNOWN_VERSION) else Invocation
        try:
            return read(list(self.arguments)).command
        except UsageError:
            return None

    @property
    def stdout(self) -> str:
        """What it printed."""
        return self.files.get(layout.STDOUT, "")

    @property
    def stderr(self) -> str:
        """What it printed there."""
        return self.files.get(layout.STDERR, "")

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its JSON log, one event after another; empty where dbt wrote none."""
        lines = self.files.get(layout.EVENTS, "").split("\n")
        return [json.loads(line) for line in lines if line]

    def artifact(self, name: str) -> Any:
        """Return what an artifact holds; None where the command wrote none of that name.

        :param name: the name, such as ``run_results.json``.
        :raises ToolkitMisuse: it is no JSON.
        """
        path = f"{layout.ARTIFACTS_FOLDER}/{name}"
        text = self.files.get(path)
        if text is None:
            return None
        _check_json(f"dbt {' '.join(self.arguments)}: {path}", text)
        return json.loads(text)

    @property
    def nodes(self) -> dict[str, str]:
        """Unique id -> status of each node that ran, in their order."""
        results = (self.artifact(layout.RESULTS) or {}).get("results", ())
        return {row["unique_id"]: row["status"] for row in results}


@dataclass(frozen=True)
class Recording:
    """What the commands of one run did. ``fail``, ``warn``, ``skip`` and ``end`` return another one, edited.

    :param path: the folder that it was read from.
    :param files: path inside the folder -> text of every file.
    """

    path: Path
    files: Mapping[str, str] = field(repr=False)

    @cached_property
    def index(self) -> dict[str, Any]:
        """What ``recording.json`` holds."""
        index: dict[str, Any] = json.loads(self.files[layout.INDEX])
        return index

    @cached_property
    def commands(self) -> tuple[RecordedCommand, ...]:
        """The commands in the order in which they began."""
        return tuple(
            RecordedCommand(
                arguments=tuple(entry["arguments"]),
                exit_code=entry["exit_code"],
                seconds=entry.get("seconds", 0.0),
                dbt_version=entry.get("dbt_version"),
                files=self._files_below(entry["folder"]),
            )
            for entry in self.index["commands"]
        )

    @property
    def dbt_version(self) -> str:
        """The version of the first command that has said one; ``1.11.0`` where none has."""
        return next((each.dbt_version for each in self.commands if each.dbt_version), _UNKNOWN_VERSION)

    @property
    def nodes(self) -> dict[str, str]:
        """Unique id -> status of each node that ran; of one that ran several times, the last."""
        return {name: status for each in self.commands for name, status in each.nodes.items()}

    def fail(self, node: str, message: str | None = None) -> Recording:
        """Return a recording in which a node fails, and what lies behind it is skipped as dbt skips it.

        A model, seed or snapshot ends with ``error``, a test with ``fail``.

        :param node: the unique id or the name of the node.
        :param message: what the database said; None: a sentence that says that a test wants it so.
        :raises ToolkitMisuse: as for ``end``.
        """
        unique_id = self._id_of(node)
        kind = unique_id.partition(".")[0]
        native = is_native(self.dbt_version) and kind == "unit_test"
        return self.end(unique_id, "error" if native else _FAILURES.get(kind, "error"), message)

    def warn(self, node: str, message: str | None = None) -> Recording:
        """Return a recording in which a test warns.

        :param node: the unique id or the name of the test.
        :param message: its message; None: dbt's own.
        :raises ToolkitMisuse: as for ``end``.
        """
        return self.end(node, "warn", message)

    def skip(self, node: str) -> Recording:
        """Return a recording in which a node is skipped, and what lies behind it too.

        :param node: the unique id or the name of the node.
        :raises ToolkitMisuse: as for ``end``.
        """
        return self.end(node, "skipped")

    def end(self, node: str, status: str, message: str | None = None, *, failures: int | None = None) -> Recording:
        """Return a recording in which a node ends otherwise, in every command that ran it.

        The log, the other results and the exit code follow from it when it is replayed.

        :param node: the unique id or the name of the node.
        :param status: the status, such as ``error``, ``partial success``, ``skipped``, ``success``, ``warn``.
        :param message: its message; None: dbt's own for such a status.
        :param failures: the number of rows that a test found; None: one where it fails or warns.
        :raises ToolkitMisuse: no recorded command ran such a node, or it cannot end so.
        """
        unique_id = self._id_of(node)
        require_text(status, "status")
        if message is not None:
            require_text(message, "message")
        kind = unique_id.partition(".")[0]
        native = is_native(self.dbt_version)
        refusal = (native_status_refusal if native else status_refusal)(node, kind, status)
        if refusal is not None:
            raise ToolkitMisuse(refusal)
        changed = dict(self.files)
        for entry, command in zip(self.index["commands"], self.commands, strict=True):
            if unique_id in command.nodes:
                name = f"{entry['folder']}/{layout.ARTIFACTS_FOLDER}/{layout.RESULTS}"
                changed[name] = _edited(
                    command, self._manifest(command), unique_id, status, message, failures, native=native
                )
        return replace(self, files=changed)

    def save(self, path: Path | str) -> Path:
        """Write the recording into a folder, and return its path.

        :param path: the folder, which may be missing; a recording in it is replaced.
        :raises ToolkitMisuse: the folder holds something else, or a recording that cannot be read.
        """
        require_path(path, "path")
        folder = Path(path)
        if folder.is_dir() and any(folder.iterdir()) and not (folder / layout.INDEX).is_file():
            raise ToolkitMisuse(f"path={folder}: the folder holds no recording; give an empty or a missing one.")
        if (folder / layout.INDEX).is_file():
            import shutil

            for entry in read_recording(folder).index["commands"]:
                shutil.rmtree(folder / entry["folder"], ignore_errors=True)
        for name, text in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", newline="")
        return folder

    def _manifest(self, command: RecordedCommand) -> Mapping[str, Any]:
        """The manifest of a command; where it has none, the last one of the others."""
        found = (each.artifact(layout.MANIFEST) for each in (command, *reversed(self.commands)))
        manifest: Mapping[str, Any] = next(filter(None, found), {})
        return manifest

    def _files_below(self, folder: str) -> dict[str, str]:
        start = f"{folder}/"
        return {name[len(start) :]: text for name, text in self.files.items() if name.startswith(start)}

    def _id_of(self, node: str) -> str:
        require_text(node, "node")
        there = self.nodes
        found = [name for name in there if node == name or node == name.split(".")[2]]
        if len(found) == 1:
            return found[0]
        if found:
            raise ToolkitMisuse(f"node={node!r} means {', '.join(found)}: give the unique id of one of them.")
        raise ToolkitMisuse(
            f"node={node!r}: no recorded command ran such a node. Those that ran: {', '.join(there) or 'none'}."
        )


def read_recording(path: Path | str) -> Recording:
    """Return the recording in a folder.

    :param path: the folder, with its ``recording.json``.
    :raises ToolkitMisuse: it is no such folder, of another format, or a file in it cannot be read.
    """
    require_path(path, "path")
    folder = Path(path)
    if not (folder / layout.INDEX).is_file():
        below = sorted(str(each.parent.relative_to(folder)) for each in folder.glob(f"*/**/{layout.INDEX}"))
        hint = f" Below it there are: {', '.join(below)}." if below else " Make one with --cosmos-record=DIR."
        raise ToolkitMisuse(f"path={folder} is no recording: it has no {layout.INDEX}.{hint}")
    files = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and not name.startswith("."):
            files[name] = _text_of(file)
    recording = Recording(folder, files)
    _check(recording)
    return recording


def _check(recording: Recording) -> None:
    name = recording.path / layout.INDEX
    try:
        require(recording.index, layout.INDEX, dict, "an object with format and commands")
        index = recording.index
    except ValueError as error:
        raise ToolkitMisuse(f"{name} is no JSON: {error}.") from None
    found = index.get("format")
    if found != layout.FORMAT:
        raise ToolkitMisuse(f"{name} has format {found!r}; this toolkit reads {layout.FORMAT}. Record the run anew.")
    for entry in index["commands"]:
        lacking = [key for key in ("folder", "arguments", "exit_code") if key not in entry]
        if lacking:
            raise ToolkitMisuse(f"{name}: the command {entry!r} has no {lacking[0]!r}.")
        # save() removes this folder.
        if not _is_one_part(entry["folder"]):
            raise ToolkitMisuse(f"{name}: folder={entry['folder']!r}: name one folder beside it, such as 001-build.")
    for path, text in recording.files.items():
        # An artifact may be half a file: dbt was killed, or somebody wants it so.
        if path.endswith(f"/{layout.TIMES}"):
            _check_json(recording.path / path, text)
        elif path.endswith(".jsonl"):
            for number, line in enumerate(text.split("\n"), start=1):
                _check_json(f"{recording.path / path}, line {number}", line or "null")


def _is_one_part(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _check_json(place: object, text: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise ToolkitMisuse(f"{place} is no JSON: {error}. Mend it, or record the run anew.") from None


def _text_of(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            return opened.read()
    except UnicodeDecodeError as error:
        raise ToolkitMisuse(f"{file} is no text in UTF-8 ({error}): a recording holds texts alone.") from None


def _edited(
    command: RecordedCommand,
    manifest: Mapping[str, Any],
    unique_id: str,
    status: str,
    message: str | None,
    failures: int | None,
    *,
    native: bool,
) -> str:
    """The text of ``run_results.json`` in which a node ends otherwise, and what lies behind it is skipped."""
    results = command.artifact(layout.RESULTS)
    project = RecordedProject(Path(), dict(manifest), [row["unique_id"] for row in results["results"]])
    nodes = project.with_edges_of_tests(project.nodes) if command.command == "build" else project.nodes
    lost = {unique_id}
    for node in in_order(nodes) if status in (*FAILED, "skipped") else ():
        if lost.intersection(node.depends_on):
            lost.add(node.unique_id)
    known = {node.unique_id: node for node in nodes}
    rows = []
    for row in results["results"]:
        node = known[row["unique_id"]]
        if node.unique_id == unique_id:
            rows.append(_ended(row, node, status, message, failures, native=native))
        elif node.unique_id in lost:
            rows.append(_ended(row, node, "skipped", None, None, native=native))
        else:
            rows.append(row)
    return json.dumps({**results, "results": rows}, indent=2, ensure_ascii=False) + "\n"


def _ended(
    row: Mapping[str, Any], node: Node, status: str, message: str | None, failures: int | None, *, native: bool
) -> dict[str, Any]:
    """The row of a node with another end, as dbt would have written it."""
    is_test = "test" in node.kind
    if failures is None and is_test:
        failures = {"fail": 1, "warn": 1, "pass": 0}.get(status)
    said = native_message_of(node, status) if native else message_of(node, status, failures)
    new = {**row, "status": status, "message": message or said}
    if is_test or not native:
        new["failures"] = failures
    if native and failures is None:
        new.pop("failures", None)
    if status in ("skipped", *FAILED):
        new["adapter_response"] = {}
    if status == "skipped":
        new["execution_time"] = 0.0
        if not native:
            new |= {"timing": [], "compiled": False if node.kind != "seed" else None, "compiled_code": None}
    if status == PARTIAL:
        # The log has the words, run_results.json the count.
        new["batch_results"] = BATCHES
    return new
