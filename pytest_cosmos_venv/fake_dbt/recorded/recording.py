"""A recording, as one call of the fake dbt reads it, and the recorded command that answers the call."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..artifacts import FAILED
from ..command_line import Invocation, UsageError
from ..log import setting, switch
from ..script import SELECTING, Script, ScriptError
from . import layout
from .project import RecordedProject

NODE_COMMANDS = ("run", "build", "seed", "snapshot", "test", "retry", "clone", "source freshness")
_FROM_A_MANIFEST = ("ls", "list", "parse", "compile", "show", "docs generate")
WITHOUT_NODES = ("--version", "deps", "clean", "debug")
"""Commands that the fake dbt answers by itself where none is recorded."""
# Words that make two command lines two different ones.
_COUNTED = (
    ("--exclude",),
    ("--selector",),
    ("--resource-type", "--resource-types"),
    ("--exclude-resource-type", "--exclude-resource-types"),
    ("--output",),
    ("--output-keys",),
    ("--args",),
    ("--inline",),
    ("--batch-by",),
)
# Words by which one of several is preferred.
_PREFERRED = (("--vars",), ("--target", "-t"), ("--full-refresh", "-f"), ("--state",), ("--defer",))


class Command(NamedTuple):
    """One command of a recording.

    :param folder: the folder of its files.
    :param entry: what ``recording.json`` says of it.
    :param line: its command line; None where this dbt would refuse it.
    """

    folder: Path
    entry: dict[str, Any]
    line: Invocation | None

    @property
    def name(self) -> str:
        """The command: ``build``; empty where there is none."""
        return _command_of(self.line)

    def text(self, name: str) -> str | None:
        """Return the text of one of its files; None where it has none of that name.

        :param name: the name of the file, such as ``stdout.txt``.
        """
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def artifact(self, name: str) -> Any:
        """Return what an artifact holds; None where the command wrote none.

        :param name: the name of the artifact.
        :raises ScriptError: it is no JSON.
        """
        text = self.text(f"{layout.ARTIFACTS_FOLDER}/{name}")
        if text is None:
            return None
        try:
            return json.loads(text)
        except ValueError as error:
            file = self.folder / layout.ARTIFACTS_FOLDER / name
            raise ScriptError(f"{file} is no JSON: {error}. Mend the file, or record it anew.") from None

    @property
    def results_name(self) -> str:
        """The artifact that tells how its nodes ended."""
        return "sources.json" if self.name.startswith("source ") else layout.RESULTS

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """Unique id -> how the node ended, as the artifact has it."""
        try:
            found = self.artifact(self.results_name) or {}
        except ScriptError:
            if self.is_edited:
                raise
            return {}  # dbt itself has left half a file
        return {row["unique_id"]: row for row in found.get("results", ())}

    @property
    def is_edited(self) -> bool:
        """Whether ``run_results.json`` is no longer what dbt wrote."""
        text = self.text(f"{layout.ARTIFACTS_FOLDER}/{layout.RESULTS}")
        return text is not None and layout.digest(text) != self.entry.get("results")

    def event(self, name: str) -> dict[str, Any] | None:
        """Return the first event of a name; None where there is none.

        :param name: dbt's name of the event.
        """
        marks = f'"{name}"'
        for line in (self.text(layout.EVENTS) or "").split("\n"):
            if marks in line:
                event: dict[str, Any] = json.loads(line)
                if event["info"]["name"] == name:
                    return event
        return None

    @property
    def order(self) -> list[str]:
        """The unique ids of the nodes that ran, in the order in which they began."""
        began = ""
        times = {}
        for name, row in self.rows.items():
            # dbt 1 gives no time to a node that was skipped, and lists it where it was.
            began = next((each["started_at"] for each in row.get("timing") or () if each.get("started_at")), began)
            times[name] = began
        return sorted(times, key=times.__getitem__)

    def events_of(self) -> dict[str, list[dict[str, Any]]]:
        """Return unique id -> the events of the node, from its beginning to its end."""
        found: dict[str, list[dict[str, Any]]] = {}
        ended: set[str] = set()
        for line in (self.text(layout.EVENTS) or "").split("\n"):
            event = json.loads(line) if line.startswith("{") else {}
            node = (event.get("data") or {}).get("node_info") or {}
            name = node.get("unique_id")
            if not name or name in ended:
                continue
            found.setdefault(name, []).append(event)
            if event["info"]["name"] in ("NodeFinished", "SkippingDetails"):
                ended.add(name)
        return found


class Answer(NamedTuple):
    """What a recording has for one call.

    :param command: the recorded command.
    :param project: the nodes; None where the command is repeated word for word.
    """

    command: Command
    project: RecordedProject | None


def read_recording(folder: Path, read: Callable[[list[str]], Invocation]) -> list[Command]:
    """Return the commands of a recording, in the order in which they began.

    :param folder: the folder of the recording.
    :param read: reads a command line of this dbt.
    """
    index = json.loads((folder / layout.INDEX).read_text(encoding="utf-8"))
    commands = []
    for entry in index["commands"]:
        line: Invocation | None = None
        try:
            line = read(entry["arguments"])
        except UsageError:
            pass
        commands.append(Command(folder / entry["folder"], entry, line))
    return commands


def find_answer(commands: list[Command], invocation: Invocation, script: Script, folder: Path) -> Answer | None:
    """Return the recorded command that answers a call; None where none does.

    A command with the same selection is repeated, the first time the first one, the next time the next one. Else it is
    the results of a command that had all the nodes that this call selects.

    :param commands: the recorded commands.
    :param invocation: the command line of the call.
    :param script: the rule that names the recording; it counts the calls.
    :param folder: the folder of the project.
    """
    wanted = _key(invocation)
    same = [each for each in commands if each.line is not None and _key(each.line) == wanted]
    if same:
        most = max(_likeness(each.line, invocation) for each in same)
        same = [each for each in same if _likeness(each.line, invocation) == most]
        number = script.count_call(repr(wanted)) if len(same) > 1 else 1
        command = same[min(number, len(same)) - 1]
        if _is_repeatable(command, invocation):
            return Answer(command, None)
        return Answer(command, RecordedProject(folder, _manifest_of(command, commands) or {}, command.order))
    name = _command_of(invocation)
    # Of the same command first, and the latest first.
    places = sorted(range(len(commands)), key=lambda place: (commands[place].name != name, -place))
    for command in (commands[place] for place in places):
        project = _derived(command, _manifest_of(command, commands), invocation, folder)
        if project is not None:
            return Answer(command, project)
    return None


def _manifest_of(command: Command, commands: list[Command]) -> dict[str, Any] | None:
    """The manifest of a command; where it has none, the last one of the others."""
    found = (each.artifact(layout.MANIFEST) for each in (command, *commands[::-1]))
    manifest: dict[str, Any] | None = next(filter(None, found), None)
    return manifest


def _derived(
    command: Command, manifest: dict[str, Any] | None, invocation: Invocation, folder: Path
) -> RecordedProject | None:
    name = _command_of(invocation)
    if name not in (*NODE_COMMANDS, *_FROM_A_MANIFEST) or manifest is None:
        return None
    rows = command.rows
    project = RecordedProject(folder, manifest, command.order)
    if name in _FROM_A_MANIFEST:
        return project
    if command.name not in NODE_COMMANDS or not rows:
        return None
    wanted = {node.unique_id for node in project.work(invocation, with_added=False)}
    if not wanted <= set(rows):
        return None
    above = {node.unique_id: node.depends_on for node in project.nodes}
    for name in wanted:
        lost = {each for each in project.reached({name}, above) if each in rows and rows[each]["status"] in FAILED}
        # Alone, dbt would have run it; what it would have done nobody has seen.
        if rows[name]["status"] == "skipped" and lost and not lost & wanted:
            return None
    return project


def _is_repeatable(command: Command, invocation: Invocation) -> bool:
    """Whether the recorded output is that of the call too, word for word."""
    if command.name not in NODE_COMMANDS:
        return True
    assert command.line is not None  # it has a name
    is_json = setting(invocation, "--log-format", default="default").lower() == "json"
    said = ("--log-level", "--quiet", "-q")
    return (
        not command.is_edited
        and is_json == (command.entry.get("log_format") == "json")
        and all(_values(invocation, (name,)) == _values(command.line, (name,)) for name in said)
        and switch(invocation, "quiet") == any(name in command.line.options for name in ("--quiet", "-q"))
    )


def unmatched_message(commands: list[Command], invocation: Invocation) -> str:
    """Return why a call cannot be answered, with what is recorded.

    :param commands: the recorded commands.
    :param invocation: the command line of the call.
    """
    there = [f"dbt {' '.join(each.entry['arguments'])}" for each in commands]
    nodes = sorted({f"{name} ({row['status']})" for each in commands for name, row in each.rows.items()})
    return (
        f"no recorded command answers 'dbt {' '.join(sys.argv[1:])}'. Recorded are: {'; '.join(there) or 'none'}. "
        f"Their results are of: {', '.join(nodes) or 'no node'}. (What was "
        "skipped behind a failed node has no result of its own.) Record this command too, or script it "
        f"({_command_of(invocation)!r}) after the replay."
    )


class Places(NamedTuple):
    """What stands in this call where the recording has words in place of paths.

    :param paths: word -> path.
    """

    paths: dict[str, str]

    @classmethod
    def of(cls, invocation: Invocation, folder: Path, target: Path) -> Places:
        """Look at one call.

        :param invocation: its command line.
        :param folder: the folder of the project.
        :param target: the folder of the artifacts.
        """
        project = os.path.abspath(folder)  # noqa: PTH100 - dbt's own view, not resolved
        return cls(
            {
                layout.PROJECT: project,
                layout.PROFILES: setting(invocation, "--profiles-dir", default=project),
                layout.ENVIRONMENT: sys.prefix,
                layout.TARGET: os.path.abspath(target),  # noqa: PTH100
                layout.LOGS: setting(invocation, "--log-path", default=f"{project}/logs"),
                layout.HOME: os.path.expanduser("~"),  # noqa: PTH111
                layout.FOLDER: os.path.abspath("."),  # noqa: PTH100
            }
        )

    def filled(self, text: str, *, is_json: bool = False) -> str:
        """Return a text with the paths of this call.

        :param text: a text of the recording.
        :param is_json: whether it is JSON.
        """
        for word, path in self.paths.items():
            text = text.replace(word, json.dumps(path)[1:-1] if is_json else path)
        return text


def _command_of(line: Invocation | None) -> str:
    try:
        return "" if line is None else line.command
    except UsageError:
        return ""


def _key(line: Invocation) -> tuple[Any, ...]:
    name = _command_of(line)
    words = tuple(line.words[len(name.split()) :]) if not name.startswith("-") else ()
    counted = [tuple(sorted(set(_words(line, names)))) for names in (SELECTING, *_COUNTED)]
    return ("ls" if name == "list" else name, words, *counted)


def _likeness(line: Invocation | None, other: Invocation) -> int:
    assert line is not None  # those without are no candidates
    return sum(_values(line, names) == _values(other, names) for names in _PREFERRED)


def _values(line: Invocation, names: tuple[str, ...]) -> list[list[str]]:
    return [values for _, name, values in line.given if name in names]


def _words(line: Invocation, names: Iterable[str]) -> Iterator[str]:
    for value in line.all(*names):
        # A value of JSON or YAML is one word, whatever spaces it has.
        yield from [value.strip()] if value.lstrip().startswith("{") else value.split()
