"""A recording as a value: its commands, with their output, events, artifacts and nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pytest_cosmos_venv.errors import ToolkitMisuse
from pytest_cosmos_venv.fake_dbt import recorded
from pytest_cosmos_venv.fake_dbt.rules import read_line

_UNKNOWN_VERSION = "1.11.0"


@dataclass(frozen=True, kw_only=True)
class RecordedCommand:
    """One command of a recording.

    :param arguments: its command line without the executable; words such as ``<project>`` stand for paths.
    :param exit_code: the exit code; negative: the number of the signal that ended the command.
    :param seconds: seconds from its start to its end.
    :param dbt_version: the version of dbt in its artifacts; None where they name none.
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
        line = read_line(self.arguments, self.dbt_version or _UNKNOWN_VERSION)
        return None if line is None else line.command

    @property
    def stdout(self) -> str:
        """The text that it wrote to stdout."""
        return self.files.get(recorded.STDOUT, "")

    @property
    def stderr(self) -> str:
        """The text that it wrote to stderr."""
        return self.files.get(recorded.STDERR, "")

    @property
    def events(self) -> list[dict[str, Any]]:
        """Its JSON log, one event after another; empty where dbt wrote none."""
        lines = self.files.get(recorded.EVENTS, "").split("\n")
        return [_loaded(f"{recorded.EVENTS}, line {at}", line) for at, line in enumerate(lines, start=1) if line]

    def artifact(self, name: str) -> Any:
        """Return the content of an artifact; None where the command did not write the artifact.

        :param name: the name, such as ``run_results.json``.
        :raises ToolkitMisuse: the artifact is no JSON.
        """
        path = f"{recorded.ARTIFACTS_FOLDER}/{name}"
        text = self.files.get(path)
        return None if text is None else _loaded(f"dbt {' '.join(self.arguments)}: {path}", text)

    @property
    def nodes(self) -> dict[str, str]:
        """Unique id -> status of each node that ran, in their order."""
        results = (self.artifact(recorded.RESULTS) or {}).get("results", ())
        return {row["unique_id"]: row["status"] for row in results}


@dataclass(frozen=True)
class Recording:
    """The recorded commands of one run.

    :param path: the folder of the recording.
    :param files: path inside the folder -> text of every file.
    """

    path: Path
    files: Mapping[str, str] = field(repr=False)

    @cached_property
    def index(self) -> dict[str, Any]:
        """What ``recording.json`` holds."""
        index: dict[str, Any] = _loaded(self.path / recorded.INDEX, self.files[recorded.INDEX])
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
        """The version of dbt in the first command that names one; ``1.11.0`` where no command does."""
        return next((each.dbt_version for each in self.commands if each.dbt_version), _UNKNOWN_VERSION)

    @property
    def nodes(self) -> dict[str, str]:
        """Unique id -> status of each node that ran; a node that ran several times has its last status."""
        return {name: status for each in self.commands for name, status in each.nodes.items()}

    def _files_below(self, folder: str) -> dict[str, str]:
        start = f"{folder}/"
        return {name[len(start) :]: text for name, text in self.files.items() if name.startswith(start)}


def read_recording(path: Path | str) -> Recording:
    """Return the recording in a folder.

    :param path: the folder, with its ``recording.json``.
    :raises ToolkitMisuse: the folder has no recording or one of another format, or a file in it cannot be read.
    """
    folder = Path(path)
    if not (folder / recorded.INDEX).is_file():
        below = sorted(str(each.parent.relative_to(folder)) for each in folder.glob(f"*/**/{recorded.INDEX}"))
        hint = f" Below it there are: {', '.join(below)}." if below else " Make one with --cosmos-record=DIR."
        raise ToolkitMisuse(f"path={folder} is no recording: it has no {recorded.INDEX}.{hint}")
    files = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and not name.startswith("."):
            files[name] = _text_of(file)
    recording = Recording(folder, files)
    _check(recording)
    return recording


def _check(recording: Recording) -> None:
    name = recording.path / recorded.INDEX
    index: Any = recording.index  # a person may have changed it
    found = index.get("format") if isinstance(index, dict) else None
    if found != recorded.FORMAT:
        raise ToolkitMisuse(f"{name} has format {found!r}; this toolkit reads {recorded.FORMAT}. Record the run anew.")
    for entry in index["commands"]:
        lacking = [key for key in ("folder", "arguments", "exit_code") if key not in entry]
        if lacking:
            raise ToolkitMisuse(f"{name}: the command {entry!r} has no {lacking[0]!r}.")


def _loaded(place: object, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ToolkitMisuse(f"{place} is no JSON: {error}. Mend it, or record the run anew.") from None


def _text_of(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            return opened.read()
    except UnicodeDecodeError as error:
        raise ToolkitMisuse(f"{file} is no text in UTF-8 ({error}): a recording holds texts alone.") from None
