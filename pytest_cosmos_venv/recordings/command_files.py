"""The files of one recorded command: collected when dbt has ended, redacted, and written into the recording."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

from pytest_cosmos_venv.fake_dbt import recorded
from pytest_cosmos_venv.fake_dbt.command_line import Invocation, UsageError
from pytest_cosmos_venv.fake_dbt.log import setting
from pytest_cosmos_venv.fake_dbt.whole_writes import write_whole
from pytest_cosmos_venv.recordings.observed_process import STDERR, STDOUT, ProcessEnd
from pytest_cosmos_venv.recordings.redaction import Redaction, secrets_of
from pytest_cosmos_venv.throwaway import folder_lock, remove_entry

_LOG = "dbt.log"
_DRAFT = ".draft-"
_NUMBERED = re.compile(r"(\d+)-")
_LEFT_OUT_OF_A_MANIFEST = ("macros", "docs", "disabled")
_PRERELEASE = {"-alpha.": "a", "-beta.": "b", "-rc.": "rc"}


@dataclass(frozen=True, kw_only=True)
class CommandContext:
    """The settings and the files of one dbt command, seen before the command runs.

    :param command: the command line, with the executable.
    :param variables: the environment variables of dbt, including the variables that switch on its event log.
    :param folder: the current directory of the command.
    :param project: the folder of its project.
    :param target: the folder of its artifacts.
    :param log: the file of dbt's event log.
    :param log_began: the size of the event log before the command, in bytes.
    :param profiles: the folders in which dbt looks for profiles.
    :param secrets: the values that no file of the recording may contain.
    :param artifacts: file -> its state before the command.
    :param log_format: the requested format of the output: ``json`` or ``text``.
    :param began_at: seconds since the epoch.
    """

    command: tuple[str, ...]
    variables: Mapping[str, str] = field(repr=False)
    folder: Path
    project: Path
    target: Path
    log: Path
    log_began: int
    profiles: tuple[Path, ...]
    secrets: frozenset[str] = field(repr=False)
    artifacts: Mapping[Path, tuple[int, ...]]
    log_format: str
    began_at: float

    @classmethod
    def of(cls, command: Sequence[str], *, logs: Path) -> CommandContext:
        """Return the context of a command that is about to start in the environment of this process.

        :param command: the command line, with the executable.
        :param logs: an empty folder for the event log.
        """
        line = _read(command[1:])
        folder = Path(os.path.abspath("."))  # noqa: PTH100 - dbt's own view, not resolved
        project = folder / setting(line, "--project-dir", default=".")
        target = project / setting(line, "--target-path", default="target")
        log = Path(line.last("--log-path", default=str(logs)))
        log_file = (log if log.is_absolute() else folder / log) / _LOG
        given = setting(line, "--profiles-dir", default="")
        profiles = [*([folder / given] if given else []), folder, project, Path("~/.dbt").expanduser()]
        wanted = {"LOG_PATH": str(logs), "LOG_FORMAT_FILE": "json", "LOG_LEVEL_FILE": "debug"}
        variables = dict(os.environ)
        for name, value in wanted.items():
            variables[f"DBT_{name}"] = value
            if f"DBT_ENGINE_{name}" in variables:
                variables[f"DBT_ENGINE_{name}"] = value
        return cls(
            command=tuple(command),
            variables=variables,
            folder=folder,
            project=_plain(project),
            target=_plain(target),
            log=log_file,
            log_began=_size(log_file),
            profiles=tuple(dict.fromkeys(map(_plain, profiles))),
            secrets=secrets_of(os.environ, command[1:], [each / "profiles.yml" for each in profiles]),
            artifacts=_states(target),
            log_format="json" if setting(line, "--log-format", default="").lower() == "json" else "text",
            began_at=time(),
        )

    @property
    def paths(self) -> dict[str, str]:
        """Absolute path -> the word that stands for it."""
        places = [(recorded.FOLDER, self.folder), (recorded.HOME, Path.home())]
        places += [
            (recorded.PROFILES, self.profiles[0]),
            (recorded.TARGET, self.target),
            (recorded.LOGS, self.log.parent),
        ]
        executable = Path(shutil.which(self.command[0]) or self.command[0])
        places += [(recorded.ENVIRONMENT, executable.parent.parent)] if executable.is_absolute() else []
        places.append((recorded.PROJECT, self.project))  # last, because the last word for a path wins
        found: dict[str, str] = {}
        for word, place in places:
            for path in (str(place), str(place.resolve())):
                found[path] = word
        # A target folder below the project needs no word: its path begins with the word of the project.
        return {
            path: word
            for path, word in found.items()
            if path != "/" and not (word == recorded.TARGET and Path(path).is_relative_to(self.project))
        }


def keep_command(recording: Path, context: CommandContext, end: ProcessEnd) -> Path:
    """Put one command into a recording, and return the folder of its files.

    A lock serializes commands that end at the same moment.

    :param recording: the folder of the recording; made when it is missing.
    :param context: the context of the command, from before its start.
    :param end: how the command ended.
    """
    redaction = Redaction(context.secrets, context.paths)
    files = _files_of(context, end, redaction)
    recording.mkdir(parents=True, exist_ok=True)
    with folder_lock(recording):
        # A recorder writes drafts only while it holds the lock, so these drafts are from recorders that were killed.
        for left in (*recording.glob(f"{_DRAFT}*"), *recording.glob(f".{recorded.INDEX}-*")):
            remove_entry(left)
        index = read_index(recording)
        words = context.command[1:]
        name = re.sub(r"\W+", "-", next((word for word in words if not word.startswith("-")), "dbt"))
        place = recording / f"{_next_number(recording, index):03d}-{name}"
        _write_files(files, place)
        entry = {
            "folder": place.name,
            "arguments": redaction.value(list(words)),
            "exit_code": end.exit_code,
            "seconds": round(end.seconds, 3),
            "began_at": round(context.began_at, 3),
            "log_format": context.log_format,
            **_version(files),
        }
        index["commands"] = sorted([*index["commands"], entry], key=lambda each: each["began_at"])
        write_whole(recording / recorded.INDEX, index_text(index))
    return place


def read_index(recording: Path) -> dict[str, Any]:
    """Return what ``recording.json`` holds; an empty list of commands where there is none yet.

    :param recording: the folder of the recording.
    """
    try:
        index: dict[str, Any] = json.loads((recording / recorded.INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"format": recorded.FORMAT, "commands": []}
    return index


def index_text(index: Mapping[str, Any]) -> str:
    """Return the text of ``recording.json``.

    :param index: the content of ``recording.json``.
    """
    return json.dumps(index, indent=2, ensure_ascii=False) + "\n"


_RESULTS = f"{recorded.ARTIFACTS_FOLDER}/{recorded.RESULTS}"


def _next_number(recording: Path, index: Mapping[str, Any]) -> int:
    """The highest number plus one: users may remove commands, and a killed recorder may have left a folder."""
    names = [*(each.name for each in recording.iterdir()), *(str(each["folder"]) for each in index["commands"])]
    numbers = (match.group(1) for match in map(_NUMBERED.match, names) if match)
    return max(map(int, numbers), default=0) + 1


def _write_files(files: Mapping[str, str], place: Path) -> None:
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=place.parent))
    try:
        draft.chmod(0o755)
        for name, text in files.items():
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_text(text, encoding="utf-8", newline="")
        draft.replace(place)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _files_of(context: CommandContext, end: ProcessEnd, redaction: Redaction) -> dict[str, str]:
    """Name inside the folder of the command -> text, redacted."""
    said = {stream: text.decode("utf-8", "replace") for stream, text in end.output.items()}
    files = {recorded.STDOUT: redaction.lines(said[STDOUT])}
    if said[STDERR]:
        files[recorded.STDERR] = redaction.lines(said[STDERR])
    events = _events(context) or [line for line in said[STDOUT].split("\n") if _is_event(line)]
    if events:
        files[recorded.EVENTS] = redaction.lines("\n".join(events) + "\n")
    for file, state in _states(context.target).items():
        if context.artifacts.get(file) == state:  # unchanged, so an earlier command has written it
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        if file.name == recorded.MANIFEST:
            text = _reduced(text)
        name = f"{recorded.ARTIFACTS_FOLDER}/{file.name}"
        files[name] = _readable(redaction.document(text), is_long=file.name != recorded.RESULTS)
    return files


def _events(context: CommandContext) -> list[str]:
    try:
        with context.log.open(encoding="utf-8", errors="replace", newline="\n") as file:
            file.seek(context.log_began)
            return [line for line in file.read().split("\n") if _is_event(line)]
    except OSError:
        return []


def _is_event(line: str) -> bool:
    if not line.startswith("{"):
        return False
    try:
        value = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict) and "info" in value


def _reduced(text: str) -> str:
    """Return a manifest without the macros and texts that come with dbt: nine tenths of it."""
    try:
        manifest = json.loads(text)
        project = manifest["metadata"]["project_name"]
        for part in _LEFT_OUT_OF_A_MANIFEST:
            kept = manifest.get(part)
            if isinstance(kept, dict):
                manifest[part] = {
                    name: each
                    for name, each in kept.items()
                    if not isinstance(each, dict) or each.get("package_name") == project
                }
    except (ValueError, KeyError, TypeError, AttributeError):
        return text
    return json.dumps(manifest, ensure_ascii=False)


def _readable(text: str, *, is_long: bool) -> str:
    try:
        return json.dumps(json.loads(text), indent=1 if is_long else 2, ensure_ascii=False) + "\n"
    except ValueError:
        return text


def _version(files: Mapping[str, str]) -> dict[str, str]:
    """The version of dbt from its artifacts; empty where no artifact names a version."""
    version = None
    for name in (_RESULTS, f"{recorded.ARTIFACTS_FOLDER}/{recorded.MANIFEST}"):
        with suppress(KeyError, ValueError, TypeError):
            version = version or json.loads(files[name])["metadata"]["dbt_version"]
    if version is None:
        return {}
    for long, short in _PRERELEASE.items():
        version = version.replace(long, short)
    return {"dbt_version": version}


def _read(arguments: Sequence[str]) -> Invocation:
    try:
        return Invocation(list(arguments))
    except UsageError:
        return Invocation([])


def _plain(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _states(target: Path) -> dict[Path, tuple[int, ...]]:
    found: dict[Path, tuple[int, ...]] = {}
    for name in recorded.ARTIFACTS:
        with suppress(OSError):
            state = (target / name).stat()
            found[target / name] = (state.st_mtime_ns, state.st_size, state.st_ino)
    return found
