"""Recorded runs: their files, and the answer of a recording to one call of the fake dbt.

A recorded command with the same words as the call is repeated exactly. Any other call gets the recorded results of the
nodes that it selects.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .artifacts import FAILED
from .command_line import Invocation, UsageError
from .log import setting, switch
from .project import Node, Project, added_node, node_of
from .script import SELECTING, Script, ScriptError, die
from .whole_writes import write_whole

FORMAT = 1
"""The number of the format. A reader refuses any other."""
INDEX = "recording.json"
"""The file with the format, and with the commands in the order in which they began."""
STDOUT = "stdout.txt"
STDERR = "stderr.txt"
EVENTS = "events.jsonl"
"""The JSON log of a command, one event a line."""
ARTIFACTS_FOLDER = "artifacts"
RESULTS = "run_results.json"
MANIFEST = "manifest.json"
ARTIFACTS = (RESULTS, MANIFEST, "sources.json", "catalog.json")
"""The artifacts that are kept, where the command wrote them."""
PROJECT = "<project>"
PROFILES = "<profiles>"
ENVIRONMENT = "<environment>"
TARGET = "<target>"
LOGS = "<logs>"
HOME = "<home>"
FOLDER = "<cwd>"
NODE_COMMANDS = ("run", "build", "seed", "snapshot", "test", "retry", "clone", "source freshness")
_FROM_A_MANIFEST = ("ls", "list", "parse", "compile", "show", "docs generate")
_WITHOUT_NODES = ("--version", "deps", "clean", "debug")
"""Commands that the fake dbt answers by itself where none is recorded."""
# The options by which two command lines differ.
_COUNTED = (
    SELECTING,
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
_PARTS = ("nodes", "sources", "exposures", "unit_tests", "metrics", "saved_queries", "semantic_models")


class RecordedProject(Project):
    """The project of a recorded run: the nodes of the manifest, first the nodes that ran, in their order.

    :param folder: the folder of the project in which the call runs.
    :param manifest: the recorded ``manifest.json``; ``{}``: only the nodes that ran are known.
    :param ran: unique ids of the nodes that ran, in their order.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any], ran: list[str]) -> None:
        # The recording counts: nothing is read from the folder.
        name = (manifest.get("metadata") or {}).get("project_name") or folder.name
        entries = {name: each for part in _PARTS for name, each in (manifest.get(part) or {}).items()}
        places = {name: place for place, name in enumerate(ran)}
        known = [node_of(name, each) for name, each in entries.items()]
        known += [added_node(name) for name in ran if name not in entries]
        super().__init__(name, sorted(known, key=lambda node: places.get(node.unique_id, len(places))))
        self._ran = frozenset(ran)

    def check_script(self, script: Script, refusal_of: Callable[[str, str, str], str | None]) -> None:
        """Check nothing: a real dbt has recorded these results.

        :param script: the rule of the test for this call.
        :param refusal_of: as in ``Project``.
        """

    def edited(self, ends: dict[str, dict[str, Any]], chosen: set[str]) -> dict[str, dict[str, Any]]:
        """Return unique id -> end of the chosen nodes whose end a script changes.

        :param ends: name or unique id -> end.
        :param chosen: unique ids of the nodes of the call.
        :raises ScriptError: no node of the recording has the name.
        """
        for name in ends:
            if not self.named(name):
                raise ScriptError(self._unknown_name_message(f"nodes={{{name!r}: ...}}"))
        found = {node.unique_id: end for name, end in ends.items() for node in self.named(name)}
        return {name: end for name, end in found.items() if name in chosen}

    def _has_freshness(self, node: Node) -> bool:
        return node.unique_id in self._ran or super()._has_freshness(node)


class _Command(NamedTuple):
    """One command of a recording.

    :param folder: the folder of its files.
    :param entry: its entry in ``recording.json``.
    :param line: its command line; None where this dbt would refuse it.
    """

    folder: Path
    entry: dict[str, Any]
    line: Invocation | None

    @property
    def name(self) -> str:
        return _command_of(self.line)

    def text(self, name: str) -> str | None:
        """Return the text of one of its files; None where it has no file of that name.

        :param name: the name of the file, such as ``stdout.txt``.
        """
        try:
            return (self.folder / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def artifact(self, name: str) -> Any:
        """Return the content of an artifact; None where the command wrote none, or dbt left an incomplete file.

        :param name: the name of the artifact.
        """
        text = self.text(f"{ARTIFACTS_FOLDER}/{name}")
        if text is None:
            return None
        try:
            return json.loads(text)
        except ValueError:
            return None

    @property
    def results_name(self) -> str:
        """The artifact that tells how its nodes ended."""
        return "sources.json" if self.name.startswith("source ") else RESULTS

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """Unique id -> how the node ended, in the order in which the nodes began."""
        found = (self.artifact(self.results_name) or {}).get("results", ())
        began, times = "", {}
        for row in found:
            # dbt 1 gives a skipped node no time: it takes the time of the node listed before it.
            began = next((each["started_at"] for each in row.get("timing") or () if each.get("started_at")), began)
            times[row["unique_id"]] = began
        return {row["unique_id"]: row for row in sorted(found, key=lambda row: times[row["unique_id"]])}


def replay(
    invocation: Invocation, script: Script, read: Callable[[list[str]], Invocation]
) -> tuple[int | None, RecordedProject | None]:
    """Repeat a recorded command, and return its exit code; else the recorded project, whose nodes end as recorded.

    For an unrecorded command without nodes both are None: the fake dbt answers it by itself.

    :param invocation: the command line of the call.
    :param script: the rule that names the recording; the recorded ends of nodes are put into it.
    :param read: reads a command line of this dbt.
    :raises ScriptError: no recorded command answers the call.
    """
    assert script.recording is not None  # the caller checks it
    folder = Path(setting(invocation, "--project-dir", default="."))
    target = folder / setting(invocation, "--target-path", default="target")
    commands = list(_commands(script.recording, read))
    found = _exact(commands, invocation, script, folder) or _derived(commands, invocation, folder)
    if found is None:
        if invocation.command in _WITHOUT_NODES:
            return None, None
        raise ScriptError(_unmatched_message(commands, invocation))
    command, project = found
    chosen = {node.unique_id for node in project.work(invocation, with_added=False)}
    edited = project.edited(script.nodes, chosen)
    fill = _filler(invocation, folder, target)
    if not edited and _is_repeatable(command, invocation):
        return _play(command, script, fill, target), None
    _fill_script(command, project, script, fill, chosen, edited)
    return None, project


def _exact(
    commands: list[_Command], invocation: Invocation, script: Script, folder: Path
) -> tuple[_Command, RecordedProject] | None:
    """Return the command with the words of a call. If several commands have these words, each call gets the next."""
    wanted = _key(invocation)
    same = [each for each in commands if each.line is not None and _key(each.line) == wanted]
    if not same:
        return None
    number = script.count_call(repr(wanted)) if len(same) > 1 else 1
    command = same[min(number, len(same)) - 1]
    return command, RecordedProject(folder, _manifest_of(command, commands) or {}, list(command.rows))


def _commands(folder: Path, read: Callable[[list[str]], Invocation]) -> Iterator[_Command]:
    for entry in json.loads((folder / INDEX).read_text(encoding="utf-8"))["commands"]:
        line: Invocation | None = None
        try:
            line = read(entry["arguments"])
        except UsageError:
            pass
        yield _Command(folder / entry["folder"], entry, line)


def _manifest_of(command: _Command, commands: list[_Command]) -> dict[str, Any] | None:
    """Return the manifest of a command; if it has none, the latest manifest of the others."""
    found = (each.artifact(MANIFEST) for each in (command, *commands[::-1]))
    manifest: dict[str, Any] | None = next(filter(None, found), None)
    return manifest


def _derived(commands: list[_Command], invocation: Invocation, folder: Path) -> tuple[_Command, RecordedProject] | None:
    """Return a command with results of all the nodes that a call selects: the latest of the same name, else of any
    name.
    """
    name = _command_of(invocation)
    places = sorted(range(len(commands)), key=lambda place: (commands[place].name != name, -place))
    for command in (commands[place] for place in places):
        manifest = _manifest_of(command, commands)
        if manifest is None:
            return None
        rows = command.rows
        project = RecordedProject(folder, manifest, list(rows))
        if name in _FROM_A_MANIFEST:
            return command, project
        wanted = {node.unique_id for node in project.work(invocation, with_added=False)}
        if name in NODE_COMMANDS and command.name in NODE_COMMANDS and rows and wanted <= set(rows):
            above = {node.unique_id: node.depends_on for node in project.nodes}
            if not any(_is_skipped_behind_another(each, wanted, rows, above) for each in wanted):
                return command, project
    return None


def _is_skipped_behind_another(
    name: str, wanted: set[str], rows: dict[str, dict[str, Any]], above: dict[str, tuple[str, ...]]
) -> bool:
    """Whether a node was skipped because of a failed node outside of the call: its own result is unknown."""
    if rows[name]["status"] != "skipped":
        return False
    reached = Project.reached({name}, above)
    lost = {each for each in reached if each in rows and rows[each]["status"] in FAILED}
    return bool(lost) and not lost & wanted


def _is_repeatable(command: _Command, invocation: Invocation) -> bool:
    """Whether the recorded output fits the call unchanged."""
    if command.line is None or _key(command.line) != _key(invocation):
        return False
    is_json = setting(invocation, "--log-format", default="default").lower() == "json"
    return command.name not in NODE_COMMANDS or (
        is_json == (command.entry.get("log_format") == "json")
        and invocation.all("--log-level") == command.line.all("--log-level")
        and switch(invocation, "quiet") == any(name in command.line.options for name in ("--quiet", "-q"))
    )


def _play(command: _Command, script: Script, fill: Callable[[str, bool], str], target: Path) -> int:
    """Repeat a command exactly, and return its exit code; if a signal ended it, end by the same signal."""
    for name, stream in ((STDOUT, sys.stdout), (STDERR, sys.stderr)):
        for line in (command.text(name) or "").splitlines(keepends=True):
            stream.write(fill(line, line.startswith("{")))
        stream.flush()
    for name in ARTIFACTS:
        text = command.text(f"{ARTIFACTS_FOLDER}/{name}")
        if text is not None:
            target.mkdir(parents=True, exist_ok=True)
            write_whole(target / name, fill(text, True))
    for unique_id, row in command.rows.items():
        script.record_end(unique_id, str(row["status"]))
    exit_code = int(command.entry["exit_code"])
    if exit_code < 0:
        die(-exit_code)
    return exit_code


def _fill_script(
    command: _Command,
    project: RecordedProject,
    script: Script,
    fill: Callable[[str, bool], str],
    chosen: set[str],
    edited: dict[str, dict[str, Any]],
) -> None:
    """Let the nodes of a call end as recorded, except edited nodes and their descendants."""
    nodes = project.with_edges_of_tests(project.nodes) if command.name == "build" else project.nodes
    above = {node.unique_id: node.depends_on for node in nodes}
    readers = {name for name in above if edited and project.reached({name}, above).intersection(edited)}
    rows = {name: row for name, row in command.rows.items() if name not in readers}
    ends = {
        name: {
            "status": row["status"],
            "message": row.get("message") or row.get("error"),
            "failures": row.get("failures"),
        }
        for name, row in rows.items()
    }
    script.nodes = {**ends, **edited}
    for name in (MANIFEST, "catalog.json"):
        text = command.text(f"{ARTIFACTS_FOLDER}/{name}")
        if text is not None and (name == MANIFEST or command.name == "docs generate"):
            script.artifacts[name] = fill(text, True)
    results = command.artifact(command.results_name)
    if results is not None and chosen and not edited:
        results["results"] = [row for name, row in rows.items() if name in chosen]
        script.artifacts[command.results_name] = fill(json.dumps(results), True)


def _filler(invocation: Invocation, folder: Path, target: Path) -> Callable[[str, bool], str]:
    """Return a function that puts the paths of this call into a text, which may be JSON."""
    project = os.path.abspath(folder)  # noqa: PTH100 - dbt's own view, not resolved
    paths = {
        PROJECT: project,
        PROFILES: setting(invocation, "--profiles-dir", default=project),
        ENVIRONMENT: sys.prefix,
        TARGET: os.path.abspath(target),  # noqa: PTH100
        LOGS: setting(invocation, "--log-path", default=f"{project}/logs"),
        HOME: os.path.expanduser("~"),  # noqa: PTH111
        FOLDER: os.path.abspath("."),  # noqa: PTH100
    }

    def fill(text: str, is_json: bool) -> str:
        for word, path in paths.items():
            text = text.replace(word, json.dumps(path)[1:-1] if is_json else path)
        return text

    return fill


def _unmatched_message(commands: list[_Command], invocation: Invocation) -> str:
    there = [f"dbt {' '.join(each.entry['arguments'])}" for each in commands]
    nodes = sorted({f"{name} ({row['status']})" for each in commands for name, row in each.rows.items()})
    return (
        f"no recorded command answers 'dbt {' '.join(sys.argv[1:])}'. Recorded are: {'; '.join(there) or 'none'}. "
        f"Their results are of: {', '.join(nodes) or 'no node'}. (What was "
        "skipped behind a failed node has no result of its own.) Record this command too, or script it "
        f"({_command_of(invocation)!r}) after the replay."
    )


def _command_of(line: Invocation | None) -> str:
    try:
        return "" if line is None else line.command
    except UsageError:
        return ""


def _key(line: Invocation) -> tuple[Any, ...]:
    name = _command_of(line)
    words = tuple(line.words[len(name.split()) :]) if not name.startswith("-") else ()
    return ("ls" if name == "list" else name, words, *(tuple(sorted(set(line.words_of(*names)))) for names in _COUNTED))
